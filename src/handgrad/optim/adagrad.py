"""Adagrad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from handgrad.arguments import check_number
from handgrad.kernels import Kernels
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class Adagrad(Optimizer):
    r"""Steps scaled by all gradients so far.

    Parameters
    ----------
    lr : float or Schedule, default 0.01
        The learning rate.
    initial_accumulator_value : float, default 0.0
        The sum of squares before the first step.
    epsilon : float, default 1e-10
        Keeps the denominator from 0.
    weight_decay, groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    .. math::

        s_t = s_{t-1} + g_t^2,\qquad p_t = p_{t-1} - \mathrm{lr}\,\frac{g_t}{\sqrt{s_t} + \epsilon}.

    A finite gradient above :math:`2^{63}`, whose square float32 does not hold, counts as :math:`2^{63}`.

    J. Duchi, E. Hazan and Y. Singer, "Adaptive subgradient methods for online learning and stochastic
    optimization", JMLR 12, 2011. Defaults are those of ``torch.optim.Adagrad``.
    """

    lr: float | Schedule = 0.01
    _: KW_ONLY
    initial_accumulator_value: float = 0.0
    epsilon: float = 1e-10

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "initial_accumulator_value", self.initial_accumulator_value)
        check_number(self.where, "epsilon", self.epsilon)

    def slots(self) -> dict[str, float]:
        """Return the first value of the sum of squares."""
        return {"sum": float(self.initial_accumulator_value)}

    def update(
        self,
        p: Array,
        g: Array,
        slots: Mapping[str, Array],
        *,
        lr: float,
        weight_decay: float,
        t: int,
        kernels: Kernels,
    ) -> None:
        """Move a vector of parameters; see `Optimizer.update`."""
        kernels.adagrad(p, g, slots["sum"], lr=lr, epsilon=float(self.epsilon), weight_decay=weight_decay)
