"""Normalization of each row by itself: by mean and variance, or by the root mean square."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from handgrad.layers.axes import from_rows, to_rows
from handgrad.layers.group_norm import GroupStatistics, SampleNormalization, flat
from handgrad.layers.layer import Run, owned
from handgrad.layers.parameter import Parameter
from handgrad.typing import Array, Shape


class RMSNormSaved(NamedTuple):
    """What the backward of a normalization by the root mean square needs."""

    x: Array
    s: Array
    """1/sqrt(mean(x^2) + epsilon)"""


@dataclass(eq=False)
class LayerNormalization(GroupStatistics):
    r"""Layer normalization: each sample, or each of its rows, by its own mean and variance.

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes that mean and variance are taken over, the batch being axis 0: -1 normalizes every pixel, or
        step of a sequence, over its channels, (1, 2, 3) an image as a whole.
    epsilon : float, default 1e-5
        Added to the variance.
    center, scale : bool, default True
        Whether beta is added, and whether gamma multiplies.

    Attributes
    ----------
    gamma, beta : Parameter
        Scale and shift, of the shape of the normalized axes; 1 and 0 at first, and not decayed. Absent
        without `scale`, `center`.

    Raises
    ------
    ShapeError
        When the axes hold one value: its variance is 0 and the output would be beta whatever came.

    Notes
    -----
    Over the c values of one row,

    .. math::
        \mu = \frac1c \sum_j x_j, \qquad
        \sigma^2 = \frac1c \sum_j (x_j - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    .. math::
        \hat x_j = (x_j - \mu)\,s, \qquad
        y_j = \gamma_j \hat x_j + \beta_j

    in training and in inference alike: nothing is remembered, and no sample sees another.

    **Backward.** First what is next to :math:`y`, where :math:`\gamma` and :math:`\beta` collect from all
    rows i, and a name for the gradient of :math:`\hat x`:

    .. math::
        \dot\beta_j = \sum_i \dot y_{ij}, \qquad
        \dot\gamma_j = \sum_i \dot y_{ij} \hat x_{ij}, \qquad
        h_j = \dot{\hat x}_j = \gamma_j\,\dot y_j

    x reaches :math:`\hat x` three ways: directly, through the variance, and through the mean,

    .. math::
        \dot x_j = s\,h_j
        + \frac{\partial L}{\partial \sigma^2}\,\frac{2 (x_j - \mu)}{c}
        + \frac{\partial L}{\partial \mu}\,\frac1c

    with

    .. math::
        \frac{\partial L}{\partial \sigma^2} = \sum_k h_k\,(x_k - \mu)\,\bigl(-\tfrac12 s^3\bigr)
            = -\tfrac12\, s^2 \sum_k h_k \hat x_k, \qquad
        \frac{\partial L}{\partial \mu} = -s \sum_k h_k

    (the mean also moves the variance, by :math:`-\frac2c\sum_k(x_k - \mu)`, which is zero). Put together,

    .. math::
        \boxed{\dot x_j = s \Bigl(h_j - \frac1c \sum_k h_k - \hat x_j\,\frac1c \sum_k h_k \hat x_k\Bigr)}

    Unlike in batch normalization :math:`\gamma` differs from term to term of these sums, and so they are not
    :math:`\dot\beta` and :math:`\dot\gamma`. The code is `handgrad.kernels.reference.group_norm`, of which
    this is one group of one place.

    References
    ----------
    .. [1] J. L. Ba, J. R. Kiros and G. E. Hinton, "Layer normalization", arXiv:1607.06450.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> norm = hg.layers.LayerNormalization()
    >>> norm.build((16,))
    (16,)
    >>> x = 5 + hg.rng.Stream((1,)).normal((4, 16), std=3.0)
    >>> y, saved = norm.forward(x, hg.Run())
    >>> bool(np.allclose(y.mean(axis=1), 0, atol=1e-6)), bool(np.allclose(y.std(axis=1), 1, atol=1e-4))
    (True, True)
    """

    axis: Any = -1
    epsilon: float = 1e-5
    _: KW_ONLY
    center: bool = True
    scale: bool = True

    gamma: Parameter | None = owned()
    beta: Parameter | None = owned()

    _instead = "normalize over more axes"

    def _samples(self, x: Array) -> Array:
        return to_rows(x, self._axes(x.ndim))[:, None, :]

    def _divided(self, c: int) -> int:
        return 1

    def _group_size(self, shape: Shape) -> int:
        return math.prod(self._features(shape))


@dataclass(eq=False)
class RMSNormalization(SampleNormalization):
    r"""Normalization by the root mean square: layer normalization without the mean.

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes that the mean of the squares is taken over, the batch being axis 0.
    epsilon : float, default 1e-6
        Added to the mean of the squares.
    scale : bool, default True
        Whether gamma multiplies.

    Attributes
    ----------
    gamma : Parameter
        Scale, of the shape of the normalized axes; 1 at first, and not decayed. Absent without `scale`.

    Notes
    -----
    Over the c values of one row,

    .. math::
        s = \frac{1}{\sqrt{\frac1c \sum_j x_j^2 + \epsilon}}, \qquad
        \hat x_j = x_j\,s, \qquad
        y_j = \gamma_j \hat x_j

    in training and in inference alike.

    **Backward.** With :math:`\gamma` collecting from all rows i, and :math:`h` the gradient of
    :math:`\hat x`,

    .. math::
        \dot\gamma_j = \sum_i \dot y_{ij} \hat x_{ij}, \qquad
        h_j = \dot{\hat x}_j = \gamma_j\,\dot y_j

    x reaches :math:`\hat x` directly, and through the mean of the squares :math:`q`:

    .. math::
        \dot x_j = s\,h_j + \frac{\partial L}{\partial q}\,\frac{2 x_j}{c}, \qquad
        \frac{\partial L}{\partial q} = \sum_k h_k\,x_k\,\bigl(-\tfrac12 s^3\bigr)
            = -\tfrac12\, s^2 \sum_k h_k \hat x_k

    .. math:: \boxed{\dot x_j = s \Bigl(h_j - \hat x_j\,\frac1c \sum_k h_k \hat x_k\Bigr)}

    The code is `handgrad.kernels.reference.group_norm`.

    References
    ----------
    .. [1] B. Zhang and R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> norm = hg.layers.RMSNormalization()
    >>> norm.build((16,))
    (16,)
    >>> y, saved = norm.forward(hg.rng.Stream((1,)).normal((4, 16), std=3.0), hg.Run())
    >>> bool(np.allclose((y**2).mean(axis=1), 1, atol=1e-5))
    True
    """

    axis: Any = -1
    epsilon: float = 1e-6
    _: KW_ONLY
    scale: bool = True

    gamma: Parameter | None = owned()

    def forward(self, x: Array, run: Run) -> tuple[Array, RMSNormSaved]:
        """Return ``y = gamma*x*s``."""
        self.check_input(x)
        axes = self._axes(x.ndim)
        y, s = run.kernels.rms_norm(to_rows(x, axes), flat(self.gamma), self.epsilon)
        return from_rows(y, x.shape, axes), RMSNormSaved(x, s)

    def backward(self, dy: Array, saved: RMSNormSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma; return ``dx = s*(h - xhat*sum(h*xhat)/c)``, h = gamma*dy."""
        x, s = saved
        self.check_gradient(dy, x.shape, x.dtype)
        axes = self._axes(x.ndim)
        dx, dgamma = run.kernels.rms_norm_backward(to_rows(dy, axes), to_rows(x, axes), s, flat(self.gamma))
        self._accumulate(dgamma)
        return from_rows(dx, dy.shape, axes) if need_dx else None
