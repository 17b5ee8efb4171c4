"""Losses, compiled (csrc/loss.cc); contracts as in `handgrad.kernels.reference.loss`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import contiguous, is_float32, of_dtype
from handgrad.typing import Array

__all__ = ["binary_cross_entropy", "mean_squared_error", "softmax_cross_entropy"]


def covers(z: Any, t: Any, **_: Any) -> bool:
    """Whether these are logits in float32, and labels that are real numbers."""
    return is_float32(z) and type(t) is np.ndarray and t.dtype.kind in "biuf"


def softmax_cross_entropy(cpu: Any, z: Array, labels: Array, *, smoothing: float = 0.0) -> tuple[Any, Array]:
    """Return the cross entropy between targets and softmax(z), mean over the rows, and its gradient."""
    dz = np.empty(z.shape, np.float32)
    classes = of_dtype(labels, np.int64) if labels.ndim == 1 else None
    targets = of_dtype(labels, np.float32) if labels.ndim == 2 else None
    value = cpu.softmax_cross_entropy(contiguous(z), classes, targets, smoothing, dz)
    return np.float64(value), dz


def binary_cross_entropy(cpu: Any, z: Array, t: Array) -> tuple[Any, Array]:
    """Return the cross entropy between targets t and sigmoid(z), mean over all elements, and its gradient."""
    dz = np.empty(z.shape, np.float32)
    value = cpu.binary_cross_entropy(contiguous(z), of_dtype(t, np.float32), dz)
    return np.float64(value), dz


def mean_squared_error(cpu: Any, z: Array, t: Array) -> tuple[Any, Array]:
    """Return the mean of (z - t)**2 over all elements, and its gradient."""
    dz = np.empty(z.shape, np.float32)
    value = cpu.mean_squared_error(contiguous(z), of_dtype(t, np.float32), dz)
    return np.float64(value), dz
