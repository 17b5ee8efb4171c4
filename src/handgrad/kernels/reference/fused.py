r"""Convolutions together with what stands before and after them in a network.

Before them, the normalization and ReLU that make their images, which then need not be kept in memory::

    z = max(gamma*s*(x - mean) + beta, 0)        y = conv2d(z, w, b)        dw = conv2d_backward_weight(dy, z)

z is padded with zeros, not with what 0 is normalized to. After them, the statistics of y per channel, which
the next normalization takes. The gradient of z is that of any convolution's images, `conv2d_backward_input`.
"""

from __future__ import annotations

from handgrad.geometry import Window
from handgrad.kernels.reference.conv import conv2d, conv2d_backward_weight
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.kernels.reference.norm import batch_norm_relu, batch_norm_statistics
from handgrad.typing import Array, Shape

__all__ = [
    "batch_norm_relu_conv2d",
    "batch_norm_relu_conv2d_backward_weight",
    "batch_norm_relu_conv2d_statistics",
    "conv2d_statistics",
]


def conv2d_statistics(
    x: Array, w: Array, b: Array | None, window: Window, groups: int = 1
) -> tuple[Array, Array, Array]:
    """Return ``y = conv2d(x, w, b)``, and the mean and the (biased) variance of its channels, in float64.

    Parameters
    ----------
    x, w, b, window, groups
        As in `conv2d`.

    Returns
    -------
    y : (n, oh, ow, k)
    mean, var : (k,)
    """
    y = conv2d(x, w, b, window, groups)
    return y, *batch_norm_statistics(_rows(y))


def batch_norm_relu_conv2d(
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
) -> Array:
    """Return ``conv2d(z, w, b)`` with ``z = max(gamma*s*(x - mean) + beta, 0)``.

    Parameters
    ----------
    x : (n, h, w, c)
        What is normalized.
    mean, s : (c,)
        Mean and ``1/sqrt(var + epsilon)`` of the channels, in float64.
    gamma, beta : (c,) or None
        Scale and shift; 1 and 0 where None.
    w, b, window, groups
        As in `conv2d`.
    """
    return conv2d(_images(x, mean, s, gamma, beta), w, b, window, groups)


def batch_norm_relu_conv2d_statistics(
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
) -> tuple[Array, Array, Array]:
    """Return the y of `batch_norm_relu_conv2d`, and mean and variance of its channels, in float64."""
    return conv2d_statistics(_images(x, mean, s, gamma, beta), w, b, window, groups)


def batch_norm_relu_conv2d_backward_weight(
    dy: Array,
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    shape: Shape,
    window: Window,
    groups: int = 1,
) -> Array:
    """Return the gradient of the filters, ``conv2d_backward_weight(dy, z)``.

    Parameters
    ----------
    dy : (n, oh, ow, k)
        Upstream gradient.
    x, mean, s, gamma, beta
        As in `batch_norm_relu_conv2d`.
    shape : (kh, kw, c/groups, k)
        Of the filters.
    """
    return conv2d_backward_weight(dy, _images(x, mean, s, gamma, beta), shape, window, groups)


def _images(x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return ``z = max(gamma*s*(x - mean) + beta, 0)``."""
    z = batch_norm_relu(_rows(x), mean, s, gamma, beta)
    return array_namespace(x).reshape(z, x.shape)


def _rows(x: Array) -> Array:
    """(n, h, w, c) -> (n*h*w, c)."""
    n, h, w, c = x.shape
    return array_namespace(x).reshape(x, (n * h * w, c))
