"""The dense layer, and the sum over rows that is every bias's gradient."""

from __future__ import annotations

from handgrad.kernels.reference.namespace import array_namespace, column_sum
from handgrad.typing import Array

__all__ = ["bias_backward", "dense", "dense_backward_input", "dense_backward_weight"]


def dense(x: Array, w: Array, b: Array | None) -> Array:
    """Return ``y = x @ w + b`` of (m, c), (c, k) and (k,) or None, as (m, k)."""
    y = array_namespace(x, w).matmul(x, w)
    return y if b is None else y + b


def dense_backward_input(dy: Array, w: Array) -> Array:
    """Return ``dx = dy @ w^T`` of (m, k) and (c, k), as (m, c)."""
    xp = array_namespace(dy, w)
    return xp.matmul(dy, xp.matrix_transpose(w))


def dense_backward_weight(dy: Array, x: Array) -> Array:
    """Return ``dw = x^T @ dy`` of (m, k) and (m, c), as (c, k)."""
    xp = array_namespace(dy, x)
    return xp.matmul(xp.matrix_transpose(x), dy)


def bias_backward(dy: Array) -> Array:
    """Return ``db[k] = sum dy[..., k]`` over all axes but the last, accumulated in float64."""
    k = dy.shape[-1]
    rows = 1
    for n in dy.shape[:-1]:
        rows *= n
    return column_sum(array_namespace(dy).reshape(dy, (rows, k)))
