"""Adam, and AdamW, in which weight decay is apart from the gradient."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from handgrad.arguments import check_number
from handgrad.kernels import Kernels
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class Adam(Optimizer):
    r"""Steps of running means of the gradient over those of its square.

    Parameters
    ----------
    lr : float or Schedule, default 0.001
        The learning rate.
    beta_1 : float, default 0.9
        How much of the mean of gradients is kept, in [0, 1).
    beta_2 : float, default 0.999
        How much of the mean of squares is kept, in [0, 1).
    epsilon : float, default 1e-8
        Keeps the denominator from 0.
    weight_decay, groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    .. math::

        m_t &= \beta_1 m_{t-1} + (1 - \beta_1)\,g_t,\qquad v_t = \beta_2 v_{t-1} + (1 - \beta_2)\,g_t^2 \\
        p_t &= p_{t-1} - \mathrm{lr}\,\frac{m_t/(1 - \beta_1^t)}{\sqrt{v_t/(1 - \beta_2^t)} + \epsilon}.

    Both means start at 0. With a constant gradient g, :math:`m_t = (1 - \beta_1^t)\,g`, and likewise v:
    dividing by :math:`1 - \beta^t` undoes just that, so that under a constant gradient every step has the
    size lr.

    A finite gradient above :math:`2^{63}`, whose square float32 does not hold, counts as :math:`2^{63}`.

    D. P. Kingma and J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1. Defaults
    are those of ``torch.optim.Adam``; Keras has epsilon=1e-7.
    """

    decoupled: ClassVar[bool] = False

    lr: float | Schedule = 0.001
    _: KW_ONLY
    beta_1: float = 0.9
    beta_2: float = 0.999
    epsilon: float = 1e-8

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "beta_1", self.beta_1, below=1.0)
        check_number(self.where, "beta_2", self.beta_2, below=1.0)
        check_number(self.where, "epsilon", self.epsilon)

    def slots(self) -> dict[str, float]:
        """Return the first values of both running means: gradients m, squared gradients v."""
        return {"m": 0.0, "v": 0.0}

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
        kernels.adam(
            p,
            g,
            slots["m"],
            slots["v"],
            lr=lr,
            t=t,
            beta_1=float(self.beta_1),
            beta_2=float(self.beta_2),
            epsilon=float(self.epsilon),
            weight_decay=weight_decay,
            decoupled=self.decoupled,
        )


@dataclass(eq=False)
class AdamW(Adam):
    r"""Adam with weight decay apart from the gradient.

    Parameters
    ----------
    lr : float or Schedule, default 0.001
        The learning rate.
    weight_decay : float, default 0.01
        Each step takes the share ``lr*weight_decay`` of a parameter that decays.
    beta_1, beta_2, epsilon
        See `Adam`.
    groups, global_clipnorm
        See `Optimizer`.

    Notes
    -----
    :math:`p \leftarrow (1 - \mathrm{lr}\,\lambda)\,p` comes before Adam's step, whose gradient is that of
    the loss alone. In `Adam` a decay that is part of the gradient is divided by :math:`\sqrt{v}` with it,
    so parameters of large gradients decay least; here all decay alike.

    I. Loshchilov and F. Hutter, "Decoupled weight decay regularization", ICLR 2019, algorithm 2. Defaults
    are those of ``torch.optim.AdamW``.
    """

    decoupled: ClassVar[bool] = True

    _: KW_ONLY
    weight_decay: float = 0.01
