"""Activations: functions of each number alone, and softmax over the last axis.

Each backward is given what makes it shortest: the input x, or the output y where the derivative is a function
of y. Comparisons are of real parts, so that complex-step derivatives pass; NaN fails every comparison and is
let through.
"""

from __future__ import annotations

import math

from handgrad.kernels.reference.namespace import accumulator, array_namespace, real
from handgrad.kernels.reference.special import bounded, erfc
from handgrad.typing import Array

__all__ = [
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "relu",
    "relu_backward",
    "selu",
    "selu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]

# The fixed point of Klambauer et al., "Self-normalizing neural networks", NeurIPS 2017, eq. 14:
SELU_ALPHA = 1.6732632423543772848170429916717
SELU_SCALE = 1.0507009873554804934193349852946

# From here on Phi and sigmoid are 0 or 1, and their derivatives 0, in float64, too: x is cut off where it is
# multiplied by one of them, for infinity times 0 would be NaN where x*Phi(x) goes to 0.
_END, _SIGMOID_END = 40.0, 800.0


def relu(x: Array) -> Array:
    """Return ``y = x if x > 0 else 0``; NaN stays NaN."""
    return array_namespace(x).where(real(x) <= 0, _zero(x), x)


def relu_backward(dy: Array, y: Array) -> Array:
    """Return ``dx = dy if y > 0 else 0``, from the output; 0 at 0."""
    return array_namespace(dy, y).where(real(y) <= 0, _zero(dy), dy)


def leaky_relu(x: Array, slope: float) -> Array:
    """Return ``y = x if x > 0 else slope*x``."""
    return array_namespace(x).where(real(x) > 0, x, slope * x)


def leaky_relu_backward(dy: Array, x: Array, slope: float) -> Array:
    """Return ``dx = dy if x > 0 else slope*dy``."""
    return array_namespace(dy, x).where(real(x) > 0, dy, slope * dy)


def elu(x: Array, alpha: float) -> Array:
    """Return ``y = x if x > 0 else alpha*(exp(x) - 1)``."""
    xp = array_namespace(x)
    return xp.where(real(x) > 0, x, alpha * xp.expm1(_at_most_zero(x)))


def elu_backward(dy: Array, x: Array, alpha: float) -> Array:
    """Return ``dx = dy if x > 0 else dy*alpha*exp(x)``."""
    xp = array_namespace(dy, x)
    return xp.where(real(x) > 0, dy, dy * (alpha * xp.exp(_at_most_zero(x))))


def selu(x: Array) -> Array:
    """Return ``y = scale*elu(x, alpha)`` with the two constants of the paper."""
    return SELU_SCALE * elu(x, SELU_ALPHA)


def selu_backward(dy: Array, x: Array) -> Array:
    """Return ``dx = scale*elu'(x, alpha)*dy``."""
    return SELU_SCALE * elu_backward(dy, x, SELU_ALPHA)


def softplus(x: Array) -> Array:
    """Return ``y = log(1 + exp(x)) = max(x, 0) + log1p(exp(-|x|))``, which never overflows."""
    xp = array_namespace(x)
    return xp.where(real(x) > 0, x, _zero(x)) + xp.log1p(xp.exp(-_magnitude(x)))


def softplus_backward(dy: Array, x: Array) -> Array:
    """Return ``dx = dy*sigmoid(x)``."""
    return dy * sigmoid(x)


def sigmoid(x: Array) -> Array:
    """Return ``y = 1/(1 + exp(-x))``, as ``exp(x)/(1 + exp(x))`` where x < 0: no exponential overflows."""
    xp = array_namespace(x)
    e = xp.exp(-_magnitude(x))
    return xp.where(real(x) < 0, e, _one(x)) / (1 + e)


def sigmoid_backward(dy: Array, y: Array) -> Array:
    """Return ``dx = dy*y*(1 - y)``, from the output."""
    return dy * y * (1 - y)


def tanh(x: Array) -> Array:
    """Return ``y = tanh(x)``."""
    return array_namespace(x).tanh(x)


def tanh_backward(dy: Array, y: Array) -> Array:
    """Return ``dx = dy*(1 - y^2)``, from the output."""
    return dy * (1 - y * y)


def gelu(x: Array, *, approximate: bool = False) -> Array:
    """Return ``y = x*Phi(x)``, Phi the normal distribution function, ``erfc(-x/sqrt(2))/2``.

    The approximation is ``x*(1 + tanh(u))/2`` with ``u = sqrt(2/pi)*(x + 0.044715*x^3)``.
    """
    z = _at_least(x, -_END)
    if approximate:
        return 0.5 * z * (1 + array_namespace(x).tanh(_gelu_u(x)))
    return 0.5 * z * erfc(-x / math.sqrt(2))


def gelu_backward(dy: Array, x: Array, *, approximate: bool = False) -> Array:
    """Return ``dx = dy*(Phi(x) + x*phi(x))`` with the density ``phi(x) = exp(-x^2/2)/sqrt(2*pi)``.

    Of the approximation: ``dx = dy*((1 + t)/2 + x*(1 - t^2)/2*u')``, ``t = tanh(u)``.
    """
    xp, z = array_namespace(dy, x), bounded(x, _END)
    if approximate:
        t = xp.tanh(_gelu_u(x))
        du = math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * z * z)
        return dy * (0.5 * (1 + t) + 0.5 * z * (1 - t * t) * du)
    phi = xp.exp(-0.5 * z * z) / math.sqrt(2 * math.pi)
    return dy * (0.5 * erfc(-x / math.sqrt(2)) + z * phi)


def _gelu_u(x: Array) -> Array:
    z = bounded(x, _END)
    return math.sqrt(2 / math.pi) * (z + 0.044715 * z * z * z)


def silu(x: Array) -> Array:
    """Return ``y = x*sigmoid(x)``; 0 at -infinity."""
    return _at_least(x, -_SIGMOID_END) * sigmoid(x)


def silu_backward(dy: Array, x: Array) -> Array:
    """Return ``dx = dy*(s + x*s*(1 - s))`` with ``s = sigmoid(x)``."""
    s = sigmoid(x)
    return dy * (s + bounded(x, _SIGMOID_END) * s * (1 - s))


def softmax(x: Array) -> Array:
    """Return ``y_i = exp(x_i)/sum_j exp(x_j)`` over the last axis, shifted by the maximum for safety.

    Where one x of a row is infinite its y is 1 and the others are 0; where several are, all are NaN.
    """
    xp = array_namespace(x)
    e = xp.exp(below_maximum(x))
    return xp.astype(e / xp.sum(e, axis=-1, keepdims=True), x.dtype)


def below_maximum(x: Array) -> Array:
    """Return ``x - max(x)`` over the last axis, in float64: of one infinite x 0, of several NaN."""
    xp = array_namespace(x)
    wide = xp.astype(x, accumulator(x))
    top = xp.max(real(x), axis=-1, keepdims=True)
    infinite = xp.isinf(top) & (real(x) == top)
    alone = infinite & (top > 0) & (xp.sum(xp.astype(infinite, xp.int64), axis=-1, keepdims=True) == 1)
    at_infinity = xp.where(alone, _zero(wide), xp.asarray(math.nan, dtype=wide.dtype))
    return xp.where(infinite, at_infinity, xp.where(infinite, _zero(wide), wide) - top)


def softmax_backward(dy: Array, y: Array) -> Array:
    """Return ``dx_i = y_i*(dy_i - sum_j dy_j*y_j)``, from the output: the whole Jacobian, not its diagonal.

    ``dy_i/dx_j = y_i*([i == j] - y_j)``, so ``dx_j = sum_i dy_i*y_i*([i == j] - y_j)``.
    """
    xp = array_namespace(dy, y)
    wide, s = xp.astype(dy, accumulator(dy)), xp.astype(y, accumulator(y))
    dx = s * (wide - xp.sum(wide * s, axis=-1, keepdims=True))
    return xp.astype(dx, xp.result_type(dy, y))


def _zero(x: Array) -> Array:
    return array_namespace(x).asarray(0, dtype=x.dtype)


def _one(x: Array) -> Array:
    return array_namespace(x).asarray(1, dtype=x.dtype)


def _at_most_zero(x: Array) -> Array:
    """Return min(x, 0), so that the branch not taken cannot overflow."""
    return array_namespace(x).where(real(x) > 0, _zero(x), x)


def _at_least(x: Array, limit: float) -> Array:
    return array_namespace(x).where(real(x) < limit, array_namespace(x).asarray(limit, dtype=x.dtype), x)


def _magnitude(x: Array) -> Array:
    """Return |x| as x or -x, which complex-step derivatives pass through."""
    return array_namespace(x).where(real(x) < 0, -x, x)
