"""What is asked of gradients, compiled (csrc/gradient.cc), as `handgrad.kernels.reference.gradient` says."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import contiguous
from handgrad.typing import Array

__all__ = ["all_finite", "sum_of_squares"]


def all_finite(cpu: Any, g: Array) -> Any:
    """Return whether no number of g is NaN or infinite."""
    return np.bool_(cpu.all_finite(contiguous(g)))


def sum_of_squares(cpu: Any, g: Array) -> Any:
    """Return ``sum(g**2)``, computed in float64."""
    return np.float64(cpu.sum_of_squares(contiguous(g)))
