"""The fully connected layer."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.initializers import Initializer
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Init, Parameter
from handgrad.typing import Array, Shape, is_integer


class DenseSaved(NamedTuple):
    """What the backward of a dense layer needs."""

    x: Array


@dataclass(eq=False)
class Dense(Layer):
    r"""Fully connected layer.

    Parameters
    ----------
    units : int
        Number of outputs.
    use_bias : bool, default True
        Whether a bias is added.
    kernel_initializer, bias_initializer : str or Initializer
        Initial values: ``"glorot_uniform"``, ``"zeros"``.

    Attributes
    ----------
    weight : Parameter, (c, units)
    bias : Parameter, (units,)
        Absent without `use_bias`.

    Notes
    -----
    Input (n, ..., c), output (n, ..., units): every row of c numbers is treated alike.

    .. math:: y_{nk} = \sum_c x_{nc}\, w_{ck} + b_k \qquad\text{or}\qquad Y = XW + b

    **Backward.** Each variable collects :math:`\dot y` from where it is used, times what it is multiplied
    with:

    .. math::
        \dot b_k = \sum_n \dot y_{nk}, \qquad
        \dot W = X^{\mathsf T} \dot Y, \qquad
        \dot X = \dot Y W^{\mathsf T}

    The code is `handgrad.kernels.reference.dense`.

    Examples
    --------
    >>> import handgrad as hg
    >>> hg.layers.Dense(10).build((256,))
    (10,)
    """

    units: int
    _: KW_ONLY
    use_bias: bool = True
    kernel_initializer: str | Initializer = "glorot_uniform"
    bias_initializer: str | Initializer = "zeros"

    weight: Parameter = owned()
    bias: Parameter | None = owned()

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` with `units` in the last place."""
        if not is_integer(self.units) or self.units < 1:
            raise ArgumentError(f"{self.where} units", expected="an int, at least 1", got=repr(self.units))
        if not shape:
            raise ShapeError(self.where, expected="inputs with at least one axis", got="single numbers")
        if self.built and shape[-1] != self.weight.shape[0]:
            do = "put a Flatten before it" if math.prod(shape) == self.weight.shape[0] else ""
            expected = f"{self.weight.shape[0]} input features"
            raise ShapeError(self.where, expected=expected, got=f"{shape[-1]} (shape {shape})", do=do)
        return *shape[:-1], self.units

    def create(self, shape: Shape, init: Init) -> None:
        """Create the weight, and the bias."""
        fans = shape[-1], self.units
        self.weight = init.parameter("weight", fans, self.kernel_initializer, fans=fans)
        if self.use_bias:
            self.bias = init.parameter("bias", (self.units,), self.bias_initializer, fans=fans, decay=False)

    def forward(self, x: Array, run: Run) -> tuple[Array, DenseSaved]:
        """Return ``y = x @ w + b``."""
        self.check_input(x)
        b = self.bias.value if self.bias is not None else None
        y = run.kernels.dense(_rows(x), self.weight.value, b)
        return y.reshape(*x.shape[:-1], self.units), DenseSaved(x)

    def backward(self, dy: Array, saved: DenseSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dw and db; return dx."""
        x = saved.x
        self.check_gradient(dy, (*x.shape[:-1], self.units), x.dtype)
        rows = _rows(dy)
        if self.trainable:
            self.weight.accumulate(run.kernels.dense_backward_weight(rows, _rows(x)))
            if self.bias is not None:
                self.bias.accumulate(run.kernels.bias_backward(rows))
        if not need_dx:
            return None
        dx: Array = run.kernels.dense_backward_input(rows, self.weight.value).reshape(x.shape)
        return dx

    def multiply_adds(self, shape: Shape) -> int:
        """Return ``c*units`` for every row."""
        return math.prod(shape) * self.units


def _rows(x: Array) -> Array:
    """(n, ..., c) -> (rows, c)."""
    return x.reshape(math.prod(x.shape[:-1]), x.shape[-1])
