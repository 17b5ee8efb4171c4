"""Convolutions with what stands before and after them, compiled (csrc/winograd.cc).

Contracts as in `handgrad.kernels.reference.fused`. Winograd's algorithm normalizes images as it reads them,
and takes statistics of what it writes; where sums of products are cheaper, each is a pass of its own.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels.cpu.algorithm import DIRECT
from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.kernels.cpu.conv import conv2d, conv2d_backward_weight, plan
from handgrad.kernels.cpu.norm import batch_norm_relu, batch_norm_statistics, columns
from handgrad.typing import Array, Shape

__all__ = [
    "batch_norm_relu_conv2d",
    "batch_norm_relu_conv2d_backward_weight",
    "batch_norm_relu_conv2d_statistics",
    "conv2d_statistics",
]


def conv2d_statistics(
    cpu: Any,
    x: Array,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> tuple[Array, ...]:
    """Return y, and the mean and the (biased) variance of its channels, in float64."""
    sizes, tile = plan(cpu, x.dtype, x.shape, w.shape, window, groups, algorithm)
    if tile == DIRECT:
        y = conv2d(cpu, x, w, b, window, groups, algorithm=DIRECT)
        return y, *batch_norm_statistics(cpu, _rows(y))
    return _winograd(cpu, sizes, tile, x, None, w, b, statistics=True)


def batch_norm_relu_conv2d(
    cpu: Any,
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the convolution of ``z = max(gamma*s*(x - mean) + beta, 0)``."""
    sizes, tile = plan(cpu, x.dtype, x.shape, w.shape, window, groups, algorithm)
    if tile == DIRECT:
        z = _images(cpu, x, mean, s, gamma, beta)
        return conv2d(cpu, z, w, b, window, groups, algorithm=DIRECT)
    y, *_ = _winograd(cpu, sizes, tile, x, columns(mean, s, gamma, beta), w, b, statistics=False)
    return y


def batch_norm_relu_conv2d_statistics(
    cpu: Any,
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> tuple[Array, ...]:
    """Return the convolution of z, and the mean and the (biased) variance of its channels, in float64."""
    sizes, tile = plan(cpu, x.dtype, x.shape, w.shape, window, groups, algorithm)
    if tile == DIRECT:
        z = _images(cpu, x, mean, s, gamma, beta)
        return conv2d_statistics(cpu, z, w, b, window, groups, algorithm=DIRECT)
    return _winograd(cpu, sizes, tile, x, columns(mean, s, gamma, beta), w, b, statistics=True)


def batch_norm_relu_conv2d_backward_weight(
    cpu: Any,
    dy: Array,
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    shape: Shape,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the gradient of the filters that z met."""
    sizes, tile = plan(cpu, x.dtype, x.shape, shape, window, groups, algorithm)
    if tile == DIRECT:
        z = _images(cpu, x, mean, s, gamma, beta)
        return conv2d_backward_weight(cpu, dy, z, shape, window, groups, algorithm=DIRECT)
    dw = np.empty(shape, np.float32)
    cpu.winograd_backward_weight(
        sizes, tile, contiguous(dy), contiguous(x), *columns(mean, s, gamma, beta), dw
    )
    return dw


def _winograd(
    cpu: Any,
    sizes: list[int],
    tile: int,
    x: Array,
    norm: list[Any] | None,
    w: Array,
    b: Array | None,
    *,
    statistics: bool,
) -> tuple[Array, ...]:
    """Return y, with `statistics` also mean and variance."""
    y = empty((x.shape[0], sizes[4], sizes[5], w.shape[3]), x)
    of_y = tuple(np.empty((2, w.shape[3]))) if statistics else (None, None)
    b = None if b is None else contiguous(b)
    cpu.winograd(sizes, tile, contiguous(x), *(norm or [None] * 4), contiguous(w), b, bits(y), *of_y)
    return (y, *of_y) if statistics else (y,)


def _images(cpu: Any, x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return z."""
    return batch_norm_relu(cpu, _rows(x), mean, s, gamma, beta).reshape(x.shape)


def _rows(x: Array) -> Array:
    """(n, h, w, c) -> (n*h*w, c)."""
    return x.reshape(-1, x.shape[3]) if x.size else x.reshape(0, x.shape[3])
