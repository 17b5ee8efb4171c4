"""Names for the types that cross rooms."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array; in the reference kernels any array that follows the array API standard."""

Shape: TypeAlias = tuple[int, ...]
"""A shape without the batch axis."""

DTypeLike: TypeAlias = npt.DTypeLike

Config: TypeAlias = dict[str, Any]
"""What JSON can hold."""

__all__ = ["Array", "Config", "DTypeLike", "Shape", "is_bfloat16", "is_integer"]


def is_integer(value: object) -> bool:
    """Whether `value` is a whole number, but not a bool (``Conv2D(True)`` is a mistake)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_bfloat16(a: object) -> bool:
    """Whether `a` is a NumPy array of bfloat16, which NumPy has from ``ml_dtypes``, not imported here."""
    return isinstance(a, np.ndarray) and a.dtype.char == "E"
