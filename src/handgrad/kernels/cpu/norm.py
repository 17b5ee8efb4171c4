"""Batch normalization, compiled (csrc/norm.cc); contracts as in `handgrad.kernels.reference.norm`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.typing import Array

__all__ = [
    "batch_norm",
    "batch_norm_backward",
    "batch_norm_backward_constant",
    "batch_norm_relu",
    "batch_norm_relu_backward",
    "batch_norm_relu_backward_constant",
    "batch_norm_statistics",
]


def batch_norm_statistics(cpu: Any, x: Array) -> tuple[Array, Array]:
    """Return the mean and the (biased) variance of each column, in float64."""
    mean, var = np.empty((2, x.shape[1]))
    cpu.batch_norm_statistics(contiguous(x), mean, var)
    return mean, var


def batch_norm(cpu: Any, x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return ``y = gamma*s*(x - mean) + beta``."""
    return _forward(cpu, x, columns(mean, s, gamma, beta), None, relu=False)


def batch_norm_relu(
    cpu: Any,
    x: Array,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    residual: Array | None = None,
) -> Array:
    """Return ``y = max(gamma*s*(x - mean) + beta + residual, 0)``."""
    return _forward(cpu, x, columns(mean, s, gamma, beta), residual, relu=True)


def batch_norm_backward(
    cpu: Any, dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None, m: int | None = None
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are those of `x`."""
    return _backward(cpu, dy, x, None, columns(mean, s, gamma, None), m or len(x), relu=False)


def batch_norm_backward_constant(
    cpu: Any, dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are constants."""
    return _backward(cpu, dy, x, None, columns(mean, s, gamma, None), None, relu=False)


def batch_norm_relu_backward(
    cpu: Any,
    dy: Array,
    x: Array,
    y: Array | None,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    m: int | None = None,
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are those of `x`; with y also g."""
    return _backward(cpu, dy, x, y, columns(mean, s, gamma, beta), m or len(x), relu=True)


def batch_norm_relu_backward_constant(
    cpu: Any,
    dy: Array,
    x: Array,
    y: Array | None,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are constants; with y also g."""
    return _backward(cpu, dy, x, y, columns(mean, s, gamma, beta), None, relu=True)


def _forward(cpu: Any, x: Array, columns: list[Any], residual: Array | None, *, relu: bool) -> Array:
    y = empty(x.shape, x)
    cpu.batch_norm(contiguous(x), *columns, None if residual is None else contiguous(residual), relu, bits(y))
    return y


def _backward(
    cpu: Any, dy: Array, x: Array, y: Array | None, columns: list[Any], m: int | None, *, relu: bool
) -> tuple[Array, ...]:
    """Return the gradients where mean and variance are of m rows, or constants if m is None."""
    dx, dgamma, dbeta = empty(x.shape, x), *np.empty((2, x.shape[1]), np.float32)
    g = None if y is None else empty(x.shape, x)
    inputs = contiguous(dy), contiguous(x), None if y is None else contiguous(y)
    passed = None if g is None else bits(g)
    cpu.batch_norm_backward(*inputs, *columns, relu, m or 0, bits(dx), dgamma, dbeta, passed)
    return (dx, dgamma, dbeta) if g is None else (dx, dgamma, dbeta, g)


def columns(mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> list[Any]:
    """Return mean and s in float64, gamma and beta in float32."""
    narrow = [None if a is None else np.ascontiguousarray(a, np.float32) for a in (gamma, beta)]
    return [np.ascontiguousarray(mean, np.float64), np.ascontiguousarray(s, np.float64), *narrow]
