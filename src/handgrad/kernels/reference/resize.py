"""Images made larger: upsampling and padding."""

from __future__ import annotations

from handgrad.geometry import Pads, Window
from handgrad.kernels.reference.namespace import accumulator, array_namespace
from handgrad.kernels.reference.windows import crop, pad
from handgrad.typing import Array

__all__ = ["pad2d", "pad2d_backward", "upsample2d", "upsample2d_backward"]


def pad2d(x: Array, pads: Pads, value: float = 0.0) -> Array:
    """Return `x` with ((top, bottom), (left, right)) pixels of `value` around each image."""
    return array_namespace(x).asarray(pad(x, Window((1, 1), pads=pads), value), copy=True)


def pad2d_backward(dy: Array, pads: Pads) -> Array:
    """Return the part of `dy` that lies on the image."""
    return array_namespace(dy).asarray(crop(dy, Window((1, 1), pads=pads)), copy=True)


def upsample2d(x: Array, size: tuple[int, int]) -> Array:
    """Return each pixel repeated, ``y[a, b] = x[a//rows, b//columns]``, as (n, h*rows, w*columns, c)."""
    xp = array_namespace(x)
    n, h, w, c = x.shape
    rows, columns = size
    blocks = xp.broadcast_to(xp.reshape(x, (n, h, 1, w, 1, c)), (n, h, rows, w, columns, c))
    return xp.reshape(xp.asarray(blocks, copy=True), (n, h * rows, w * columns, c))


def upsample2d_backward(dy: Array, size: tuple[int, int]) -> Array:
    """Return dx: each pixel gets the sum of its block, (n, h*rows, w*columns, c) -> (n, h, w, c)."""
    xp = array_namespace(dy)
    n, h, w, c = dy.shape
    rows, columns = size
    blocks = xp.reshape(dy, (n, h // rows, rows, w // columns, columns, c))
    return xp.astype(xp.sum(blocks, axis=(2, 4), dtype=accumulator(dy)), dy.dtype)
