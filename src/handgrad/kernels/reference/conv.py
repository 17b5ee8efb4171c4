r"""Convolution as a sum of shifted matrix products.

With P the padded input, the taps (i, j) of filter row i meet at place (p, q) the pixels
``P[p*sh + i*dh, q*sw + j*dw]``. Written as a matrix P_i, a row for each of the ``m = n*oh*ow`` places and
``kw*c`` columns for the taps of the row, convolution is one product for each filter row::

    y     =  sum_i  P_i @ w_i          (m, kw*c) @ (kw*c, k)
    dP_i  =  dy @ w_i^T                (m, k) @ (k, kw*c)          added up where places overlap
    dw_i  =  P_i^T @ dy                (kw*c, m) @ (m, k)

No matrix of all ``kh*kw*c`` columns ever exists. Groups are the leading axis of a batched product.
"""

from __future__ import annotations

from typing import Any

from handgrad.geometry import Window
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.kernels.reference.windows import crop, pad, padded_shape, pixels_met
from handgrad.typing import Array, Shape

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"]


def conv2d(x: Array, w: Array, b: Array | None, window: Window, groups: int = 1) -> Array:
    """Return the convolution of images with filters.

    ``y[n, p, q, k] = sum_ijc P[n, p*sh + i*dh, q*sw + j*dw, c] * w[i, j, c, k] + b[k]``

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
        P_i, w_i = _pixels(P, window, i, (oh, ow), groups), _filter_row(w, i, groups)
        y = y + xp.matmul(P_i, w_i)
    y = _ungroup(y, (n, oh, ow, k))  # (g, m, k/g) -> (n, oh, ow, k)
    return y if b is None else y + b


def conv2d_backward_input(
    dy: Array, w: Array, shape: Shape, window: Window, groups: int = 1, add: Array | None = None
) -> Array:
    """Return the gradient of the images: ``dP_i = dy @ w_i^T`` added up, then the padding is cut off.

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
    add : (n, h, w, c), optional
        Another gradient of the same images, which is added.

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
        dP_i = xp.matmul(dy, xp.matrix_transpose(_filter_row(w, i, groups)))  # (g, m, kw*c/g)
        dP_i = _ungroup(xp.reshape(dP_i, (groups, n * oh * ow * kw, c // groups)), (n, oh, ow, kw, c))
        for j in range(kw):
            dP[pixels_met(window, i, j, (oh, ow))] += dP_i[:, :, :, j, :]
    dx = crop(dP, window)
    return dx if add is None else dx + add


def conv2d_backward_weight(dy: Array, x: Array, shape: Shape, window: Window, groups: int = 1) -> Array:
    """Return the gradient of the filters: ``dw_i = P_i^T @ dy``.

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
        P_i = _pixels(P, window, i, size, groups)
        dw_i = xp.reshape(xp.matmul(xp.matrix_transpose(P_i), dy), (groups, kw * cg, k // groups))
        dw.append(xp.reshape(xp.permute_dims(dw_i, (1, 0, 2)), (kw, cg, k)))  # (g, kw*cg, k/g) -> (kw, cg, k)
    return xp.stack(dw)


def _pixels(P: Array, window: Window, i: int, size: tuple[int, int], groups: int) -> Array:
    """Return P_i, the pixels that the taps of filter row i meet, as (groups, m, kw*c/groups)."""
    xp = array_namespace(P)
    P_i = xp.stack([P[pixels_met(window, i, j, size)] for j in range(window.kernel[1])], axis=3)
    n, oh, ow, kw, c = P_i.shape
    if groups == 1:
        return xp.reshape(P_i, (1, n * oh * ow, kw * c))
    P_i = xp.reshape(P_i, (n * oh * ow, kw, groups, c // groups))
    P_i = xp.permute_dims(P_i, (2, 0, 1, 3))
    return xp.reshape(P_i, (groups, n * oh * ow, kw * (c // groups)))


def _filter_row(w: Array, i: int, groups: int) -> Array:
    """Return w_i, filter row i, as (groups, kw*c/groups, k/groups)."""
    xp = array_namespace(w)
    _, kw, cg, k = w.shape
    w_i = xp.reshape(w[i, ...], (kw * cg, groups, k // groups))
    return xp.permute_dims(w_i, (1, 0, 2))


def _group(y: Array, groups: int) -> Array:
    """(n, oh, ow, k) -> (g, m, k/g)."""
    xp = array_namespace(y)
    n, oh, ow, k = y.shape
    return xp.permute_dims(xp.reshape(y, (n * oh * ow, groups, k // groups)), (1, 0, 2))


def _ungroup(y: Array, shape: Shape) -> Array:
    """(g, m, k/g) -> shape, whose last axis is k."""
    xp = array_namespace(y)
    return xp.reshape(xp.permute_dims(y, (1, 0, 2)), shape)
