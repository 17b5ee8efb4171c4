"""Activations, compiled (csrc/activation.cc); contracts as in `handgrad.kernels.reference.activation`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import alike, bits, contiguous, empty
from handgrad.kernels.protocol import Kernel
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

covers = alike


def relu(cpu: Any, x: Array) -> Array:
    """Return ``y = x if x > 0 else 0``."""
    return _result(cpu.relu, x)


def relu_backward(cpu: Any, dy: Array, y: Array) -> Array:
    """Return ``dx = dy if y > 0 else 0``."""
    return _result(cpu.relu_backward, dy, y)


def leaky_relu(cpu: Any, x: Array, slope: float) -> Array:
    """Return ``y = x if x > 0 else slope*x``."""
    return _result(cpu.leaky_relu, x, slope)


def leaky_relu_backward(cpu: Any, dy: Array, x: Array, slope: float) -> Array:
    """Return ``dx = dy if x > 0 else slope*dy``."""
    return _result(cpu.leaky_relu_backward, dy, x, slope)


def elu(cpu: Any, x: Array, alpha: float) -> Array:
    """Return ``y = x if x > 0 else alpha*(exp(x) - 1)``."""
    return _result(cpu.elu, x, alpha)


def elu_backward(cpu: Any, dy: Array, x: Array, alpha: float) -> Array:
    """Return ``dx = dy if x > 0 else dy*alpha*exp(x)``."""
    return _result(cpu.elu_backward, dy, x, alpha)


def selu(cpu: Any, x: Array) -> Array:
    """Return ``y = scale*elu(x, alpha)``."""
    return _result(cpu.selu, x)


def selu_backward(cpu: Any, dy: Array, x: Array) -> Array:
    """Return ``dx = scale*elu'(x, alpha)*dy``."""
    return _result(cpu.selu_backward, dy, x)


def softplus(cpu: Any, x: Array) -> Array:
    """Return ``y = log(1 + exp(x))``."""
    return _result(cpu.softplus, x)


def softplus_backward(cpu: Any, dy: Array, x: Array) -> Array:
    """Return ``dx = dy*sigmoid(x)``."""
    return _result(cpu.softplus_backward, dy, x)


def sigmoid(cpu: Any, x: Array) -> Array:
    """Return ``y = 1/(1 + exp(-x))``."""
    return _result(cpu.sigmoid, x)


def sigmoid_backward(cpu: Any, dy: Array, y: Array) -> Array:
    """Return ``dx = dy*y*(1 - y)``."""
    return _result(cpu.sigmoid_backward, dy, y)


def tanh(cpu: Any, x: Array) -> Array:
    """Return ``y = tanh(x)``."""
    return _result(cpu.tanh, x)


def tanh_backward(cpu: Any, dy: Array, y: Array) -> Array:
    """Return ``dx = dy*(1 - y^2)``."""
    return _result(cpu.tanh_backward, dy, y)


def gelu(cpu: Any, x: Array, *, approximate: bool = False) -> Array:
    """Return ``y = x*Phi(x)``, or its approximation."""
    return _result(cpu.gelu_tanh if approximate else cpu.gelu, x)


def gelu_backward(cpu: Any, dy: Array, x: Array, *, approximate: bool = False) -> Array:
    """Return ``dx = dy*(Phi(x) + x*phi(x))``, or that of the approximation."""
    return _result(cpu.gelu_tanh_backward if approximate else cpu.gelu_backward, dy, x)


def silu(cpu: Any, x: Array) -> Array:
    """Return ``y = x*sigmoid(x)``."""
    return _result(cpu.silu, x)


def silu_backward(cpu: Any, dy: Array, x: Array) -> Array:
    """Return ``dx = dy*(s + x*s*(1 - s))``."""
    return _result(cpu.silu_backward, dy, x)


def softmax(cpu: Any, x: Array) -> Array:
    """Return ``y_i = exp(x_i)/sum_j exp(x_j)``."""
    return _result(cpu.softmax, x)


def softmax_backward(cpu: Any, dy: Array, y: Array) -> Array:
    """Return ``dx_i = y_i*(dy_i - sum_j dy_j*y_j)``."""
    return _result(cpu.softmax_backward, dy, y)


def _result(kernel: Kernel, x: Array, *others: Any) -> Array:
    y = empty(x.shape, x)
    kernel(contiguous(x), *(contiguous(a) if isinstance(a, np.ndarray) else a for a in others), bits(y))
    return y
