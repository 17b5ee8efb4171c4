r"""Normalization of each sample by itself, in groups of channels: (n, m, c) with m places of c channels.

A group is c/g channels at all places of one sample, N = m*c/g numbers. Forward::

    mean = sum(x)/N        var = sum((x - mean)^2)/N        s = 1/sqrt(var + epsilon)
    xhat = (x - mean)*s
    y    = gamma*xhat + beta                                gamma and beta per channel

Backward. With h = gamma*dy, the gradient of xhat, which unlike that of batch normalization has another gamma
for every channel of the group::

    dbeta  = sum(dy)            dgamma = sum(dy*xhat)      over all samples and places
    dvar   = sum(h*(x - mean)) * (-1/2)*s^3     = -1/2*s^2 * sum(h*xhat)
    dmean  = -s*sum(h)                            (the term through var is zero: sum(x - mean) = 0)
    dx     = h*s + dvar*2*(x - mean)/N + dmean/N
           = s*(h - (sum(h) + xhat*sum(h*xhat))/N)         these sums over the group

One group of a single place is layer normalization, as many groups as channels instance normalization.

Without the mean, over rows (n, c)::

    s    = 1/sqrt(sum(x^2)/c + epsilon)        xhat = x*s        y = gamma*xhat
    dx   = h*s + sum(h*x)*(-1/2)*s^3 * 2*x/c
         = s*(h - xhat*sum(h*xhat)/c)

Y. Wu and K. He, "Group normalization", ECCV 2018. J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer
normalization", arXiv:1607.06450. B. Zhang and R. Sennrich, "Root mean square layer normalization", NeurIPS
2019.
"""

from __future__ import annotations

from typing import Any

from handgrad.kernels.reference.namespace import accumulator, array_namespace
from handgrad.typing import Array

__all__ = ["group_norm", "group_norm_backward", "rms_norm", "rms_norm_backward"]


def group_norm(
    x: Array, gamma: Array | None, beta: Array | None, groups: int, epsilon: float
) -> tuple[Array, Array, Array]:
    """Return ``y = gamma*xhat + beta``, and the mean and s of every group, in float64.

    Parameters
    ----------
    x : (n, m, c)
        Samples, places, channels.
    gamma, beta : (c,) or None
        Scale and shift; 1 and 0 where None.
    groups : int
        Into how many groups the channels are divided, in order.
    epsilon : float
        Added to the variance.

    Returns
    -------
    y : (n, m, c)
    mean, s : (n, groups)
        Mean and ``1/sqrt(var + epsilon)``, var the (biased) variance.
    """
    xp = array_namespace(x)
    x_g = _grouped(x, groups)
    count = x_g.shape[1] * x_g.shape[3]
    mean = xp.sum(x_g, axis=(1, 3), keepdims=True) / count
    centred = x_g - mean
    var = xp.sum(centred * centred, axis=(1, 3), keepdims=True) / count
    s = 1 / xp.sqrt(var + epsilon)
    y = _scaled(xp.reshape(centred * s, x.shape), gamma)
    y = y if beta is None else y + beta
    return _narrow(y, x, gamma, beta), mean[:, 0, :, 0], s[:, 0, :, 0]


def group_norm_backward(
    dy: Array, x: Array, mean: Array, s: Array, gamma: Array | None
) -> tuple[Array, Array, Array]:
    """Return dx, dgamma and dbeta.

    ``dx = s*(h - (sum(h) + xhat*sum(h*xhat))/N)`` with ``h = gamma*dy``, sums over the N numbers of a group

    Parameters
    ----------
    dy, x : (n, m, c)
        Upstream gradient and input.
    mean, s : (n, groups)
        As `group_norm` returned them.
    gamma : (c,) or None
        As in `group_norm`.

    Returns
    -------
    dx : (n, m, c)
    dgamma, dbeta : (c,)
    """
    xp, groups = array_namespace(dy, x), s.shape[1]
    x_g, s = _grouped(x, groups), s[:, None, :, None]
    xhat = (x_g - mean[:, None, :, None]) * s
    dy_g = _grouped(dy, groups)
    h = dy_g if gamma is None else dy_g * xp.reshape(gamma, x_g.shape[2:])
    count = x_g.shape[1] * x_g.shape[3]
    sum_h = xp.sum(h, axis=(1, 3), keepdims=True)
    sum_h_xhat = xp.sum(h * xhat, axis=(1, 3), keepdims=True)
    dx = xp.reshape(s * (h - (sum_h + xhat * sum_h_xhat) / count), x.shape)
    dgamma = xp.reshape(xp.sum(dy_g * xhat, axis=(0, 1)), (-1,))
    dbeta = xp.reshape(xp.sum(dy_g, axis=(0, 1)), (-1,))
    return _narrow(dx, dy, x, gamma), _narrow(dgamma, dy, x), _narrow(dbeta, dy)


def rms_norm(x: Array, gamma: Array | None, epsilon: float) -> tuple[Array, Array]:
    """Return ``y = gamma*s*x``, and s of every row, in float64.

    Parameters
    ----------
    x : (n, c)
        Rows.
    gamma : (c,) or None
        Scale; 1 where None.
    epsilon : float
        Added to the mean of the squares.

    Returns
    -------
    y : (n, c)
    s : (n,)
        ``1/sqrt(sum(x^2)/c + epsilon)``
    """
    xp = array_namespace(x)
    wide = xp.astype(x, accumulator(x))
    s = 1 / xp.sqrt(xp.sum(wide * wide, axis=1) / x.shape[1] + epsilon)
    return _narrow(_scaled(wide * s[:, None], gamma), x, gamma), s


def rms_norm_backward(dy: Array, x: Array, s: Array, gamma: Array | None) -> tuple[Array, Array]:
    """Return dx and dgamma.

    ``dx = s*(h - xhat*sum(h*xhat)/c)`` with ``h = gamma*dy``

    Parameters
    ----------
    dy, x : (n, c)
        Upstream gradient and input.
    s : (n,)
        As `rms_norm` returned it.
    gamma : (c,) or None
        As in `rms_norm`.

    Returns
    -------
    dx : (n, c)
    dgamma : (c,)
    """
    xp, s = array_namespace(dy, x), s[:, None]
    xhat = xp.astype(x, accumulator(x)) * s
    h = _scaled(xp.astype(dy, accumulator(dy)), gamma)
    dx = s * (h - xhat * xp.sum(h * xhat, axis=1, keepdims=True) / x.shape[1])
    dgamma = xp.sum(dy * xhat, axis=0)
    return _narrow(dx, dy, x, gamma), _narrow(dgamma, dy, x)


def _grouped(x: Array, groups: int) -> Array:
    """(n, m, c) -> (n, m, g, c/g), in float64."""
    xp, (n, m, c) = array_namespace(x), x.shape
    return xp.reshape(xp.astype(x, accumulator(x)), (n, m, groups, c // groups))


def _scaled(x: Array, gamma: Array | None) -> Array:
    return x if gamma is None else gamma * x


def _narrow(a: Array, *of: Any) -> Array:
    """Return `a` in the dtype of those it was computed from: gamma may carry a complex step."""
    xp = array_namespace(a)
    return xp.astype(a, xp.result_type(*(b for b in of if b is not None)))
