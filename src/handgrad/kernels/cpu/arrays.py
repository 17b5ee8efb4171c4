"""Arrays as the extension module takes them."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.typing import Array


def contiguous(a: Array) -> Array:
    """Return `a`, or a copy in C order and in the machine's byte order."""
    return np.ascontiguousarray(a, a.dtype.newbyteorder("="))


def is_float32(a: Any) -> bool:
    """Whether `a` is a NumPy array, and no subclass, of float32."""
    return type(a) is np.ndarray and a.dtype == np.float32


def is_complex(a: Any) -> bool:
    """Whether `a` is a NumPy array of complex numbers."""
    return isinstance(a, np.ndarray) and a.dtype.kind == "c"


def alike(x: Any, *others: Any, **_: Any) -> bool:
    """Whether all arrays among a kernel's arguments are NumPy's, of float32 and of one shape."""
    arrays = [x, *(a for a in others if isinstance(a, np.ndarray))]
    return all(is_float32(a) and a.shape == x.shape for a in arrays)
