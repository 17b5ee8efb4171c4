"""Cross entropy of independent yes-or-no outputs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from handgrad.errors import DataError
from handgrad.kernels import Kernels
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.losses.loss import Loss, as_array, check_targets, column
from handgrad.typing import Array, Shape


@dataclass(frozen=True)
class BinaryCrossEntropy(Loss):
    r"""Minus the logarithm of the probability that sigmoid gives to the right answer, mean over all outputs.

    Notes
    -----
    From logits ``z`` of any shape, with targets :math:`t \in [0, 1]` of the same shape, m elements in all,
    and :math:`p = 1/(1 + e^{-z})`,

    .. math::

        L = -\frac{1}{m}\sum t\log p + (1 - t)\log(1 - p)
          = \frac{1}{m}\sum \max(z, 0) - z\,t + \log(1 + e^{-|z|}),

    where the second form never overflows nor takes the logarithm of a rounded 0. With
    :math:`\partial p/\partial z = p\,(1 - p)`,

    .. math::

        \frac{\partial L}{\partial z}
        = -\frac{1}{m}\left(\frac{t}{p} - \frac{1 - t}{1 - p}\right) p\,(1 - p) = \frac{p - t}{m}.

    The mean is over all elements, samples and outputs alike, as in ``torch.nn.BCEWithLogitsLoss()``: with K
    outputs per sample it is 1/K of the mean over the batch of the sum over outputs.

    Examples
    --------
    >>> import numpy as np
    >>> value, dz = BinaryCrossEntropy()(np.array([[0.0], [3.0]]), np.array([1, 0]))
    >>> round(value, 4)
    1.8709
    >>> dz.round(3)
    array([[-0.25 ],
           [ 0.476]])
    """

    outputs: ClassVar[str | None] = "labels"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise if labels do not fit logits of `z_shape`.

        Parameters
        ----------
        z_shape : tuple of int
            The logits' shape.
        y : array of that shape, or (n,) for logits (n, 1)
            Numbers in 0..1: integers, booleans or probabilities.

        Raises
        ------
        ShapeError, DataError
            As `Loss.check` says.
        """
        y = as_array(y)
        check_targets(self.where, z_shape, y, do="for one class among several use CrossEntropy")
        xp = array_namespace(y)
        if xp.isdtype(y.dtype, "bool"):
            return
        low, high = xp.min(y), xp.max(y)
        if low < 0 or high > 1:
            raise DataError(
                self.where,
                expected="labels in 0..1",
                got=f"{float(low if low < 0 else high):g}",
                do=_do(y.dtype == xp.uint8, low, high),
            )

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value and the gradient."""
        value, dz = kernels.binary_cross_entropy(z, column(y, z.shape))
        return value, dz


def _do(are_bytes: bool, low: float, high: float) -> str:
    """Return what to do about labels out of range."""
    if are_bytes and high > 9:
        return "divide pixels by 255"
    if low == -1 and high <= 1:
        return "give 0 for -1"
    return "for one class among several use CrossEntropy"
