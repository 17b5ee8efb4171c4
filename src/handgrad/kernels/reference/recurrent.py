r"""The simple recurrent network, and backpropagation through time.

Forward, from h_0 = 0::

    a_t = x_t @ W + h_{t-1} @ U + b        h_t = f(a_t)

Backward. h_t is used twice: by the output at t and by the next step. With D_t the whole gradient of a_t::

    D_t  = f'(a_t) * (dh_t + D_{t+1} @ U^T)
    dx_t = D_t @ W^T      dW = sum_t x_t^T @ D_t      dU = sum_t h_{t-1}^T @ D_t      db = sum_t D_t

Truncated to K steps, the gradient of an output at t goes back to a_{t-K} and no further. What arrives at a
step is then kept apart by the number of steps it has come, one slice of a stack for each, and the oldest
falls off.

P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proc. IEEE 78 (1990).
"""

from __future__ import annotations

from collections.abc import Callable

from handgrad.kernels.reference import activation
from handgrad.kernels.reference.dense import bias_backward
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.typing import Array

__all__ = ["simple_rnn", "simple_rnn_backward"]

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": activation.tanh,
    "relu": activation.relu,
    "sigmoid": activation.sigmoid,
}
_DERIVATIVES: dict[str, Callable[[Array, Array], Array]] = {
    "tanh": activation.tanh_backward,
    "relu": activation.relu_backward,
    "sigmoid": activation.sigmoid_backward,
}


def simple_rnn(x: Array, W: Array, U: Array, b: Array | None, f: str) -> Array:
    """Return all states ``h_t = f(x_t @ W + h_{t-1} @ U + b)``.

    Parameters
    ----------
    x : (n, t, c)
        Sequences.
    W, U, b : (c, k), (k, k), (k,) or None
        Input weights, recurrent weights, bias.
    f : "tanh", "relu" or "sigmoid"
        The activation.

    Returns
    -------
    (n, t, k)
    """
    xp = array_namespace(x, W)
    n, steps, _ = x.shape
    k = W.shape[1]
    a = xp.matmul(x, W)
    a = a if b is None else a + b
    h = xp.zeros((n, k), dtype=a.dtype)
    states = []
    for t in range(steps):
        h = _FUNCTIONS[f](a[:, t, :] + xp.matmul(h, U))
        states.append(h)
    return xp.stack(states, axis=1)


def simple_rnn_backward(
    dh: Array, x: Array, h: Array, W: Array, U: Array, f: str, truncate: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """Return dx, dW, dU and db.

    Parameters
    ----------
    dh, h : (n, t, k)
        Upstream gradient of every state, and the states.
    x, W, U, f
        As in the forward.
    truncate : int or None
        How many steps a gradient goes back; None for all.
    """
    xp = array_namespace(dh, x)
    n, steps, k = h.shape
    if truncate is None or truncate >= steps - 1:
        D = _back(dh, h, U, f)
    else:
        D = _back_truncated(dh, h, U, f, truncate)
    before = xp.concat([xp.zeros((n, 1, k), dtype=h.dtype), h[:, :-1, :]], axis=1)
    dx = xp.matmul(D, xp.matrix_transpose(W))
    dW = xp.sum(xp.matmul(xp.matrix_transpose(x), D), axis=0)
    dU = xp.sum(xp.matmul(xp.matrix_transpose(before), D), axis=0)
    return dx, dW, dU, bias_backward(D)


def _back(dh: Array, h: Array, U: Array, f: str) -> Array:
    """Return all D_t, as (n, t, k): ``D_t = f'(a_t) * (dh_t + D_{t+1} @ U^T)``."""
    xp = array_namespace(dh)
    n, steps, k = h.shape
    D_t = xp.zeros((n, k), dtype=dh.dtype)
    D = []
    for t in range(steps - 1, -1, -1):
        D_t = _DERIVATIVES[f](dh[:, t, :] + xp.matmul(D_t, xp.matrix_transpose(U)), h[:, t, :])
        D.append(D_t)
    return xp.flip(xp.stack(D, axis=1), axis=1)


def _back_truncated(dh: Array, h: Array, U: Array, f: str, K: int) -> Array:
    """Return all D_t where a gradient goes back K steps: what came back j of them is ``came[j]``."""
    xp = array_namespace(dh)
    n, steps, k = h.shape
    came = xp.zeros((K + 1, n, k), dtype=dh.dtype)
    D = []
    for t in range(steps - 1, -1, -1):
        came = xp.concat([dh[None, :, t, :], came[:-1, ...]])
        D_t = _DERIVATIVES[f](came, h[None, :, t, :])
        D.append(xp.sum(D_t, axis=0))
        came = xp.matmul(D_t, xp.matrix_transpose(U))
    return xp.flip(xp.stack(D, axis=1), axis=1)
