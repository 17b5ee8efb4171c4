"""One step of each optimizer, compiled (csrc/update.cc), as `handgrad.kernels.reference.update` says."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import contiguous, is_float32
from handgrad.typing import Array

__all__ = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]


def covers(p: Any, g: Any, *state: Any, **others: Any) -> bool:
    """Whether all vectors are float32 of one shape, and those that are moved lie in one piece."""
    moved = [p, *(a for a in (*state, *others.values()) if isinstance(a, np.ndarray))]
    return (
        all(map(is_float32, (g, *moved)))
        and all(a.shape == g.shape for a in moved)
        and all(a.flags.carray for a in moved)
    )


def sgd(
    cpu: Any,
    p: Array,
    g: Array,
    b: Array | None = None,
    *,
    lr: float,
    t: int = 1,
    momentum: float = 0.0,
    dampening: float = 0.0,
    nesterov: bool = False,
    weight_decay: float = 0.0,
) -> None:
    """Gradient descent with heavy-ball momentum."""
    cpu.sgd(p, contiguous(g), b, lr, t == 1, momentum, 1 - dampening, nesterov, weight_decay)


def adagrad(
    cpu: Any, p: Array, g: Array, s: Array, *, lr: float, epsilon: float, weight_decay: float = 0.0
) -> None:
    """Scale each step by all gradients so far."""
    cpu.adagrad(p, contiguous(g), s, lr, epsilon, weight_decay)


def adadelta(
    cpu: Any,
    p: Array,
    g: Array,
    v: Array,
    u: Array,
    *,
    lr: float,
    rho: float,
    epsilon: float,
    weight_decay: float = 0.0,
) -> None:
    """Scale each step by recent gradients and recent steps."""
    cpu.adadelta(p, contiguous(g), v, u, lr, rho, epsilon, weight_decay)


def rmsprop(
    cpu: Any,
    p: Array,
    g: Array,
    v: Array,
    m: Array | None = None,
    b: Array | None = None,
    *,
    lr: float,
    rho: float,
    epsilon: float,
    momentum: float = 0.0,
    weight_decay: float = 0.0,
) -> None:
    """Scale each step by recent gradients."""
    cpu.rmsprop(p, contiguous(g), v, m, b, lr, rho, epsilon, momentum, weight_decay)


def adam(
    cpu: Any,
    p: Array,
    g: Array,
    m: Array,
    v: Array,
    *,
    lr: float,
    t: int,
    beta_1: float,
    beta_2: float,
    epsilon: float,
    weight_decay: float = 0.0,
    decoupled: bool = False,
) -> None:
    """Scale each step by running means of the gradient and its square, corrected for their start at 0."""
    step, correction = lr / (1 - beta_1**t), 1 / math.sqrt(1 - beta_2**t)
    in_gradient, kept = (0.0, 1 - lr * weight_decay) if decoupled else (weight_decay, 1.0)
    cpu.adam(p, contiguous(g), m, v, step, beta_1, beta_2, correction, epsilon, in_gradient, kept)
