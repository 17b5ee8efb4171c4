"""Convolution with filters that were packed before, compiled (csrc/{conv,winograd,pairs,amx_conv}.cc).

Contracts as in `handgrad.kernels.reference.packed`. How they are packed is chosen by the cost rule, in which
reading them takes the place of transforming them. Filters of depthwise convolutions stay as they are.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from handgrad.errors import DataError
from handgrad.geometry import Window
from handgrad.kernels.cpu.activation import relu as rectified
from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.kernels.cpu.conv import conv2d, plan
from handgrad.kernels.cpu.merge import add as added
from handgrad.typing import Array, Shape, is_bfloat16

__all__ = ["conv2d_packed", "pack_filters"]


class Packed(NamedTuple):
    """Filters as the products of one instruction set read them."""

    shape: Shape
    """Of the filters, (kh, kw, c/groups, k)."""
    tile: int
    """Of Winograd's algorithm, or 0."""
    numbers: Array
    narrow: bool
    """Whether they are for images of bfloat16."""


def pack_filters(
    cpu: Any,
    w: Array,
    shape: Shape,
    window: Window,
    groups: int = 1,
    dtype: Any = np.float32,
    *,
    algorithm: int | None = None,
) -> Packed | Array:
    """Return the filters packed; those of a depthwise convolution as a copy."""
    if groups == shape[3] == w.shape[3]:
        return w.copy()
    narrow = is_bfloat16(np.dtype(dtype))
    sizes, tile = plan(cpu, np.dtype(dtype), shape, w.shape, window, groups, algorithm, packed=True)
    numbers = np.empty(cpu.packed_filters_size(sizes, tile, narrow), np.float32)
    cpu.pack_filters(sizes, tile, narrow, contiguous(w), numbers)
    return Packed(w.shape, tile, numbers, narrow)


def conv2d_packed(
    cpu: Any,
    x: Array,
    filters: Packed | Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
    add: Array | None = None,
    relu: bool = False,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the convolution, with what is added and ReLU."""
    if not isinstance(filters, Packed):
        dtype = x.dtype
        if add is not None:  # of bfloat16 only the sum is to be rounded
            x, add = (a.astype(np.float32, copy=False) for a in (x, add))
        y = conv2d(cpu, x, filters, b, window, groups, algorithm=algorithm)
        y = y if add is None else added(cpu, y, add)
        y = rectified(cpu, y) if relu else y
        return y.astype(dtype, copy=False)
    if is_bfloat16(x) != filters.narrow:
        expected = f"the dtype for which filters were packed, {'bfloat16' if filters.narrow else 'float32'}"
        raise DataError("conv2d_packed x", expected=expected, got=f"{x.dtype}")
    sizes, _ = plan(cpu, x.dtype, x.shape, filters.shape, window, groups, algorithm=filters.tile)
    y = empty((x.shape[0], sizes[4], sizes[5], sizes[6]), x)
    b, add = (None if a is None else contiguous(a) for a in (b, add))
    cpu.conv2d_packed(sizes, filters.tile, contiguous(x), filters.numbers, b, add, relu, bits(y))
    return y
