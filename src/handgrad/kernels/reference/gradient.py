"""What is asked of all gradients at once, as flat vectors of real numbers."""

from __future__ import annotations

from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array

__all__ = ["all_finite", "sum_of_squares"]


def all_finite(g: Array) -> Array:
    """Return whether no number of g is NaN or infinite, as an array without axes."""
    xp = array_namespace(g)
    return xp.all(xp.isfinite(g))


def sum_of_squares(g: Array) -> Array:
    """Return ``sum(g**2)``, computed in float64, as an array without axes."""
    xp = array_namespace(g)
    wide = xp.astype(g, xp.float64)
    return xp.sum(wide * wide)
