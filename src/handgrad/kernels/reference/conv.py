r"""Convolution as a sum of shifted matrix products.

With P the padded input, a filter tap (i, j) meets, over all places (a, b) of the window, the pixels
``P[a*s + i*d, b*s + j*d]``. Written as rows of a matrix that is one product per tap::

    y  = sum_ij  P_ij @ w_ij              (m, c) @ (c, k)       m = n*oh*ow places
    dP_ij   +=   dy @ w_ij^T              (m, k) @ (k, c)
    dw_ij    =   P_ij^T @ dy              (c, m) @ (m, k)

The taps of one filter row are taken together, ``kw*c`` columns at once: longer products, fewer passes over y.
No matrix of all ``kh*kw*c`` columns ever exists. Groups are the leading axis of a batched product.
"""

from __future__ import annotations

from typing import Any

from handgrad.geometry import Window
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.kernels.reference.windows import crop, pad, padded_shape, tap
from handgrad.typing import Array, Shape

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"]


def conv2d(x: Array, w: Array, b: Array | None, window: Window, groups: int = 1) -> Array:
    """Return the convolution of images with filters.

    ``y[n, a, b, k] = sum_ijc P[n, a*sh + i*dh, b*sw + j*dw, c] * w[i, j, c, k] + b[k]``

    Parameters
    ----------
    x : (n, h, w, c)
        Images.
    w : (kh, kw, c/groups, k)
        Filters; outputs k come in `groups` runs, each of which sees its own run of inputs.
    b : (k,) or None
        Bias.
    window : Window
        Strides, dilation and padding.
    groups : int
        Into how many parts channels are divided.

    Returns
    -------
    (n, oh, ow, k)
    """
    xp = array_namespace(x, w)
    n, k = x.shape[0], w.shape[3]
    oh, ow = window.output_size(x.shape[1:3])
    P = pad(x, window)
    y: Any = 0
    for i in range(window.kernel[0]):
        y = y + xp.matmul(_filter_row(P, window, i, (oh, ow), groups), _weight_row(w, i, groups))
    y = _ungroup(y, (n, oh, ow, k))  # (g, m, k/g) -> (n, oh, ow, k)
    return y if b is None else y + b


def conv2d_backward_input(dy: Array, w: Array, shape: Shape, window: Window, groups: int = 1) -> Array:
    """Return the gradient of the images: ``dP_ij += dy @ w_ij^T``, then the padding is cut off.

    Parameters
    ----------
    dy : (n, oh, ow, k)
        Upstream gradient.
    w : (kh, kw, c/groups, k)
        Filters.
    shape : (n, h, w, c)
        Of the images.
    window, groups
        As in `conv2d`.

    Returns
    -------
    (n, h, w, c)
    """
    xp = array_namespace(dy, w)
    n, oh, ow, _ = dy.shape
    (kh, kw), c = window.kernel, shape[3]
    dy = _group(dy, groups)
    dP = xp.zeros(padded_shape(shape, window), dtype=dy.dtype)
    for i in range(kh):
        row = xp.matmul(dy, xp.matrix_transpose(_weight_row(w, i, groups)))  # (g, m, kw*c/g)
        row = _ungroup(xp.reshape(row, (groups, n * oh * ow * kw, c // groups)), (n, oh, ow, kw, c))
        for j in range(kw):
            dP[tap(window, i, j, (oh, ow))] += row[:, :, :, j, :]
    return crop(dP, window)


def conv2d_backward_weight(dy: Array, x: Array, shape: Shape, window: Window, groups: int = 1) -> Array:
    """Return the gradient of the filters: ``dw_ij = P_ij^T @ dy``.

    Parameters
    ----------
    dy : (n, oh, ow, k)
        Upstream gradient.
    x : (n, h, w, c)
        Images.
    shape : (kh, kw, c/groups, k)
        Of the filters.
    window, groups
        As in `conv2d`.

    Returns
    -------
    (kh, kw, c/groups, k)
    """
    xp = array_namespace(dy, x)
    size = dy.shape[1], dy.shape[2]
    kh, kw, cg, k = shape
    P = pad(x, window)
    dy = _group(dy, groups)
    dw = []
    for i in range(kh):
        row = xp.matrix_transpose(_filter_row(P, window, i, size, groups))
        dw_i = xp.reshape(xp.matmul(row, dy), (groups, kw * cg, k // groups))
        dw.append(xp.reshape(xp.permute_dims(dw_i, (1, 0, 2)), (kw, cg, k)))
    return xp.stack(dw)


def _filter_row(P: Array, window: Window, i: int, size: tuple[int, int], groups: int) -> Array:
    """Return the pixels that the taps of filter row i meet, as (groups, m, kw*c/groups)."""
    xp = array_namespace(P)
    pixels = xp.stack([P[tap(window, i, j, size)] for j in range(window.kernel[1])], axis=3)
    n, oh, ow, kw, c = pixels.shape
    if groups == 1:
        return xp.reshape(pixels, (1, n * oh * ow, kw * c))
    pixels = xp.reshape(pixels, (n * oh * ow, kw, groups, c // groups))
    pixels = xp.permute_dims(pixels, (2, 0, 1, 3))
    return xp.reshape(pixels, (groups, n * oh * ow, kw * (c // groups)))


def _weight_row(w: Array, i: int, groups: int) -> Array:
    """Return filter row i as (groups, kw*c/groups, k/groups)."""
    xp = array_namespace(w)
    _, kw, cg, k = w.shape
    row = xp.reshape(w[i, ...], (kw * cg, groups, k // groups))
    return xp.permute_dims(row, (1, 0, 2))


def _group(y: Array, groups: int) -> Array:
    """(n, oh, ow, k) -> (g, m, k/g)."""
    xp = array_namespace(y)
    n, oh, ow, k = y.shape
    return xp.permute_dims(xp.reshape(y, (n * oh * ow, groups, k // groups)), (1, 0, 2))


def _ungroup(y: Array, shape: Shape) -> Array:
    """(g, m, k/g) -> shape, whose last axis is k."""
    xp = array_namespace(y)
    return xp.reshape(xp.permute_dims(y, (1, 0, 2)), shape)
