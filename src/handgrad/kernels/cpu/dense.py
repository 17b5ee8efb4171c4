"""The dense layer, compiled (csrc/dense.cc, csrc/norm.cc); contracts: `handgrad.kernels.reference.dense`."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.typing import Array

__all__ = ["bias_backward", "dense", "dense_backward_input", "dense_backward_weight"]


def dense(cpu: Any, x: Array, w: Array, b: Array | None) -> Array:
    """Return ``y = x @ w + b``."""
    y = empty((x.shape[0], w.shape[1]), x)
    cpu.dense(contiguous(x), contiguous(w), None if b is None else contiguous(b), bits(y))
    return y


def dense_backward_input(cpu: Any, dy: Array, w: Array) -> Array:
    """Return ``dx = dy @ w^T``."""
    dx = empty((dy.shape[0], w.shape[0]), dy)
    cpu.dense_backward_input(contiguous(dy), contiguous(w), bits(dx))
    return dx


def dense_backward_weight(cpu: Any, dy: Array, x: Array) -> Array:
    """Return ``dw = x^T @ dy``."""
    dw = np.empty((x.shape[1], dy.shape[1]), np.float32)
    cpu.dense_backward_weight(contiguous(dy), contiguous(x), dw)
    return dw


def bias_backward(cpu: Any, dy: Array) -> Array:
    """Return ``db[k] = sum dy[..., k]`` over all axes but the last."""
    rows, db = math.prod(dy.shape[:-1]), np.empty(dy.shape[-1], np.float32)
    cpu.column_sums(contiguous(dy).reshape(rows, dy.shape[-1]), db)
    return db
