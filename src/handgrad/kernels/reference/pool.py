"""Pooling: the maximum or the mean of what a window covers."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels.reference.namespace import accumulator, array_namespace, real
from handgrad.kernels.reference.windows import crop, pad, padded_shape, taps
from handgrad.typing import Array, Shape

__all__ = [
    "average_pool2d",
    "average_pool2d_backward",
    "global_average_pool2d",
    "global_average_pool2d_backward",
    "max_pool2d",
    "max_pool2d_backward",
]


def max_pool2d(x: Array, window: Window) -> tuple[Array, Array]:
    """Return ``y[a, b] = max_ij P[a*s + i, b*s + j]`` and which tap it was, the padding being -inf.

    The tap is never one on the padding, unless all of them are.

    Parameters
    ----------
    x : (n, h, w, c)
        Images.
    window : Window
        Kernel, strides and padding.

    Returns
    -------
    y : (n, oh, ow, c)
    tap : (n, oh, ow, c) of uint8, or of int32 for windows of more than 256 taps
        Number ``i*kw + j`` of the first tap that holds the maximum; NaN counts as larger than anything.
    """
    xp = array_namespace(x)
    P = pad(x, window, -np.inf)
    on_image = pad(xp.ones((1, *x.shape[1:3], 1), dtype=xp.bool), window, False)
    number = tap_dtype(xp, window)
    y: Any = None
    tap: Any = None
    found: Any = None
    for t, at in taps(window, window.output_size(x.shape[1:3])):
        v = P[at]
        if y is None:
            y, tap, found = v, xp.zeros(v.shape, dtype=number), on_image[at]
            continue
        larger = (real(v) > real(y)) | (xp.isnan(v) & ~xp.isnan(y)) | (on_image[at] & ~found)
        y = xp.where(larger, v, y)
        tap = xp.where(larger, xp.asarray(t, dtype=number), tap)
        found = found | on_image[at]
    return (xp.asarray(y, copy=True) if window.kernel == (1, 1) else y), tap


def max_pool2d_backward(dy: Array, tap: Array, shape: Shape, window: Window) -> Array:
    """Return dx: each dy goes to the tap that held the maximum, ``dP[a*s + i, b*s + j] += dy*(tap == ij)``.

    Parameters
    ----------
    dy, tap : (n, oh, ow, c)
        Upstream gradient, and the taps from `max_pool2d`.
    shape : (n, h, w, c)
        Of the images.
    window : Window
        As in the forward.
    """
    xp = array_namespace(dy)
    dP = xp.zeros(padded_shape(shape, window), dtype=accumulator(dy))
    zero = xp.asarray(0, dtype=dy.dtype)
    for t, at in taps(window, (dy.shape[1], dy.shape[2])):
        dP[at] += xp.where(tap == t, dy, zero)
    return xp.astype(crop(dP, window), dy.dtype)


def tap_dtype(xp: Any, window: Window) -> Any:
    """Return the dtype of the numbers of a window's taps: one byte where it holds them all."""
    kh, kw = window.kernel
    return xp.uint8 if kh * kw <= 256 else xp.int32


def average_pool2d(x: Array, window: Window, *, count_padding: bool = False) -> Array:
    """Return ``y[a, b] = sum_ij P[a*s + i, b*s + j]/count[a, b]``.

    Parameters
    ----------
    x : (n, h, w, c)
        Images.
    window : Window
        Kernel, strides and padding.
    count_padding : bool
        Divide by all taps, or only by those on the image.

    Returns
    -------
    (n, oh, ow, c)
    """
    xp, P = array_namespace(x), pad(x, window)
    total: Any = xp.zeros((), dtype=accumulator(x))
    for _, at in taps(window, window.output_size(x.shape[1:3])):
        total = total + P[at]
    return xp.astype(total / _counts(total, x.shape, window, count_padding), x.dtype)


def average_pool2d_backward(dy: Array, shape: Shape, window: Window, *, count_padding: bool = False) -> Array:
    """Return dx: every pixel under a window gets ``dy/count``.

    Parameters
    ----------
    dy : (n, oh, ow, c)
        Upstream gradient.
    shape : (n, h, w, c)
        Of the images.
    window, count_padding
        As in the forward.
    """
    xp, share = array_namespace(dy), dy / _counts(dy, shape, window, count_padding)
    dP = xp.zeros(padded_shape(shape, window), dtype=accumulator(dy))
    for _, at in taps(window, (dy.shape[1], dy.shape[2])):
        dP[at] += share
    return xp.astype(crop(dP, window), dy.dtype)


def _counts(x: Array, shape: Shape, window: Window, count_padding: bool) -> Array:
    """Return how many pixels each place divides by, as (1, oh, ow, 1) in the dtype of x."""
    xp = array_namespace(x)
    ones = xp.ones((1, *shape[1:3], 1), dtype=x.dtype)
    P = pad(ones, window, 1.0 if count_padding else 0.0)
    count: Any = 0
    for _, at in taps(window, window.output_size((shape[1], shape[2]))):
        count = count + P[at]
    one = xp.asarray(1, dtype=x.dtype)
    return xp.where(real(count) > 0, count, one)  # a window wholly on padding gives 0, not 0/0


def global_average_pool2d(x: Array) -> Array:
    """Return ``y[n, c] = sum_hw x[n, h, w, c]/(h*w)``, accumulated in float64: (n, h, w, c) -> (n, c)."""
    xp = array_namespace(x)
    return xp.astype(xp.sum(x, axis=(1, 2), dtype=accumulator(x)) / (x.shape[1] * x.shape[2]), x.dtype)


def global_average_pool2d_backward(dy: Array, shape: Shape) -> Array:
    """Return ``dx[n, h, w, c] = dy[n, c]/(h*w)``: (n, c) -> shape (n, h, w, c)."""
    xp = array_namespace(dy)
    n, h, w, c = shape
    return xp.asarray(xp.broadcast_to(xp.reshape(dy / (h * w), (n, 1, 1, c)), shape), copy=True)
