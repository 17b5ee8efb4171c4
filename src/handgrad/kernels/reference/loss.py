"""Losses from logits: the value and its gradient together, both for the mean.

Each returns ``(value, dz)``: a number without axes, summed in float64 (complex128 for complex logits), and an
array of the logits' shape and dtype. The mean of nothing is taken as 0.
"""

from __future__ import annotations

from handgrad.kernels.reference.activation import below_maximum
from handgrad.kernels.reference.namespace import accumulator, array_namespace, real
from handgrad.typing import Array

__all__ = ["binary_cross_entropy", "mean_squared_error", "softmax_cross_entropy"]


def softmax_cross_entropy(z: Array, labels: Array, *, smoothing: float = 0.0) -> tuple[Array, Array]:
    """Return the cross entropy between targets and softmax(z), mean over the rows, and its gradient.

    ::

        L  = -1/n * sum_i sum_k t_ik log p_ik      p = softmax(z), log p = z - max - log(sum(exp(z - max)))
        dz = (p*sum_k(t) - t)/n                    (p - t)/n where the targets of a row sum to 1

    Parameters
    ----------
    z : (n, k)
        Logits.
    labels : (n,) integers in 0..k-1, or (n, k)
        The class of each row, or the targets t themselves.
    smoothing : float
        The share e of every target that is spread over all classes: t becomes ``(1 - e)*t + e/k``.

    Returns
    -------
    value : ()
    dz : (n, k)

    Notes
    -----
    The derivative of ``log p_k`` by ``z_j`` is ``[j = k] - p_j``; summed with weights ``-t_k`` it is
    ``p_j*sum_k(t_k) - t_j``. The greatest logit is subtracted first, so exp never overflows, and the
    logarithm is never taken of a rounded probability: a row that is wrong by 1e4 costs 1e4. A target of 0
    contributes nothing, also where the logit is -inf. Beside one logit that is infinite all other classes
    cost infinitely much, and that one nothing.
    """
    xp = array_namespace(z, labels)
    n, k = z.shape
    t = _one_hot(labels, k) if labels.ndim == 1 else labels
    t = xp.astype(t, accumulator(z))
    if smoothing:
        t = (1 - smoothing) * t + smoothing / k
    below = below_maximum(z)
    e = xp.exp(below)
    s = xp.sum(e, axis=1, keepdims=True)
    costs = (t != 0) | xp.isnan(real(below))
    logp = xp.where(costs, below, xp.zeros_like(below)) - xp.where(costs, xp.log(s), xp.zeros_like(s))
    dz = (e / s * xp.sum(t, axis=1, keepdims=True) - t) / n
    return _mean(-xp.sum(t * logp, axis=1)), xp.astype(dz, z.dtype)


def binary_cross_entropy(z: Array, t: Array) -> tuple[Array, Array]:
    """Return the cross entropy between targets t and sigmoid(z), mean over all m elements, and its gradient.

    ::

        L  = -1/m * sum(t log p + (1 - t) log(1 - p))      p = 1/(1 + exp(-z))
           = 1/m * sum(max(z, 0) - z*t + log(1 + exp(-|z|)))
        dz = (p - t)/m

    Parameters
    ----------
    z : any shape
        Logits.
    t : of z's shape
        Targets in 0..1.

    Returns
    -------
    value : ()
    dz : of z's shape

    Notes
    -----
    ``-log p = log(1 + exp(-z))`` and ``-log(1 - p) = z + log(1 + exp(-z))`` give
    ``L = (1 - t)*z + log(1 + exp(-z))``. There ``log(1 + exp(-z)) = max(-z, 0) + log(1 + exp(-|z|))`` keeps
    exp from overflowing: z has the weight 1 - t where it is positive, -t where it is not. Where the weight is
    0 it costs nothing, also where it is infinite.
    """
    xp = array_namespace(z, t)
    dtype, z, t = z.dtype, xp.astype(z, accumulator(z)), xp.astype(t, accumulator(z))
    positive = real(z) >= 0
    e = xp.exp(xp.where(positive, -z, z))  # exp(-|z|)
    p = xp.where(positive, xp.ones_like(e), e) / (1 + e)
    weight = xp.where(positive, 1 - t, -t)
    costs = (weight != 0) | xp.isnan(real(z))
    loss = weight * xp.where(costs, z, xp.zeros_like(z)) + xp.log1p(e)
    return _mean(loss), xp.astype((p - t) / _size(z), dtype)


def mean_squared_error(z: Array, t: Array) -> tuple[Array, Array]:
    """Return the mean of (z - t)**2 over all m elements, and its gradient.

    ::

        L  = 1/m * sum((z - t)**2)
        dz = 2*(z - t)/m

    Parameters
    ----------
    z, t : of one shape
        Outputs and targets.

    Returns
    -------
    value : ()
    dz : of z's shape
    """
    xp = array_namespace(z, t)
    d = xp.astype(z, accumulator(z)) - xp.astype(t, accumulator(z))
    return _mean(d * d), xp.astype(2 * d / _size(z), z.dtype)


def _one_hot(labels: Array, k: int) -> Array:
    """Return (n, k) booleans, true at the class of each row."""
    xp = array_namespace(labels)
    t: Array = xp.astype(labels, xp.int64)[:, None] == xp.arange(k, dtype=xp.int64)[None, :]
    return t


def _mean(x: Array) -> Array:
    xp = array_namespace(x)
    mean: Array = xp.sum(x, dtype=accumulator(x)) / max(_size(x), 1)
    return mean


def _size(x: Array) -> int:
    size = 1
    for n in x.shape:
        size *= n
    return size
