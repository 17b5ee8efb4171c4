"""The array module a kernel computes with, and small things it lacks."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.typing import Array


def array_namespace(*arrays: Any) -> Any:
    """Return the array API module of `arrays`: NumPy itself, or what array-api-compat finds."""
    if all(isinstance(a, np.ndarray) for a in arrays):
        return np
    import array_api_compat

    return array_api_compat.array_namespace(*arrays)


def real(x: Array) -> Array:
    """Return the real part, by which complex numbers are compared.

    Complex-step derivatives carry the derivative in an imaginary part too small to change any decision.
    """
    xp = array_namespace(x)
    return xp.real(x) if xp.isdtype(x.dtype, "complex floating") else x


def accumulator(x: Array) -> Any:
    """Return the dtype in which sums over `x` are taken: float64, or complex128 for complex numbers."""
    xp = array_namespace(x)
    return xp.complex128 if xp.isdtype(x.dtype, "complex floating") else xp.float64


def column_sum(x: Array) -> Array:
    """Return the sum over the first axis of (m, c), accumulated in float64, in the dtype of `x`."""
    xp = array_namespace(x)
    return xp.astype(xp.sum(x, axis=0, dtype=accumulator(x)), x.dtype)
