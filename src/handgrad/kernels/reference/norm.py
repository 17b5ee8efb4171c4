r"""Batch normalization of the columns of (m, c).

Forward::

    mean = sum(x)/m        var = sum((x - mean)^2)/m        s = 1/sqrt(var + epsilon)
    xhat = (x - mean)*s
    y    = gamma*xhat + beta

Backward. x reaches y directly, through the mean and through the variance. With g = gamma*dy, the gradient of
xhat::

    dbeta  = sum(dy)
    dgamma = sum(dy*xhat)
    dvar   = sum(g*(x - mean)) * (-1/2)*s^3     = -1/2*s^2 * gamma*dgamma
    dmean  = -s*sum(g)                            (the term through var is zero: sum(x - mean) = 0)
    dx     = g*s + dvar*2*(x - mean)/m + dmean/m
           = gamma*s*(dy - (dbeta + xhat*dgamma)/m)

When mean and variance are constants (inference, a frozen layer) the last two terms are not there: dx =
gamma*s*dy.

S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", ICML 2015.
"""

from __future__ import annotations

from handgrad.kernels.reference.namespace import accumulator, array_namespace
from handgrad.typing import Array

__all__ = ["batch_norm", "batch_norm_backward", "batch_norm_backward_constant", "batch_norm_statistics"]


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the (biased) variance of each column of (m, c), in float64.

    Two passes: sums of squares of raw values lose everything when the mean is large. The first pass is taken
    over ``x - x[0]``, which is exact or nearly so for values close together, and accumulated in float64.
    """
    xp = array_namespace(x)
    m, wide = x.shape[0], accumulator(x)
    x0 = x[:1, :]
    mean = xp.astype(x0[0, :], wide) + xp.sum(x - x0, axis=0, dtype=wide) / m
    centred = _centre(x, mean)
    var = xp.sum(centred * centred, axis=0, dtype=wide) / m
    return mean, var


def batch_norm(x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return ``y = gamma*(x - mean)*s + beta``.

    Parameters
    ----------
    x : (m, c)
        Rows.
    mean, s : (c,)
        Mean and ``1/sqrt(var + epsilon)`` of the columns, in float64.
    gamma, beta : (c,) or None
        Scale and shift; 1 and 0 where None.
    """
    a = _scale(x, s, gamma)
    y = _centre(x, mean) * a
    return y if beta is None else y + beta


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta where mean and variance are those of `x`.

    ``dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)``

    Parameters
    ----------
    dy, x : (m, c)
        Upstream gradient and input.
    mean, s, gamma
        As in `batch_norm`.

    Returns
    -------
    dx : (m, c)
    dgamma, dbeta : (c,)
    """
    xp = array_namespace(dy, x)
    m = x.shape[0]
    xhat = _xhat(x, mean, s)
    dgamma, dbeta = _sums(dy, xhat)
    dx = _scale(dy, s, gamma) * (dy - xp.astype((dbeta + xhat * dgamma) / m, dy.dtype))
    return dx, dgamma, dbeta


def batch_norm_backward_constant(
    dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta where mean and variance are constants: ``dx = gamma*s*dy``.

    Parameters and results as in `batch_norm_backward`.
    """
    dgamma, dbeta = _sums(dy, _xhat(x, mean, s))
    return _scale(dy, s, gamma) * dy, dgamma, dbeta


def _centre(x: Array, mean: Array) -> Array:
    """Return x - mean, the mean as two numbers of x's precision: at 1e6 one float32 would be 0.03 off."""
    xp = array_namespace(x)
    high = xp.astype(mean, x.dtype)
    low = xp.astype(mean - high, x.dtype)
    return (x - high) - low


def _xhat(x: Array, mean: Array, s: Array) -> Array:
    """Return xhat = (x - mean)*s."""
    return _centre(x, mean) * array_namespace(x).astype(s, x.dtype)


def _scale(x: Array, s: Array, gamma: Array | None) -> Array:
    """Return gamma*s in the dtype of x; complex where gamma is."""
    xp = array_namespace(x)
    a = s if gamma is None else gamma * s
    real_x = xp.isdtype(x.dtype, "real floating")
    return a if real_x and xp.isdtype(a.dtype, "complex floating") else xp.astype(a, x.dtype)


def _sums(dy: Array, xhat: Array) -> tuple[Array, Array]:
    """Return dgamma = sum(dy*xhat) and dbeta = sum(dy), accumulated in float64, in the dtype of dy."""
    xp = array_namespace(dy)
    wide = accumulator(dy)
    dgamma = xp.sum(dy * xhat, axis=0, dtype=wide)
    dbeta = xp.sum(dy, axis=0, dtype=wide)
    return xp.astype(dgamma, dy.dtype), xp.astype(dbeta, dy.dtype)
