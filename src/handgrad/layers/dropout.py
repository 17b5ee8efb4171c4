"""Dropout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from handgrad.arguments import check_number
from handgrad.layers.layer import Layer, Run
from handgrad.typing import Array, DTypeLike, Shape


class DropoutSaved(NamedTuple):
    """What the backward of dropout needs: what was kept, a byte each; None where nothing was dropped."""

    mask: Array | None
    shape: Shape
    dtype: DTypeLike


@dataclass(eq=False)
class Dropout(Layer):
    r"""Sets numbers to zero at random, in training only.

    Parameters
    ----------
    rate : float, default 0.5
        The share that is dropped, 0 <= rate < 1.

    Notes
    -----
    With a mask that is 1 with probability :math:`1 - r` and else 0, drawn anew in every step,

    .. math:: y_i = \frac{x_i\,m_i}{1 - r}, \qquad \dot x_i = \frac{\dot y_i\,m_i}{1 - r}

    The mean of :math:`m_i/(1 - r)` is 1, so that inference is the identity. The mask comes from ``run.rng``:
    a model gives every node and every step a stream of its own, so that a repeated forward drops the same
    numbers.

    References
    ----------
    .. [1] N. Srivastava et al., "Dropout: a simple way to prevent neural networks from overfitting", JMLR 15
       (2014).
    """

    rate: float = 0.5

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        check_number(self.where, "rate", self.rate, below=1.0)
        return shape

    def forward(self, x: Array, run: Run) -> tuple[Array, DropoutSaved]:
        """Return ``y = x*mask/(1 - rate)`` in training, else x."""
        self.check_input(x)
        if not run.training or self.rate == 0:
            return x, DropoutSaved(None, x.shape, x.dtype)
        y, mask = run.kernels.dropout(x, float(self.rate), run.rng)
        return y, DropoutSaved(mask, x.shape, x.dtype)

    def backward(self, dy: Array, saved: DropoutSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return ``dx = dy*mask/(1 - rate)``, of the mask that forward drew."""
        self.check_gradient(dy, saved.shape, saved.dtype)
        if not need_dx or saved.mask is None:
            return dy if need_dx else None
        dx: Array = run.kernels.dropout_backward(dy, saved.mask, float(self.rate))
        return dx
