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

With what often follows, the sum with a residual r and ReLU::

    y = max(gamma*xhat + beta + r, 0)        g = dy*[y > 0]

g is the gradient of r, and takes the place of dy above.

S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing internal
covariate shift", ICML 2015.
"""

from __future__ import annotations

from handgrad.kernels.reference.activation import relu, relu_backward
from handgrad.kernels.reference.namespace import accumulator, array_namespace, column_sum
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


def batch_norm_statistics(x: Array) -> tuple[Array, Array]:
    """Return the mean and the (biased) variance of each column of (m, c), in float64.

    ``sum(x^2)/m - mean^2`` loses everything when the mean is large. Two passes do not: the mean, then the
    squares of what is left without it; and what is left has a mean d of its own, which is the first pass'
    rounding error (T. F. Chan, G. H. Golub and R. J. LeVeque, Am. Stat. 37 (1983), 242-247, eq. 1.7). Squares
    are float64: those of float32 would overflow from 1.9e19 on.
    """
    xp = array_namespace(x)
    m, wide = x.shape[0], accumulator(x)
    mean = xp.sum(x, axis=0, dtype=wide) / m
    centred = xp.astype(x, wide) - mean
    d = xp.sum(centred, axis=0) / m
    var = xp.sum(centred * centred, axis=0) / m - d * d
    return mean + d, var


def batch_norm(x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None) -> Array:
    """Return ``y = gamma*s*(x - mean) + beta``.

    Parameters
    ----------
    x : (m, c)
        Rows.
    mean, s : (c,)
        Mean and ``1/sqrt(var + epsilon)`` of the columns, in float64.
    gamma, beta : (c,) or None
        Scale and shift; 1 and 0 where None.
    """
    if _is_wide(x, mean, s):
        return _cast(batch_norm(_widened(x), mean, s, gamma, beta), x)
    y = _gamma_s(gamma, s, x) * _centre(x, mean)
    return y if beta is None else y + beta


def batch_norm_backward(
    dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None, m: int | None = None
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta where mean and variance are those of `x`.

    ``dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)``

    Parameters
    ----------
    dy, x : (m, c)
        Upstream gradient and input.
    mean, s, gamma
        As in `batch_norm`.
    m : int, optional
        How many of the rows mean and variance are of; all by default. dx is then right for these rows.

    Returns
    -------
    dx : (m, c)
    dgamma, dbeta : (c,)
    """
    m = m or x.shape[0]
    if _is_wide(x, mean, s):
        found = batch_norm_backward(_widened(dy), _widened(x), mean, s, gamma, m)
        return _cast(found[0], dy), _cast(found[1], dy), _cast(found[2], dy)
    xhat = _xhat(x, mean, s)
    dgamma, dbeta = column_sum(dy * xhat), column_sum(dy)
    dx = _gamma_s(gamma, s, dy) * (dy - (dbeta + xhat * dgamma) / m)
    return dx, dgamma, dbeta


def batch_norm_backward_constant(
    dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta where mean and variance are constants: ``dx = gamma*s*dy``.

    Parameters and results as in `batch_norm_backward`.
    """
    if _is_wide(x, mean, s):
        found = batch_norm_backward_constant(_widened(dy), _widened(x), mean, s, gamma)
        return _cast(found[0], dy), _cast(found[1], dy), _cast(found[2], dy)
    xhat = _xhat(x, mean, s)
    dgamma, dbeta = column_sum(dy * xhat), column_sum(dy)
    return _gamma_s(gamma, s, dy) * dy, dgamma, dbeta


def batch_norm_relu(
    x: Array, mean: Array, s: Array, gamma: Array | None, beta: Array | None, residual: Array | None = None
) -> Array:
    """Return ``y = max(gamma*s*(x - mean) + beta + residual, 0)``; NaN stays NaN.

    Parameters
    ----------
    x, mean, s, gamma, beta
        As in `batch_norm`.
    residual : (m, c), optional
        What is added.
    """
    z = batch_norm(x, mean, s, gamma, beta)
    return relu(z if residual is None else z + residual)


def batch_norm_relu_backward(
    dy: Array,
    x: Array,
    y: Array | None,
    mean: Array,
    s: Array,
    gamma: Array | None,
    beta: Array | None,
    m: int | None = None,
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are those of `x`; with y also g.

    ``dx = gamma*s*(g - (dbeta + xhat*dgamma)/m)`` with ``g = dy*[y > 0]``, dgamma and dbeta of g

    Parameters
    ----------
    dy, x : (m, c)
        Upstream gradient and input.
    y : (m, c) or None
        The output. None where there was no residual: its sign is then computed from x, one array less to keep
        and to read.
    mean, s, gamma, beta
        As in `batch_norm`.
    m : int, optional
        As in `batch_norm_backward`.

    Returns
    -------
    dx : (m, c)
    dgamma, dbeta : (c,)
    g : (m, c)
        The gradient of the residual; not returned where y is None.
    """
    g = _passed(dy, x, y, mean, s, gamma, beta)
    gradients = batch_norm_backward(g, x, mean, s, gamma, m)
    return gradients if y is None else (*gradients, g)


def batch_norm_relu_backward_constant(
    dy: Array, x: Array, y: Array | None, mean: Array, s: Array, gamma: Array | None, beta: Array | None
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta where mean and variance are constants: ``dx = gamma*s*g``; with y also g.

    Parameters and results as in `batch_norm_relu_backward`.
    """
    g = _passed(dy, x, y, mean, s, gamma, beta)
    gradients = batch_norm_backward_constant(g, x, mean, s, gamma)
    return gradients if y is None else (*gradients, g)


def _passed(
    dy: Array, x: Array, y: Array | None, mean: Array, s: Array, gamma: Array | None, beta: Array | None
) -> Array:
    """Return ``g = dy*[y > 0]``."""
    return relu_backward(dy, batch_norm(x, mean, s, gamma, beta) if y is None else y)


def _is_wide(x: Array, mean: Array, s: Array) -> bool:
    """Whether x - mean, which is about 1/s, or a product with s may leave what float32 holds."""
    xp = array_namespace(x, mean, s)
    if not xp.isdtype(x.dtype, "real floating") or xp.finfo(x.dtype).bits > 32:
        return False
    return bool(xp.any((xp.abs(s) < 2.0**-60) | (xp.abs(mean) > 2.0**120)))


def _widened(a: Array) -> Array:
    return array_namespace(a).astype(a, accumulator(a))


def _centre(x: Array, mean: Array) -> Array:
    """Return x - mean, the mean as two numbers of x's precision: at 1e6 one float32 would be 0.03 off."""
    high = _cast(mean, x)
    low = _cast(mean - high, x)
    return (x - high) - low


def _xhat(x: Array, mean: Array, s: Array) -> Array:
    """Return ``xhat = (x - mean)*s``."""
    return _centre(x, mean) * _cast(s, x)


def _gamma_s(gamma: Array | None, s: Array, like: Array) -> Array:
    """Return ``gamma*s``, multiplied in float64, in the dtype of `like`."""
    return _cast(s if gamma is None else gamma * s, like)


def _cast(a: Array, like: Array) -> Array:
    """Return `a` in the dtype of `like`, but with its imaginary part: gamma may carry a complex step."""
    xp = array_namespace(a, like)
    drops = xp.isdtype(a.dtype, "complex floating") and xp.isdtype(like.dtype, "real floating")
    return a if drops else xp.astype(a, like.dtype)
