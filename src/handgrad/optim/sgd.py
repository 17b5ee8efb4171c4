"""Gradient descent with momentum."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError
from handgrad.kernels import Kernels
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class SGD(Optimizer):
    r"""Stochastic gradient descent, with heavy-ball or Nesterov's momentum.

    Parameters
    ----------
    lr : float or Schedule, default 0.01
        The learning rate.
    momentum : float, default 0.0
        How much of the velocity is kept, in [0, 1).
    nesterov : bool, default False
        Whether the step looks ahead along the velocity; asks for momentum, without dampening.
    dampening : float, default 0.0
        The share of each gradient that is kept out of the velocity.
    weight_decay, groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    With the gradient g (weight decay included), momentum :math:`\mu`, dampening :math:`\tau` and the
    velocity b,

    .. math::

        b_1 &= g_1,\qquad b_t = \mu\,b_{t-1} + (1 - \tau)\,g_t \\
        p_t &= p_{t-1} - \mathrm{lr}\; b_t \quad\text{or, Nesterov,}\quad
        p_t = p_{t-1} - \mathrm{lr}\,(g_t + \mu\,b_t).

    Under a constant gradient the step grows to :math:`\mathrm{lr}\,g/(1 - \mu)`: momentum adds up
    gradients, it does not average them. ``dampening=momentum`` averages. Nesterov's gradient is that at the
    point ahead; shifting the variables there gives the form above, which needs no second gradient (I.
    Sutskever et al., "On the importance of initialization and momentum in deep learning", ICML 2013; the
    form is that of ``torch.optim.SGD``).

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.layers.parameter import Parameter
    >>> p = Parameter(np.array([1.0]))
    >>> p.accumulate(np.array([2.0]))
    >>> optimizer = SGD(0.1, momentum=0.5)
    >>> for _ in range(2):
    ...     optimizer.step({"p": p})
    ...     print(p.value)
    [0.8]
    [0.5]
    """

    lr: float | Schedule = 0.01
    momentum: float = 0.0
    _: KW_ONLY
    nesterov: bool = False
    dampening: float = 0.0

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "momentum", self.momentum, below=1.0)
        check_number(self.where, "dampening", self.dampening)
        if self.nesterov and (self.momentum == 0 or self.dampening != 0):
            raise ArgumentError(
                self.where,
                expected="momentum greater than 0 and dampening 0 with nesterov=True",
                got=f"momentum={self.momentum!r}, dampening={self.dampening!r}",
            )

    def slots(self) -> dict[str, float]:
        """Return the velocity's first value, where there is momentum."""
        return {"velocity": 0.0} if self.momentum else {}

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
        kernels.sgd(
            p,
            g,
            slots.get("velocity"),
            lr=lr,
            t=t,
            momentum=float(self.momentum),
            dampening=float(self.dampening),
            nesterov=bool(self.nesterov),
            weight_decay=weight_decay,
        )
