"""Pooling, compiled (csrc/pool.cc); contracts as in `handgrad.kernels.reference.pool`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.kernels.reference.pool import tap_dtype
from handgrad.typing import Array, Shape

__all__ = [
    "average_pool2d",
    "average_pool2d_backward",
    "global_average_pool2d",
    "global_average_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(cpu: Any, x: Array, window: Window) -> tuple[Array, Array]:
    """Return the largest number under each window, and the tap that it is under."""
    shape = (x.shape[0], *window.output_size(x.shape[1:3]), x.shape[3])
    y, tap = empty(shape, x), np.empty(shape, tap_dtype(np, window))
    cpu.max_pool2d(_sizes(x.shape, window), contiguous(x), bits(y), tap)
    return y, tap


def max_pool2d_backward(cpu: Any, dy: Array, tap: Array, shape: Shape, window: Window) -> Array:
    """Return dx: each dy at the tap that held the maximum."""
    dx = empty(shape, dy)
    tap = tap.astype(tap_dtype(np, window), copy=False)
    cpu.max_pool2d_backward(_sizes(shape, window), contiguous(dy), contiguous(tap), bits(dx))
    return dx


def average_pool2d(cpu: Any, x: Array, window: Window, *, count_padding: bool = False) -> Array:
    """Return the mean under each window."""
    y = np.empty((x.shape[0], *window.output_size(x.shape[1:3]), x.shape[3]), np.float32)
    cpu.average_pool2d(_sizes(x.shape, window), count_padding, contiguous(x), y)
    return y


def average_pool2d_backward(
    cpu: Any, dy: Array, shape: Shape, window: Window, *, count_padding: bool = False
) -> Array:
    """Return dx: ``dy/count`` at every pixel under the window."""
    dx = np.empty(shape, np.float32)
    cpu.average_pool2d_backward(_sizes(shape, window), count_padding, contiguous(dy), dx)
    return dx


def global_average_pool2d(cpu: Any, x: Array) -> Array:
    """Return the mean of each image and channel."""
    y = empty((x.shape[0], x.shape[3]), x)
    cpu.global_average_pool2d(contiguous(x), bits(y))
    return y


def global_average_pool2d_backward(cpu: Any, dy: Array, shape: Shape) -> Array:
    """Return ``dy/(h*w)`` at every pixel."""
    dx = empty(shape, dy)
    cpu.global_average_pool2d_backward(contiguous(dy), bits(dx))
    return dx


def _sizes(shape: Shape, window: Window) -> list[int]:
    """Return the sizes as the extension module takes them."""
    (top, _), (left, _) = window.pads
    places = window.output_size((shape[1], shape[2]))
    return [*shape, *places, *window.kernel, *window.strides, *window.dilation, top, left]
