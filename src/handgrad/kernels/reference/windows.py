"""Padding, and the pixels that a tap of a window meets: shared by convolution and pooling."""

from __future__ import annotations

from collections.abc import Iterator

from handgrad.geometry import Window
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array, Shape


def pad(x: Array, window: Window, value: float = 0.0) -> Array:
    """Return `x` with the window's padding around each image: (n, h, w, c) -> (n, h + sum, w + sum, c)."""
    (top, bottom), (left, right) = window.pads
    if not (top or bottom or left or right):
        return x
    xp = array_namespace(x)
    n, h, w, c = x.shape
    out = xp.full((n, h + top + bottom, w + left + right, c), value, dtype=x.dtype)
    out[:, top : top + h, left : left + w, :] = x
    return out


def crop(x: Array, window: Window) -> Array:
    """Return the view of `x` without the window's padding: the inverse, and the transpose, of `pad`."""
    (top, bottom), (left, right) = window.pads
    return x[:, top : x.shape[1] - bottom, left : x.shape[2] - right, :]


def padded_shape(shape: Shape, window: Window) -> Shape:
    """Return the shape of `pad`'s result for an input of `shape`."""
    n, h, w, c = shape
    return n, h + sum(window.pads[0]), w + sum(window.pads[1]), c


def pixels_met(window: Window, i: int, j: int, size: tuple[int, int]) -> tuple[slice, ...]:
    """Return the index of the padded pixels that tap (i, j) meets over all `size` places of the window."""
    (sh, sw), (dh, dw), (oh, ow) = window.strides, window.dilation, size
    rows = slice(i * dh, i * dh + (oh - 1) * sh + 1, sh)
    columns = slice(j * dw, j * dw + (ow - 1) * sw + 1, sw)
    return slice(None), rows, columns, slice(None)


def taps(window: Window, size: tuple[int, int]) -> Iterator[tuple[int, tuple[slice, ...]]]:
    """Yield (number, index) of every tap, row by row."""
    kh, kw = window.kernel
    for t in range(kh * kw):
        yield t, pixels_met(window, t // kw, t % kw, size)
