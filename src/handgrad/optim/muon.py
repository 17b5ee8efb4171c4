"""Momentum with orthogonal steps."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import KW_ONLY, dataclass
from typing import ClassVar

from handgrad.arguments import check_count, check_number
from handgrad.errors import ArgumentError
from handgrad.kernels import Kernels
from handgrad.layers.parameter import Parameter
from handgrad.optim.optimizer import Optimizer
from handgrad.optim.schedules import Schedule
from handgrad.typing import Array


@dataclass(eq=False)
class Muon(Optimizer):
    r"""Momentum whose steps are orthogonalized: every direction of a weight matrix moves equally far.

    For filters and for the weights of dense layers; biases, gamma and beta and a last layer are better left
    to another rule, see `MultiOptimizer`.

    Parameters
    ----------
    lr : float or Schedule, default 0.02
        The learning rate.
    momentum : float, default 0.95
        How much of the velocity is kept, in [0, 1).
    nesterov : bool, default True
        Whether the step looks ahead along the velocity.
    ns_steps : int, default 5
        Newton-Schulz steps of the orthogonalization.
    adjust : {"original", "match_rms_adamw", "none"}
        What `lr` is multiplied with for a matrix of n outputs and m inputs: :math:`\sqrt{\max(1, n/m)}`,
        :math:`0.2\sqrt{\max(n, m)}`, or 1.
    keep_norm : bool, default False
        Before each step, bring every matrix to the Frobenius norm sqrt(n), one for each filter. Where a
        normalization follows this changes nothing but how far a step turns the filters, which the
        learning rate alone decides then.
    weight_decay, groups, global_clipnorm
        See `Optimizer`; weight decay is decoupled, :math:`W \leftarrow (1 - \mathrm{lr}\,\lambda) W`.

    Raises
    ------
    ArgumentError
        When parameters are checked, or at the first step, if one has a single axis or none.

    Notes
    -----
    With the gradient G of a weight W, as a matrix (inputs, n), and the velocity B,

    .. math::

        B_t &= \mu B_{t-1} + G_t,\qquad U = G_t + \mu B_t \quad(\text{Nesterov; else } B_t) \\
        W_t &= W_{t-1} - \mathrm{lr}\; \mathrm{orth}(U),

    where :math:`\mathrm{orth}(U) \approx P Q^\mathsf{T}` for the singular value decomposition
    :math:`U = P S Q^\mathsf{T}`, by a few steps of a polynomial of degree five
    (`handgrad.kernels.reference.muon`). Filters (kh, kw, c, k) are matrices of kh*kw*c rows and k columns.

    Names are those of ``torch.optim.Muon``, which takes matrices only and computes the steps in bfloat16;
    there, a first axis of outputs makes n the rows.

    References
    ----------
    K. Jordan, Y. Jin, V. Boza, J. You, F. Cesista, L. Newhouse and J. Bernstein, "Muon: an optimizer for
    hidden layers in neural networks", 2024.

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.layers.parameter import Parameter
    >>> p = Parameter(np.zeros((2, 2)))
    >>> p.accumulate(np.array([[3.0, 0.0], [0.0, 1.0]]))
    >>> Muon(1.0, ns_steps=20).step({"p": p})
    >>> bool((abs(np.abs(np.diag(p.value)) - 1) < 0.33).all())
    True
    """

    lr: float | Schedule = 0.02
    momentum: float = 0.95
    _: KW_ONLY
    nesterov: bool = True
    ns_steps: int = 5
    adjust: str = "original"
    keep_norm: bool = False

    elementwise: ClassVar[bool] = False

    def check_settings(self) -> None:
        """Raise ArgumentError if an argument means nothing."""
        super().check_settings()
        check_number(self.where, "momentum", self.momentum, below=1.0)
        check_count(self.where, "ns_steps", self.ns_steps)
        if not isinstance(self.adjust, str) or self.adjust not in ("original", "match_rms_adamw", "none"):
            raise ArgumentError(
                self.where,
                expected='adjust to be "original", "match_rms_adamw" or "none"',
                got=repr(self.adjust),
            )

    def slots(self) -> dict[str, float]:
        """Return the velocity's first value."""
        return {"velocity": 0.0}

    def fits(self, parameters: Mapping[str, Parameter]) -> None:
        """Raise ArgumentError if one of `parameters` is no matrix and no filters."""
        super().fits(parameters)
        for name, p in parameters.items():
            if len(p.shape) < 2:
                raise ArgumentError(
                    self.where,
                    expected="matrices and filters, of two axes or more",
                    got=f"{name} of shape {p.shape}",
                    do='give it to another rule: MultiOptimizer({"*.weight": Muon(), "*": Adam()})',
                )

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
        """Move one parameter; see `Optimizer.update`."""
        columns = p.shape[-1]
        kernels.muon(
            p.reshape(-1, columns),
            g.reshape(-1, columns),
            slots["velocity"].reshape(-1, columns),
            lr=lr,
            momentum=float(self.momentum),
            nesterov=bool(self.nesterov),
            ns_steps=int(self.ns_steps),
            scale=self._scale(p.size // columns, columns),
            keep_norm=bool(self.keep_norm),
            weight_decay=weight_decay,
        )

    def _scale(self, inputs: int, outputs: int) -> float:
        if self.adjust == "none":
            return 1.0
        if self.adjust == "original":
            return math.sqrt(max(1.0, outputs / inputs))
        return 0.2 * math.sqrt(max(outputs, inputs))
