"""Images made larger, compiled (csrc/resize.cc); contracts as in `handgrad.kernels.reference.resize`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.geometry import Pads
from handgrad.kernels.cpu.arrays import contiguous
from handgrad.typing import Array

__all__ = ["pad2d", "pad2d_backward", "upsample2d", "upsample2d_backward"]


def pad2d(cpu: Any, x: Array, pads: Pads, value: float = 0.0) -> Array:
    """Return `x` with pixels of `value` around each image."""
    (top, bottom), (left, right) = pads
    n, h, w, c = x.shape
    y = np.empty((n, top + h + bottom, left + w + right, c), np.float32)
    cpu.pad2d([n, h, w, c, top, bottom, left, right], contiguous(x), value, y)
    return y


def pad2d_backward(cpu: Any, dy: Array, pads: Pads) -> Array:
    """Return the part of `dy` that lies on the image."""
    (top, bottom), (left, right) = pads
    n, h, w, c = dy.shape[0], dy.shape[1] - top - bottom, dy.shape[2] - left - right, dy.shape[3]
    dx = np.empty((n, h, w, c), np.float32)
    cpu.pad2d_backward([n, h, w, c, top, bottom, left, right], contiguous(dy), dx)
    return dx


def upsample2d(cpu: Any, x: Array, size: tuple[int, int]) -> Array:
    """Return each pixel repeated."""
    n, h, w, c = x.shape
    y = np.empty((n, h * size[0], w * size[1], c), np.float32)
    cpu.upsample2d([n, h, w, c, *size], contiguous(x), y)
    return y


def upsample2d_backward(cpu: Any, dy: Array, size: tuple[int, int]) -> Array:
    """Return dx: each pixel gets the sum of its block."""
    n, h, w, c = dy.shape[0], dy.shape[1] // size[0], dy.shape[2] // size[1], dy.shape[3]
    dx = np.empty((n, h, w, c), np.float32)
    cpu.upsample2d_backward([n, h, w, c, *size], contiguous(dy), dx)
    return dx
