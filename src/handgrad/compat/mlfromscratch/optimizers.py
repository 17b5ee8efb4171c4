"""The optimizers: settings under the names of ML-From-Scratch, rules of `handgrad.optim`.

One such object may be given to several networks: each makes a rule of its own from it, with its own state.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handgrad import optim
from handgrad.layers import Parameter
from handgrad.typing import Array

__all__ = [
    "Adadelta",
    "Adagrad",
    "Adam",
    "NesterovAcceleratedGradient",
    "RMSprop",
    "StochasticGradientDescent",
]


@dataclass
class Optimizer:
    """What the optimizers share: a rule, made from the settings."""

    _updated: tuple[optim.Optimizer, Parameter] | None = field(
        default=None, init=False, repr=False, compare=False
    )

    def rule(self) -> optim.Optimizer:
        """Return a new rule with these settings and no state."""
        raise NotImplementedError

    def update(self, w: Any, grad_wrt_w: Any) -> Array:
        """Return an array moved by one step; the state for the next step of that array is kept here.

        Parameters
        ----------
        w, grad_wrt_w : arrays of one shape
            The array, which is left as it is, and its gradient.
        """
        if self._updated is None:
            self._updated = self.rule(), Parameter(np.zeros(np.shape(w)), name="w")
        rule, parameter = self._updated
        parameter.assign(np.asarray(w))
        parameter.zero_grad()
        parameter.accumulate(np.asarray(grad_wrt_w))
        rule.step({"w": parameter})
        return parameter.value.copy()


@dataclass
class StochasticGradientDescent(Optimizer):
    r"""Gradient descent whose momentum is a running average of the gradients.

    Parameters
    ----------
    learning_rate : float, default 0.01
        The learning rate.
    momentum : float, default 0
        How much of the average is kept, in [0, 1).

    Notes
    -----
    From :math:`v_0 = 0`,

    .. math:: v_t = \mu\,v_{t-1} + (1 - \mu)\,g_t, \qquad w_t = w_{t-1} - \mathrm{lr}\,v_t

    With :math:`v = (1 - \mu)\,b` this is the heavy ball :math:`b_t = \mu\,b_{t-1} + g_t` at the learning rate
    :math:`(1 - \mu)\,\mathrm{lr}`, which is how it is computed.

    The gradients are those of means. A learning rate that was chosen for a sum over the batch is to be
    multiplied by the number of samples in it (with `SquareLoss`: by the number of outputs).
    """

    learning_rate: float = 0.01
    momentum: float = 0

    def rule(self) -> optim.Optimizer:
        """Return the heavy ball."""
        return optim.SGD((1 - self.momentum) * self.learning_rate, momentum=self.momentum)


@dataclass
class NesterovAcceleratedGradient(Optimizer):
    """Nesterov's momentum: `handgrad.optim.SGD` with ``nesterov=True``.

    Parameters
    ----------
    learning_rate : float, default 0.001
        The learning rate.
    momentum : float, default 0.4
        How much of the velocity is kept, in [0, 1).

    Notes
    -----
    The rule takes the gradient at the point ahead, in variables shifted there, so that it needs no function
    for a second gradient. Gradients are not clipped.
    """

    learning_rate: float = 0.001
    momentum: float = 0.4

    def rule(self) -> optim.Optimizer:
        """Return the rule."""
        return optim.SGD(self.learning_rate, momentum=self.momentum, nesterov=self.momentum > 0)


@dataclass
class Adagrad(Optimizer):
    """`handgrad.optim.Adagrad`, with an epsilon of 1e-8.

    Parameters
    ----------
    learning_rate : float, default 0.01
        The learning rate.
    """

    learning_rate: float = 0.01

    def rule(self) -> optim.Optimizer:
        """Return the rule."""
        return optim.Adagrad(self.learning_rate, epsilon=1e-8)


@dataclass
class Adadelta(Optimizer):
    """`handgrad.optim.Adadelta`.

    Parameters
    ----------
    rho : float, default 0.95
        How much of the running means is kept, in [0, 1).
    eps : float, default 1e-6
        Keeps the denominator from 0, and starts the first steps.
    """

    rho: float = 0.95
    eps: float = 1e-6

    def rule(self) -> optim.Optimizer:
        """Return the rule."""
        return optim.Adadelta(rho=self.rho, epsilon=self.eps)


@dataclass
class RMSprop(Optimizer):
    """`handgrad.optim.RMSprop`, with an epsilon of 1e-8.

    Parameters
    ----------
    learning_rate : float, default 0.01
        The learning rate.
    rho : float, default 0.9
        How much of the mean of squares is kept, in [0, 1).
    """

    learning_rate: float = 0.01
    rho: float = 0.9

    def rule(self) -> optim.Optimizer:
        """Return the rule."""
        return optim.RMSprop(self.learning_rate, rho=self.rho, epsilon=1e-8)


@dataclass
class Adam(Optimizer):
    """`handgrad.optim.Adam`: both means corrected by the number of steps.

    Parameters
    ----------
    learning_rate : float, default 0.001
        The learning rate.
    b1, b2 : float, default 0.9, 0.999
        How much of the means of gradients and of their squares is kept, in [0, 1).
    """

    learning_rate: float = 0.001
    b1: float = 0.9
    b2: float = 0.999

    def rule(self) -> optim.Optimizer:
        """Return the rule."""
        return optim.Adam(self.learning_rate, beta_1=self.b1, beta_2=self.b2)
