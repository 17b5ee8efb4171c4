"""Convolution with filters that were packed before: for inference, in which they stay what they are.

An implementation may hold filters as its products read them, transformed or in another order, and do so once
instead of in every call. Here they stay as they are.
"""

from __future__ import annotations

from typing import Any

from handgrad.geometry import Window
from handgrad.kernels.reference.activation import relu as rectified
from handgrad.kernels.reference.conv import conv2d
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array, Shape

__all__ = ["conv2d_packed", "pack_filters"]


def pack_filters(w: Array, shape: Shape, window: Window, groups: int = 1, dtype: Any = None) -> Any:  # noqa: ARG001 (a contract)
    """Return what `conv2d_packed` of the same table takes in place of filters: a copy.

    Parameters
    ----------
    w : (kh, kw, c/groups, k)
        Filters.
    shape : (n, h, w, c)
        Of the images that they are meant for. They serve images of any number and size; by this one an
        implementation may choose how to compute.
    window, groups
        As in `conv2d`.
    dtype : dtype-like, optional
        Of the images. By default that of the filters.
    """
    return array_namespace(w).asarray(w, copy=True)


def conv2d_packed(
    x: Array,
    filters: Any,
    b: Array | None,
    window: Window,
    groups: int = 1,
    add: Array | None = None,
    relu: bool = False,
) -> Array:
    """Return ``y = conv2d(x, w, b) + add``, and with `relu` ``max(y, 0)``; NaN stays NaN.

    Parameters
    ----------
    x : (n, h, w, c)
        Images, of the dtype for which the filters were packed.
    filters
        What `pack_filters` returned for w, and for this window and these groups; or w itself.
    b, window, groups
        As in `conv2d`.
    add : (n, oh, ow, k), optional
        What is added.
    relu : bool, default False
        Whether negative results become 0.

    Returns
    -------
    (n, oh, ow, k)
    """
    y = conv2d(x, filters, b, window, groups)
    if add is not None:
        y = y + add
    return rectified(y) if relu else y
