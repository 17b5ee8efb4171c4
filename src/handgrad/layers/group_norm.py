"""Normalization of each sample by itself: in groups of channels, or channel by channel."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.axes import from_rows, kept_axes, to_rows
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Init, Parameter
from handgrad.typing import Array, Shape, is_integer


class GroupNormSaved(NamedTuple):
    """What the backward of a normalization of groups needs."""

    x: Array
    mean: Array
    s: Array
    """1/sqrt(var + epsilon)"""


class SampleNormalization(Layer):
    """Scale, shift and their checks. Its classes declare their arguments, each in its own order."""

    axis: Any
    epsilon: float
    scale: bool
    center: bool = False
    gamma: Parameter | None
    beta: Parameter | None = None

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`, once the arguments and the axes are found to fit."""
        check_number(self.where, "epsilon", self.epsilon, positive=True)
        features = self._features(shape)
        if self.built and features != self._features(self.input_shape):
            expected, got = (" x ".join(map(str, f)) for f in (self._features(self.input_shape), features))
            raise ShapeError(self.where, expected=f"{expected} features", got=f"{got} (shape {shape})")
        return shape

    def create(self, shape: Shape, init: Init) -> None:
        """Create gamma and beta."""
        features = self._features(shape)
        if self.scale:
            self.gamma = init.parameter("gamma", features, "ones", decay=False)
        if self.center:
            self.beta = init.parameter("beta", features, "zeros", decay=False)

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        return math.prod(shape)

    def _axes(self, rank: int) -> tuple[int, ...]:
        """Return the axes of gamma and beta in an array with batch axis."""
        return kept_axes(self.axis, rank, self.where)

    def _features(self, shape: Shape) -> Shape:
        return tuple(shape[a - 1] for a in self._axes(len(shape) + 1))

    def _accumulate(self, dgamma: Array, dbeta: Array | None = None) -> None:
        if self.trainable:
            for parameter, gradient in ((self.gamma, dgamma), (self.beta, dbeta)):
                if parameter is not None and gradient is not None:
                    parameter.accumulate(gradient.reshape(parameter.shape))


class GroupStatistics(SampleNormalization):
    """Forward and backward by the kernels of (n, m, c)."""

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`, once the arguments and the axes are found to fit."""
        super().output_shape(shape)
        size = self._group_size(shape)
        if size == 1:
            raise ShapeError(
                self.where,
                expected="at least 2 values to take mean and variance of",
                got=f"1 (shape {shape})",
                do=f"its variance is 0 and the output would not depend on the input: {self._instead}",
            )
        return shape

    def forward(self, x: Array, run: Run) -> tuple[Array, GroupNormSaved]:
        """Return ``y = gamma*xhat + beta``, xhat by the mean and the variance of each group."""
        self.check_input(x)
        samples = self._samples(x)
        of_channels = flat(self.gamma), flat(self.beta)
        y, mean, s = run.kernels.group_norm(
            samples, *of_channels, self._divided(samples.shape[2]), self.epsilon
        )
        return from_rows(y, x.shape, self._axes(x.ndim)), GroupNormSaved(x, mean, s)

    def backward(self, dy: Array, saved: GroupNormSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma and dbeta; return ``dx = s*(h - (sum(h) + xhat*sum(h*xhat))/N)``."""
        x, mean, s = saved
        self.check_gradient(dy, x.shape, x.dtype)
        backward, gamma = run.kernels.group_norm_backward, flat(self.gamma)
        dx, dgamma, dbeta = backward(self._samples(dy), self._samples(x), mean, s, gamma)
        self._accumulate(dgamma, dbeta)
        return from_rows(dx, dy.shape, self._axes(dy.ndim)) if need_dx else None

    _instead: str
    """What to do about groups of one value."""

    def _samples(self, x: Array) -> Array:
        """Return x as (n, m, c), as the kernels take it."""
        raise NotImplementedError

    def _divided(self, c: int) -> int:
        """Return into how many groups c channels are divided."""
        raise NotImplementedError

    def _group_size(self, shape: Shape) -> int:
        raise NotImplementedError


class _OfChannels(GroupStatistics):
    """Groups of channels, over all places."""

    def _axes(self, rank: int) -> tuple[int, ...]:
        axes = kept_axes(self.axis, rank, self.where)
        if len(axes) > 1:
            raise ArgumentError(f"{self.where} axis", expected="one axis, the channels", got=repr(self.axis))
        return axes

    def _samples(self, x: Array) -> Array:
        n, (c,) = x.shape[0], self._features(x.shape[1:])
        return to_rows(x, self._axes(x.ndim)).reshape(n, math.prod(x.shape[1:]) // c, c)

    def _group_size(self, shape: Shape) -> int:
        (c,) = self._features(shape)
        return math.prod(shape) // self._divided(c)


@dataclass(eq=False)
class GroupNormalization(_OfChannels):
    r"""Group normalization: the channels of each sample in groups, each by its own mean and variance.

    Parameters
    ----------
    groups : int, default 32
        Into how many groups the channels are divided, in order; -1 is as many as there are channels.
    axis : int, default -1
        The channels, the batch being axis 0.
    epsilon : float, default 1e-5
        Added to the variance.
    center, scale : bool, default True
        Whether beta is added, and whether gamma multiplies.

    Attributes
    ----------
    gamma, beta : Parameter, (channels,)
        Scale and shift; 1 and 0 at first, and not decayed. Absent without `scale`, `center`.

    Raises
    ------
    ShapeError
        When `groups` does not divide the channels, or a group is one value: its variance is 0 and the output
        would be beta whatever came.

    Notes
    -----
    Batch normalization takes its statistics over a batch, which must be large and in inference is not there.
    Here they are taken over the N values of a group: c/g channels at all places of one sample, in training
    and in inference alike.

    .. math::
        \mu = \frac1N \sum_i x_i, \qquad
        \sigma^2 = \frac1N \sum_i (x_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    .. math::
        \hat x_i = (x_i - \mu)\,s, \qquad
        y_i = \gamma_{c(i)}\, \hat x_i + \beta_{c(i)}

    where :math:`c(i)` is the channel of value i.

    **Backward.** :math:`\gamma` and :math:`\beta` of a channel collect from all its places in all samples;
    and a name for the gradient of :math:`\hat x`:

    .. math::
        \dot\beta_c = \sum_{i:\; c(i) = c} \dot y_i, \qquad
        \dot\gamma_c = \sum_{i:\; c(i) = c} \dot y_i \hat x_i, \qquad
        h_i = \dot{\hat x}_i = \gamma_{c(i)}\,\dot y_i

    As in `LayerNormalization` x reaches :math:`\hat x` directly, through the variance and through the mean of
    its group, which gives, with sums over the group,

    .. math::
        \frac{\partial L}{\partial \sigma^2} = -\tfrac12\, s^2 \sum_k h_k \hat x_k, \qquad
        \frac{\partial L}{\partial \mu} = -s \sum_k h_k

    .. math::
        \boxed{\dot x_i = s \Bigl(h_i - \frac1N \sum_k h_k - \hat x_i\,\frac1N \sum_k h_k \hat x_k\Bigr)}

    With one channel to a group (`InstanceNormalization`) :math:`\gamma` comes out of the sums, and this is
    the formula of `BatchNormalization` for a batch of one. The code is
    `handgrad.kernels.reference.group_norm`.

    References
    ----------
    .. [1] Y. Wu and K. He, "Group normalization", ECCV 2018.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> norm = hg.layers.GroupNormalization(4)
    >>> norm.build((8, 8, 16))
    (8, 8, 16)
    >>> x = 5 + hg.rng.Stream((1,)).normal((2, 8, 8, 16), std=3.0)
    >>> y, saved = norm.forward(x, hg.Run())
    >>> of_groups = y.reshape(2, 8, 8, 4, 4).mean(axis=(1, 2, 4))
    >>> of_groups.shape, bool(np.allclose(of_groups, 0, atol=1e-6))
    ((2, 4), True)
    """

    groups: int = 32
    axis: Any = -1
    epsilon: float = 1e-5
    _: KW_ONLY
    center: bool = True
    scale: bool = True

    gamma: Parameter | None = owned()
    beta: Parameter | None = owned()

    _instead = "use fewer groups"

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`, once the arguments and the channels are found to fit."""
        if not is_integer(self.groups) or (self.groups < 1 and self.groups != -1):
            raise ArgumentError(
                f"{self.where} groups",
                expected="an int, at least 1, or -1 for as many as there are channels",
                got=repr(self.groups),
            )
        (c,) = self._features(shape)
        if c % self.groups:
            expected = f"channels that groups={self.groups} divides"
            raise ShapeError(self.where, expected=expected, got=f"{c} (shape {shape})")
        return super().output_shape(shape)

    def _divided(self, c: int) -> int:
        return c if self.groups == -1 else self.groups


@dataclass(eq=False)
class InstanceNormalization(_OfChannels):
    r"""Instance normalization: each channel of each sample by its own mean and variance.

    Parameters
    ----------
    axis : int, default -1
        The channels, the batch being axis 0.
    epsilon : float, default 1e-5
        Added to the variance.
    center, scale : bool, default True
        Whether beta is added, and whether gamma multiplies (PyTorch's ``affine``, which is off there by
        default).

    Attributes
    ----------
    gamma, beta : Parameter, (channels,)
        Scale and shift; 1 and 0 at first, and not decayed. Absent without `scale`, `center`.

    Raises
    ------
    ShapeError
        When a channel has one place: its variance is 0 and the output would be beta whatever came.

    Notes
    -----
    `GroupNormalization` with as many groups as channels. Over the m places of one channel of one sample,

    .. math::
        \mu = \frac1m \sum_i x_i, \qquad
        \sigma^2 = \frac1m \sum_i (x_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    .. math::
        \hat x_i = (x_i - \mu)\,s, \qquad
        y_i = \gamma \hat x_i + \beta

    in training and in inference alike.

    **Backward.** :math:`\dot\beta` and :math:`\dot\gamma` collect from all samples. With
    :math:`h_i = \gamma\,\dot y_i` and sums over the places of one sample,

    .. math::
        \boxed{\dot x_i = s \Bigl(h_i - \frac1m \sum_k h_k - \hat x_i\,\frac1m \sum_k h_k \hat x_k\Bigr)}

    The derivation is that of `GroupNormalization`, the code `handgrad.kernels.reference.group_norm`.

    References
    ----------
    .. [1] D. Ulyanov, A. Vedaldi and V. Lempitsky, "Instance normalization: the missing ingredient for fast
       stylization", arXiv:1607.08022.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> norm = hg.layers.InstanceNormalization()
    >>> norm.build((8, 8, 3))
    (8, 8, 3)
    >>> y, saved = norm.forward(5 + hg.rng.Stream((1,)).normal((2, 8, 8, 3)), hg.Run())
    >>> bool(np.allclose(y.mean(axis=(1, 2)), 0, atol=1e-6))
    True
    """

    axis: Any = -1
    epsilon: float = 1e-5
    _: KW_ONLY
    center: bool = True
    scale: bool = True

    gamma: Parameter | None = owned()
    beta: Parameter | None = owned()

    _instead = "it needs more places than one"

    def _divided(self, c: int) -> int:
        return c


def flat(parameter: Parameter | None) -> Array | None:
    """Return the value as one vector, or None where there is none."""
    return None if parameter is None else parameter.value.reshape(-1)
