"""Names for the types that cross rooms."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, TypeAlias

import numpy as np
import numpy.typing as npt

Array: TypeAlias = npt.NDArray[Any]
"""An array; in the reference kernels any array that follows the array API standard."""

Shape: TypeAlias = tuple[int, ...]
"""A shape without the batch axis."""

DTypeLike: TypeAlias = npt.DTypeLike

Config: TypeAlias = dict[str, Any]
"""What JSON can hold."""

__all__ = ["Array", "Communicator", "Config", "DTypeLike", "Shape", "is_bfloat16", "is_integer"]


class Communicator(Protocol):
    """What those that hold shares of one batch exchange numbers by.

    Threads, processes or machines, each with a copy of the model and a share of the batch, which run the same
    layers in the same order. Any object with this method is one; no base class is needed.
    """

    def all_gather(self, vector: Array) -> Sequence[Array]:
        """Return the vectors that all shares called this with, by rank, the same to each.

        Parameters
        ----------
        vector : (k,) float64 array
            This share's; of all shares the same length.
        """


def is_integer(value: object) -> bool:
    """Whether `value` is a whole number, but not a bool (``Conv2D(True)`` is a mistake)."""
    return isinstance(value, int | np.integer) and not isinstance(value, bool)


def is_bfloat16(a: object) -> bool:
    """Whether `a` is bfloat16 or an array of it; NumPy has it from ``ml_dtypes``, not imported here."""
    dtype: Any = a.dtype if isinstance(a, np.ndarray) else a
    return getattr(dtype, "char", None) == "E"
