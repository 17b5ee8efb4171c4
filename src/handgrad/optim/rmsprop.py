"""RMSprop."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from handgrad.arguments import check_number
from handgrad.kernels import Kernels
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class RMSprop(Optimizer):
    r"""Steps scaled by recent gradients.

    Parameters
    ----------
    lr : float or Schedule, default 0.01
        The learning rate.
    rho : float, default 0.99
        How much of the running means is kept, in [0, 1); PyTorch calls it alpha.
    momentum : float, default 0.0
        How much of the velocity is kept, in [0, 1).
    centered : bool, default False
        Whether gradients are scaled by their variance instead of their mean square.
    epsilon : float, default 1e-8
        Keeps the denominator from 0.
    weight_decay, groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    .. math::

        v_t &= \rho\,v_{t-1} + (1 - \rho)\,g_t^2,\qquad
        m_t = \rho\,m_{t-1} + (1 - \rho)\,g_t \quad\text{(0 unless centered)} \\
        d_t &= \frac{g_t}{\sqrt{v_t - m_t^2} + \epsilon},\qquad
        b_t = \mu\,b_{t-1} + d_t,\qquad p_t = p_{t-1} - \mathrm{lr}\;b_t.

    A finite gradient above :math:`2^{63}`, whose square float32 does not hold, counts as :math:`2^{63}`.

    T. Tieleman and G. Hinton, "Lecture 6.5: rmsprop", 2012; centered after A. Graves, "Generating sequences
    with recurrent neural networks", 2013. Defaults and the place of epsilon are those of
    ``torch.optim.RMSprop``; Keras has rho=0.9, a learning rate of 0.001, and epsilon under the root.
    """

    lr: float | Schedule = 0.01
    _: KW_ONLY
    rho: float = 0.99
    momentum: float = 0.0
    centered: bool = False
    epsilon: float = 1e-8

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "rho", self.rho, below=1.0)
        check_number(self.where, "momentum", self.momentum, below=1.0)
        check_number(self.where, "epsilon", self.epsilon)

    def slots(self) -> dict[str, float]:
        """Return the first values of the running means v and m and of the velocity, where there are these."""
        slots = {"v": 0.0}
        if self.centered:
            slots["m"] = 0.0
        if self.momentum:
            slots["velocity"] = 0.0
        return slots

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
        kernels.rmsprop(
            p,
            g,
            slots["v"],
            slots.get("m"),
            slots.get("velocity"),
            lr=lr,
            rho=float(self.rho),
            epsilon=float(self.epsilon),
            momentum=float(self.momentum),
            weight_decay=weight_decay,
        )
