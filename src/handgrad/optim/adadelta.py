"""Adadelta."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from handgrad.arguments import check_number
from handgrad.kernels import Kernels
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class Adadelta(Optimizer):
    r"""Steps scaled by recent gradients and recent steps, which need no learning rate.

    Parameters
    ----------
    lr : float or Schedule, default 1.0
        Multiplies the steps.
    rho : float, default 0.9
        How much of the running means is kept, in [0, 1).
    epsilon : float, default 1e-6
        Keeps the denominator from 0, and starts the first steps.
    weight_decay, groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    .. math::

        v_t &= \rho\,v_{t-1} + (1 - \rho)\,g_t^2,\qquad
        d_t = \frac{\sqrt{u_{t-1} + \epsilon}}{\sqrt{v_t + \epsilon}}\,g_t \\
        u_t &= \rho\,u_{t-1} + (1 - \rho)\,d_t^2,\qquad
        p_t = p_{t-1} - \mathrm{lr}\;d_t.

    A finite gradient above :math:`2^{63}`, whose square float32 does not hold, counts as :math:`2^{63}`.

    M. D. Zeiler, "ADADELTA: an adaptive learning rate method", 2012, algorithm 1. Defaults are those of
    ``torch.optim.Adadelta``.
    """

    lr: float | Schedule = 1.0
    _: KW_ONLY
    rho: float = 0.9
    epsilon: float = 1e-6

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "rho", self.rho, below=1.0)
        check_number(self.where, "epsilon", self.epsilon, positive=True)

    def slots(self) -> dict[str, float]:
        """Return the first values of both running means: squared gradients v, squared steps u."""
        return {"v": 0.0, "u": 0.0}

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
        kernels.adadelta(
            p,
            g,
            slots["v"],
            slots["u"],
            lr=lr,
            rho=float(self.rho),
            epsilon=float(self.epsilon),
            weight_decay=weight_decay,
        )
