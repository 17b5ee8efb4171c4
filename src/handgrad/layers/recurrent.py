"""The simple recurrent layer."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

import numpy as np

from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.initializers import Initializer
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Init, Parameter
from handgrad.typing import Array, Shape, is_integer

ACTIVATIONS = ("tanh", "relu", "sigmoid")


class SimpleRNNSaved(NamedTuple):
    """What the backward of a recurrent layer needs: the inputs and all states."""

    x: Array
    h: Array


@dataclass(eq=False)
class SimpleRNN(Layer):
    r"""Fully connected recurrent network.

    Parameters
    ----------
    units : int
        Size of the state.
    activation : "tanh", "relu" or "sigmoid", default "tanh"
        What is applied to each state.
    return_sequences : bool, default False
        Whether the output is every state (n, t, units) or the last one (n, units).
    truncate : int, optional
        How many steps a gradient goes back in time; all by default. A gradient truncated is no longer the
        gradient of the loss, but cheaper to learn long sequences by.
    use_bias : bool, default True
        Whether a bias is added.
    kernel_initializer, recurrent_initializer, bias_initializer : str or Initializer
        Initial values: ``"glorot_uniform"``, ``"orthogonal"``, ``"zeros"``.

    Attributes
    ----------
    weight : Parameter, (c, units)
    recurrent_weight : Parameter, (units, units)
    bias : Parameter, (units,)
        Absent without `use_bias`.

    Notes
    -----
    Input (n, t, c). From :math:`h_0 = 0`,

    .. math:: a_t = x_t W + h_{t-1} U + b, \qquad h_t = f(a_t)

    **Backward.** :math:`h_t` is used by the output at t and by the next step, so the gradient of :math:`a_t`
    is

    .. math:: D_t = f'(a_t) \odot \bigl(\dot h_t + D_{t+1} U^{\mathsf T}\bigr)

    and every use of x, W, U and b collects it:

    .. math::
        \dot x_t = D_t W^{\mathsf T}, \qquad
        \dot W = \sum_t x_t^{\mathsf T} D_t, \qquad
        \dot U = \sum_t h_{t-1}^{\mathsf T} D_t, \qquad
        \dot b = \sum_t D_t

    The code is `handgrad.kernels.reference.recurrent`.

    References
    ----------
    .. [1] P. J. Werbos, "Backpropagation through time: what it does and how to do it", Proc. IEEE 78 (1990).
    """

    units: int
    activation: str = "tanh"
    _: KW_ONLY
    return_sequences: bool = False
    truncate: int | None = None
    use_bias: bool = True
    kernel_initializer: str | Initializer = "glorot_uniform"
    recurrent_initializer: str | Initializer = "orthogonal"
    bias_initializer: str | Initializer = "zeros"

    weight: Parameter = owned()
    recurrent_weight: Parameter = owned()
    bias: Parameter | None = owned()

    def output_shape(self, shape: Shape) -> Shape:
        """Return (t, units) or (units,) for sequences of `shape` (t, c)."""
        self._check_arguments()
        if len(shape) != 2 or shape[0] < 1:
            raise ShapeError(
                self.where, expected="sequences (steps, channels), at least one step", got=f"shape {shape}"
            )
        if self.built and shape[1] != self.weight.shape[0]:
            raise ShapeError(self.where, expected=f"{self.weight.shape[0]} input channels", got=str(shape[1]))
        return (shape[0], self.units) if self.return_sequences else (self.units,)

    def create(self, shape: Shape, init: Init) -> None:
        """Create W, U and b."""
        c, k = shape[1], self.units
        self.weight = init.parameter("weight", (c, k), self.kernel_initializer, fans=(c, k))
        self.recurrent_weight = init.parameter(
            "recurrent_weight", (k, k), self.recurrent_initializer, fans=(k, k)
        )
        if self.use_bias:
            self.bias = init.parameter("bias", (k,), self.bias_initializer, fans=(c, k), decay=False)

    def forward(self, x: Array, run: Run) -> tuple[Array, SimpleRNNSaved]:
        """Return every state or the last one."""
        self.check_input(x)
        b = self.bias.value if self.bias is not None else None
        h = run.kernels.simple_rnn(x, self.weight.value, self.recurrent_weight.value, b, self.activation)
        return h if self.return_sequences else h[:, -1, :].copy(), SimpleRNNSaved(x, h)

    def backward(self, dy: Array, saved: SimpleRNNSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dW, dU and db; return dx."""
        x, h = saved
        self.check_gradient(dy, h.shape if self.return_sequences else (len(h), self.units), h.dtype)
        if self.return_sequences:
            dh = dy
        else:
            dh = np.zeros_like(h)
            dh[:, -1, :] = dy
        W, U = self.weight.value, self.recurrent_weight.value
        dx, dW, dU, db = run.kernels.simple_rnn_backward(dh, x, h, W, U, self.activation, self.truncate)
        if self.trainable:
            self.weight.accumulate(dW)
            self.recurrent_weight.accumulate(dU)
            if self.bias is not None:
                self.bias.accumulate(db)
        return dx if need_dx else None

    def multiply_adds(self, shape: Shape) -> int:
        """Return ``t*(c + units)*units``."""
        steps, c = shape
        return steps * (c + self.units) * self.units

    def _check_arguments(self) -> None:
        if not is_integer(self.units) or self.units < 1:
            raise ArgumentError(f"{self.where} units", expected="an int, at least 1", got=repr(self.units))
        if not isinstance(self.activation, str) or self.activation not in ACTIVATIONS:
            names = ", ".join(ACTIVATIONS)
            raise ArgumentError(
                f"{self.where} activation", expected=f"one of {names}", got=repr(self.activation)
            )
        if self.truncate is not None and (not is_integer(self.truncate) or self.truncate < 0):
            raise ArgumentError(
                f"{self.where} truncate",
                expected="a number of steps, at least 0, or None",
                got=repr(self.truncate),
            )
