"""Sums, compiled (csrc/merge.cc); contracts as in `handgrad.kernels.reference.merge`."""

from __future__ import annotations

from typing import Any

from handgrad.kernels.cpu.arrays import alike, bits, contiguous, empty
from handgrad.typing import Array

__all__ = ["add"]

covers = alike


def add(cpu: Any, a: Array, b: Array) -> Array:
    """Return ``y = a + b``."""
    y = empty(a.shape, a)
    cpu.add(contiguous(a), contiguous(b), bits(y))
    return y
