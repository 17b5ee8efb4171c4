"""Normalization of each sample, compiled (csrc/group_norm.cc).

Contracts as in `handgrad.kernels.reference.group_norm`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.typing import Array

__all__ = ["group_norm", "group_norm_backward", "rms_norm", "rms_norm_backward"]


def group_norm(
    cpu: Any, x: Array, gamma: Array | None, beta: Array | None, groups: int, epsilon: float
) -> tuple[Array, ...]:
    """Return ``y = gamma*xhat + beta``, and the mean and s of every group, in float64."""
    y, mean, s = empty(x.shape, x), *np.empty((2, x.shape[0], groups))
    cpu.group_norm(contiguous(x), _float32(gamma), _float32(beta), epsilon, bits(y), mean, s)
    return y, mean, s


def group_norm_backward(
    cpu: Any, dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta."""
    dx, dgamma, dbeta = empty(x.shape, x), *np.empty((2, x.shape[2]), np.float32)
    statistics = np.ascontiguousarray(mean, np.float64), np.ascontiguousarray(s, np.float64)
    cpu.group_norm_backward(
        contiguous(dy), contiguous(x), *statistics, _float32(gamma), bits(dx), dgamma, dbeta
    )
    return dx, dgamma, dbeta


def rms_norm(cpu: Any, x: Array, gamma: Array | None, epsilon: float) -> tuple[Array, ...]:
    """Return ``y = gamma*s*x``, and s of every row, in float64."""
    y, s = empty(x.shape, x), np.empty(x.shape[0])
    cpu.rms_norm(contiguous(x), _float32(gamma), epsilon, bits(y), s)
    return y, s


def rms_norm_backward(cpu: Any, dy: Array, x: Array, s: Array, gamma: Array | None) -> tuple[Array, ...]:
    """Return dx and dgamma."""
    dx, dgamma = empty(x.shape, x), np.empty(x.shape[1], np.float32)
    s = np.ascontiguousarray(s, np.float64)
    cpu.rms_norm_backward(contiguous(dy), contiguous(x), s, _float32(gamma), bits(dx), dgamma)
    return dx, dgamma


def _float32(a: Array | None) -> Array | None:
    return None if a is None else np.ascontiguousarray(a, np.float32)
