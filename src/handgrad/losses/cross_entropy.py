"""Cross entropy of one class among several."""

from __future__ import annotations

from dataclasses import dataclass
from numbers import Real
from typing import ClassVar

from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.kernels import Kernels
from handgrad.kernels.reference.namespace import array_namespace
from handgrad.losses.loss import Loss, as_array, check_batch, check_finite
from handgrad.typing import Array, Shape

ROW_SUM_TOLERANCE = 1e-3
"""How far the probabilities of a row may be from 1 in sum: more than any rounding, less than any mistake."""


@dataclass(frozen=True)
class CrossEntropy(Loss):
    r"""Minus the logarithm of the probability that softmax gives to the right class, mean over the batch.

    Parameters
    ----------
    label_smoothing : float, default 0.0
        The share e of each target that is spread evenly over all K classes, in [0, 1]: a target t becomes
        ``(1 - e)*t + e/K``.

    Notes
    -----
    From logits ``z`` of shape (n, K), not from probabilities: end the model with ``Dense(K)``, without a
    softmax. For targets :math:`t_{ik}` whose rows sum to 1 and :math:`p = \mathrm{softmax}(z)`,

    .. math::

        L = -\frac{1}{n}\sum_{i,k} t_{ik}\log p_{ik},\qquad
        \log p_{ik} = z_{ik} - \log\sum_j e^{z_{ij}}.

    Since :math:`\partial\log p_{ik}/\partial z_{ij} = [j = k] - p_{ij}`,

    .. math::

        \frac{\partial L}{\partial z_{ij}}
        = -\frac{1}{n}\sum_k t_{ik}\,([j = k] - p_{ij})
        = \frac{p_{ij} - t_{ij}}{n}.

    Where the model is confident and wrong the gradient does not vanish: there it is largest. The greatest
    logit of each row is subtracted first, so that neither value nor gradient overflows. Label smoothing is of
    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7.
    The values are those of ``torch.nn.CrossEntropyLoss(label_smoothing=e)``.

    Examples
    --------
    >>> import numpy as np
    >>> z = np.array([[2.0, 0.0, 0.0], [0.0, 0.0, 0.0]])
    >>> value, dz = CrossEntropy()(z, np.array([0, 2]))
    >>> round(value, 4)
    0.6691
    >>> dz.round(3)
    array([[-0.107,  0.053,  0.053],
           [ 0.167,  0.167, -0.333]])
    """

    outputs: ClassVar[str | None] = "classes"

    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        e = self.label_smoothing
        if not isinstance(e, Real) or isinstance(e, bool) or not 0 <= e <= 1:
            raise ArgumentError(
                self.where, expected="label_smoothing in [0, 1]", got=f"{self.label_smoothing!r}"
            )

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise if labels do not fit logits of `z_shape`.

        Parameters
        ----------
        z_shape : (n, K)
            The logits' shape.
        y : (n,) or (n, 1) integers in 0..K-1, or (n, K)
            The class of each sample; or its probabilities, of which one-hot rows are a case.

        Raises
        ------
        ShapeError, DataError
            As `Loss.check` says.
        """
        y = as_array(y)
        if len(z_shape) != 2 or z_shape[1] < 2:
            raise ShapeError(
                self.where,
                expected="logits of shape (n, classes) with at least 2 classes",
                got=f"shape {tuple(z_shape)}",
                do="use BinaryCrossEntropy for a single output" if tuple(z_shape[1:]) == (1,) else "",
            )
        check_batch(self.where, z_shape, y)
        n, k = z_shape
        if y.shape in {(n,), (n, 1)}:
            self._check_classes(y, k)
        elif y.shape == (n, k):
            self._check_probabilities(y)
        else:
            raise ShapeError(
                self.where,
                expected=f"labels of shape ({n},), or ({n}, {k}) for one-hot labels or probabilities",
                got=f"{y.shape}",
                do=f"the model has {k} outputs",
            )

    def _check_classes(self, y: Array, k: int) -> None:
        xp = array_namespace(y)
        check_finite(self.where, y, "a class for each sample")
        if not xp.isdtype(y.dtype, "integral"):
            raise DataError(
                self.where,
                expected=f"integer labels of shape ({y.shape[0]},)",
                got=f"{y.dtype}",
                do="convert them with y.astype(int)",
            )
        low, high = int(xp.min(y)), int(xp.max(y))
        if low < 0 or high >= k:
            raise DataError(
                self.where,
                expected=f"labels in 0..{k - 1}",
                got=f"{low if low < 0 else high}",
                do=f"the model has {k} outputs",
            )

    def _check_probabilities(self, y: Array) -> None:
        xp = array_namespace(y)
        if not xp.isdtype(y.dtype, ("bool", "integral", "real floating")):
            raise DataError(self.where, expected="one-hot labels or probabilities", got=f"{y.dtype}")
        check_finite(self.where, y, "one-hot labels or probabilities")
        t = xp.astype(y, xp.float64)
        least = float(xp.min(t))
        if least < 0:
            raise DataError(self.where, expected="probabilities of at least 0", got=f"{least:g}")
        sums = xp.sum(t, axis=1)
        wrong = xp.abs(sums - 1)
        # the comparison is written so that NaN does not pass
        if not bool(xp.all(wrong <= ROW_SUM_TOLERANCE)):
            row = int(xp.argmax(wrong))
            raise DataError(
                self.where,
                expected="one-hot labels or probabilities, whose rows sum to 1",
                got=f"{float(sums[row]):g} in row {row}",
            )

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value and the gradient."""
        if y.shape == (z.shape[0], 1):
            y = y[:, 0]
        value, dz = kernels.softmax_cross_entropy(z, y, smoothing=float(self.label_smoothing))
        return value, dz
