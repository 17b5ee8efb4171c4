"""One step of each optimizer, on flat vectors, in place.

These are the only kernels that write what they are given: the parameters `p` and the state, never the
gradient `g`. Every formula works element by element, so a vector may hold one parameter or all of them. `t`
counts the steps of these parameters from 1; `lr` and the other numbers are Python floats, which keep the
vectors' dtype. Where `weight_decay` is not 0, `g` stands for ``g + weight_decay*p`` (the gradient of an added
``weight_decay/2*sum(p**2)``), except for the decoupled decay of `adam`.

Steps that are divided by the root of squares hardly depend on the size of the gradients. In these rules a
finite gradient of more than `largest_squared`, 9.2e18 in float32, counts as so much: its square would be
infinite, and its parameter would never be moved again.
"""

from __future__ import annotations

import math

import numpy as np

from handgrad.typing import Array

__all__ = ["adadelta", "adagrad", "adam", "rmsprop", "sgd"]


def sgd(
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
    """Gradient descent with heavy-ball momentum.

    ::

        b <- g                                      at t = 1
        b <- momentum*b + (1 - dampening)*g         after that
        p <- p - lr*b,  or with nesterov  p <- p - lr*(g + momentum*b)

    Parameters
    ----------
    p, g : (m,)
        Parameters and gradient.
    b : (m,), optional
        The velocity; None where momentum is 0, and then ``p <- p - lr*g``.
    """
    g = _with_decay(p, g, weight_decay)
    if b is None:
        p -= lr * g
        return
    if t == 1:
        b[...] = g
    else:
        b *= momentum
        b += (1 - dampening) * g
    p -= lr * (g + momentum * b if nesterov else b)


def adagrad(p: Array, g: Array, s: Array, *, lr: float, epsilon: float, weight_decay: float = 0.0) -> None:
    """Scale each step by all gradients so far.

    ::

        s <- s + g**2                               at most the largest number
        p <- p - lr*g/(sqrt(s) + epsilon)

    Parameters
    ----------
    p, g : (m,)
        Parameters and gradient.
    s : (m,)
        The sum of squared gradients.
    """
    g = _squarable(_with_decay(p, g, weight_decay))
    with np.errstate(over="ignore"):
        s += g * g
    np.minimum(s, np.finfo(s.dtype).max, out=s, where=np.isfinite(g))
    p -= lr * (g / (np.sqrt(s) + epsilon))


def adadelta(
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
    """Scale each step by recent gradients and recent steps.

    ::

        v <- rho*v + (1 - rho)*g**2
        d  = sqrt(u + epsilon)/sqrt(v + epsilon)*g
        u <- rho*u + (1 - rho)*d**2
        p <- p - lr*d

    Parameters
    ----------
    p, g : (m,)
        Parameters and gradient.
    v, u : (m,)
        Running means of the squared gradients and of the squared steps.
    """
    g = _squarable(_with_decay(p, g, weight_decay))
    v *= rho
    v += (1 - rho) * (g * g)
    d = np.sqrt(u + epsilon) / np.sqrt(v + epsilon) * g
    u *= rho
    u += (1 - rho) * (d * d)
    p -= lr * d


def rmsprop(
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
    """Scale each step by recent gradients.

    ::

        v <- rho*v + (1 - rho)*g**2
        m <- rho*m + (1 - rho)*g                    if centered
        d  = g/(sqrt(v - m**2) + epsilon)           with m = 0 unless centered
        b <- momentum*b + d                         if there is momentum
        p <- p - lr*b                               with b = d unless there is momentum

    Parameters
    ----------
    p, g : (m,)
        Parameters and gradient.
    v : (m,)
        Running mean of the squared gradients.
    m : (m,), optional
        Running mean of the gradients: makes the rule centered.
    b : (m,), optional
        The velocity.
    """
    g = _squarable(_with_decay(p, g, weight_decay))
    v *= rho
    v += (1 - rho) * (g * g)
    variance = v
    if m is not None:
        m *= rho
        m += (1 - rho) * g
        # v >= m**2 holds exactly but not always after rounding
        variance = np.maximum(v - m * m, 0)
    d = g / (np.sqrt(variance) + epsilon)
    if b is not None:
        b *= momentum
        b += d
        d = b
    p -= lr * d


def adam(
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
    """Scale each step by running means of the gradient and its square, both corrected for their start at 0.

    ::

        m <- beta_1*m + (1 - beta_1)*g
        v <- beta_2*v + (1 - beta_2)*g**2
        p <- p - lr*mhat/(sqrt(vhat) + epsilon),  mhat = m/(1 - beta_1**t),  vhat = v/(1 - beta_2**t)

    With `decoupled` (AdamW) the decay leaves the gradient alone: ``p <- p - lr*weight_decay*p`` comes first.

    Parameters
    ----------
    p, g : (m,)
        Parameters and gradient.
    m, v : (m,)
        Running means of the gradients and of their squares.
    t : int
        The number of this step, from 1.
    """
    if decoupled:
        p *= 1 - lr * weight_decay
    else:
        g = _with_decay(p, g, weight_decay)
    g = _squarable(g)
    m *= beta_1
    m += (1 - beta_1) * g
    v *= beta_2
    v += (1 - beta_2) * (g * g)
    p -= lr / (1 - beta_1**t) * (m / (np.sqrt(v) / math.sqrt(1 - beta_2**t) + epsilon))


def largest_squared(dtype: np.dtype[np.floating]) -> float:
    """Return the largest power of two whose square, and some of them, numbers of `dtype` hold."""
    return float(2.0 ** (int(np.finfo(dtype).maxexp) // 2 - 1))


def _squarable(g: Array) -> Array:
    """Return g with finite numbers cut to +-`largest_squared`."""
    limit = largest_squared(g.dtype)
    size = np.abs(g)
    over = (size > limit) & np.isfinite(size)
    return np.where(over, np.copysign(np.asarray(limit, g.dtype), g), g) if over.any() else g


def _with_decay(p: Array, g: Array, weight_decay: float) -> Array:
    return g + weight_decay * p if weight_decay else g
