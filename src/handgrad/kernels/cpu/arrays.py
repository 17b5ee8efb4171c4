"""Arrays as the extension module takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.typing import Array, Shape, is_bfloat16

# Kernels of small arrays take microseconds, and these functions are called for each of their arguments:
# what holds for most arrays is asked first.
FLOAT32 = np.dtype(np.float32)


def contiguous(a: Array) -> Array:
    """Return `a`, or a copy, aligned, in C order and in the machine's byte order; of bfloat16 its bits."""
    flags = a.flags
    if not (flags.c_contiguous and flags.aligned):
        a = a.copy()
    if a.dtype == FLOAT32:
        return a
    if is_bfloat16(a):
        return bits(a)
    return a if a.dtype.isnative else a.astype(a.dtype.newbyteorder("="))


def of_dtype(a: Array, dtype: Any) -> Array:
    """Return `a`, or a copy, of that dtype, aligned and in C order."""
    return contiguous(np.asarray(a, dtype))


def bits(a: Array) -> Array:
    """Return `a`, or of bfloat16 its bits: the same memory."""
    return a.view(np.uint16) if a.dtype != FLOAT32 and is_bfloat16(a) else a


def empty(shape: Shape, like: Array) -> Array:
    """Return memory for a result: of bfloat16 if `like` is, else of float32."""
    return np.empty(shape, like.dtype if like.dtype != FLOAT32 and is_bfloat16(like) else FLOAT32)


def is_float32(a: Any) -> bool:
    """Whether `a` is a NumPy array, and no subclass, of float32."""
    return type(a) is np.ndarray and a.dtype == FLOAT32


def is_complex(a: Any) -> bool:
    """Whether `a` is a NumPy array of complex numbers."""
    return isinstance(a, np.ndarray) and a.dtype.kind == "c"


def alike(x: Any, *others: Any, **_: Any) -> bool:
    """Whether all arrays among a kernel's arguments are NumPy's, of one dtype and of one shape."""
    arrays = [x, *(a for a in others if isinstance(a, np.ndarray))]
    return all(type(a) is np.ndarray and (a.dtype, a.shape) == (x.dtype, x.shape) for a in arrays)
