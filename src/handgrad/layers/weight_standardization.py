"""Layers whose filters have mean 0 and variance 1, whatever their parameters are."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import NamedTuple

from handgrad.arguments import check_number
from handgrad.errors import ShapeError
from handgrad.geometry import Window
from handgrad.layers.axes import to_rows
from handgrad.layers.conv import Conv2D
from handgrad.layers.dense import Dense
from handgrad.layers.layer import Run
from handgrad.layers.parameter import Parameter
from handgrad.typing import Array, Shape


class Standardized(NamedTuple):
    """Filters with mean 0 and variance 1, and what their backward needs."""

    w_hat: Array
    mean: Array
    s: Array
    """1/sqrt(var + epsilon)"""


class StandardizedConvSaved(NamedTuple):
    """What the backward of a convolution by standardized filters needs."""

    x: Array
    window: Window
    output: Shape
    """The shape of the output, with the batch axis."""
    filters: Standardized


class StandardizedDenseSaved(NamedTuple):
    """What the backward of a dense layer by standardized weights needs."""

    x: Array
    weight: Standardized


def standardize(w: Array, epsilon: float, run: Run) -> Standardized:
    """Return ``w_hat = (w - mean)*s``, statistics over all axes but the last."""
    rows = _rows(w)
    mean, var = run.kernels.batch_norm_statistics(rows)
    s = (var + epsilon) ** -0.5
    return Standardized(run.kernels.batch_norm(rows, mean, s, None, None).reshape(w.shape), mean, s)


def standardize_backward(dw_hat: Array, w: Array, of: Standardized, run: Run) -> Array:
    """Return ``dw = s*(dw_hat - (sum(dw_hat) + w_hat*sum(dw_hat*w_hat))/m)``."""
    rows, _, _ = run.kernels.batch_norm_backward(_rows(dw_hat), _rows(w), of.mean, of.s, None)
    dw: Array = rows.reshape(w.shape)
    return dw


def _rows(w: Array) -> Array:
    """(..., k) -> (m, k), a column for each filter."""
    return to_rows(w, (w.ndim - 1,))


@dataclass(eq=False)
class WeightStandardizedConv2D(Conv2D):
    r"""Two-dimensional convolution by filters that are standardized: each has mean 0 and variance 1.

    Parameters
    ----------
    filters, kernel_size, strides, padding, dilation_rate, groups, use_bias
        As in `Conv2D`.
    kernel_initializer, bias_initializer : str or Initializer
        As in `Conv2D`.
    epsilon : float, default 1e-6
        Added to the variance of a filter.

    Attributes
    ----------
    weight : Parameter, (rows, columns, input channels/groups, filters)
        What is trained, and from which the filters are computed in every forward.
    bias : Parameter, (filters,)
        Absent without `use_bias`.

    Raises
    ------
    ShapeError
        When a filter is one number: its variance is 0.

    Notes
    -----
    For the m weights of filter k, over its taps and input channels,

    .. math::
        \mu = \frac1m \sum_i w_i, \qquad
        \sigma^2 = \frac1m \sum_i (w_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    .. math::
        \hat w_i = (w_i - \mu)\,s, \qquad
        y = \mathrm{conv}(x, \hat w) + b

    A sum of m products with weights of variance 1 has m times the variance of one: let a normalization
    follow. The paper's is `GroupNormalization`, in place of batch normalization where batches are small.

    **Backward.** That of `Conv2D` gives :math:`\dot x` and :math:`\dot{\hat w}`, from :math:`\hat w` in place
    of :math:`w`. What is left is the gradient of a normalization without scale and shift: w reaches
    :math:`\hat w` directly, through the variance, and through the mean,

    .. math::
        \dot w_i = s\,\dot{\hat w}_i
        + \frac{\partial L}{\partial \sigma^2}\,\frac{2 (w_i - \mu)}{m}
        + \frac{\partial L}{\partial \mu}\,\frac1m, \qquad
        \frac{\partial L}{\partial \sigma^2} = -\tfrac12\, s^2 \sum_k \dot{\hat w}_k \hat w_k, \qquad
        \frac{\partial L}{\partial \mu} = -s \sum_k \dot{\hat w}_k

    .. math::
        \boxed{\dot w_i = s \Bigl(\dot{\hat w}_i - \frac1m \sum_k \dot{\hat w}_k
            - \hat w_i\,\frac1m \sum_k \dot{\hat w}_k \hat w_k\Bigr)}

    It has no part along the mean of a filter nor (but for :math:`\epsilon`) along the filter itself: neither
    changes the output. So every step along the gradient lengthens w, which weight decay holds back. The code
    is that of `BatchNormalization` for the columns of (m, filters): `handgrad.kernels.reference.norm`.

    References
    ----------
    .. [1] S. Qiao, H. Wang, C. Liu, W. Shen and A. Yuille, "Micro-batch training with batch-channel
       normalization and weight standardization", arXiv:1903.10520.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> conv = hg.layers.WeightStandardizedConv2D(16, 3, padding="same", use_bias=False)
    >>> conv.build((8, 8, 4))
    (8, 8, 16)
    >>> x = hg.rng.Stream((1,)).normal((2, 8, 8, 4))
    >>> y, saved = conv.forward(x, hg.Run())
    >>> w_hat = saved.filters.w_hat.reshape(-1, 16)
    >>> float(np.abs(w_hat.mean(axis=0)).max()) < 1e-6, float(np.abs(w_hat.std(axis=0) - 1).max()) < 1e-4
    (True, True)
    """

    _: KW_ONLY
    epsilon: float = 1e-6

    def output_shape(self, shape: Shape) -> Shape:
        """Return (oh, ow, filters) for images of `shape` (h, w, c)."""
        out = super().output_shape(shape)
        kh, kw = self.window((shape[0], shape[1])).kernel
        _check(self.where, self.epsilon, kh * kw * shape[2] // self.groups)
        return out

    def forward(self, x: Array, run: Run) -> tuple[Array, StandardizedConvSaved]:  # type: ignore[override]
        """Return the convolution by w_hat."""
        self.check_input(x)
        window = self.window((x.shape[1], x.shape[2]))
        filters, bias = standardize(self.weight.value, self.epsilon, run), _value(self.bias)
        y = run.kernels.conv2d(x, filters.w_hat, bias, window, self.groups)
        return y, StandardizedConvSaved(x, window, y.shape, filters)

    def backward(  # type: ignore[override]
        self, dy: Array, saved: StandardizedConvSaved, run: Run, *, need_dx: bool = True
    ) -> Array | None:
        """Accumulate dw, by dw_hat, and db; return dx."""
        x, window, shape, filters = saved
        self.check_gradient(dy, shape, x.dtype)
        w = self.weight.value
        if self.trainable:
            dw_hat = run.kernels.conv2d_backward_weight(dy, x, w.shape, window, self.groups)
            self.accumulate(standardize_backward(dw_hat, w, filters, run), dy, run)
        if not need_dx:
            return None
        dx: Array = run.kernels.conv2d_backward_input(dy, filters.w_hat, x.shape, window, self.groups)
        return dx


@dataclass(eq=False)
class WeightStandardizedDense(Dense):
    r"""Fully connected layer by standardized weights: those of each output have mean 0 and variance 1.

    Parameters
    ----------
    units, use_bias, kernel_initializer, bias_initializer
        As in `Dense`.
    epsilon : float, default 1e-6
        Added to the variance of an output's weights.

    Attributes
    ----------
    weight : Parameter, (c, units)
        What is trained, and from which the weights are computed in every forward.
    bias : Parameter, (units,)
        Absent without `use_bias`.

    Raises
    ------
    ShapeError
        When there is one input feature: the variance of one weight is 0.

    Notes
    -----
    For the c weights of output k,

    .. math::
        \mu = \frac1c \sum_i w_i, \qquad
        \sigma^2 = \frac1c \sum_i (w_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}

    .. math::
        \hat w_i = (w_i - \mu)\,s, \qquad
        Y = X \hat W + b

    **Backward.** That of `Dense` gives :math:`\dot X = \dot Y \hat W^{\mathsf T}` and
    :math:`\dot{\hat W} = X^{\mathsf T} \dot Y`; from there, as `WeightStandardizedConv2D` derives it,

    .. math::
        \boxed{\dot w_i = s \Bigl(\dot{\hat w}_i - \frac1c \sum_k \dot{\hat w}_k
            - \hat w_i\,\frac1c \sum_k \dot{\hat w}_k \hat w_k\Bigr)}

    Examples
    --------
    >>> import handgrad as hg
    >>> hg.layers.WeightStandardizedDense(10).build((256,))
    (10,)
    """

    _: KW_ONLY
    epsilon: float = 1e-6

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` with `units` in the last place."""
        out = super().output_shape(shape)
        _check(self.where, self.epsilon, shape[-1])
        return out

    def forward(self, x: Array, run: Run) -> tuple[Array, StandardizedDenseSaved]:  # type: ignore[override]
        """Return ``y = x @ w_hat + b``."""
        self.check_input(x)
        weight = standardize(self.weight.value, self.epsilon, run)
        y = run.kernels.dense(_rows(x), weight.w_hat, _value(self.bias))
        return y.reshape(*x.shape[:-1], self.units), StandardizedDenseSaved(x, weight)

    def backward(  # type: ignore[override]
        self, dy: Array, saved: StandardizedDenseSaved, run: Run, *, need_dx: bool = True
    ) -> Array | None:
        """Accumulate dw, by dw_hat, and db; return dx."""
        x, weight = saved
        self.check_gradient(dy, (*x.shape[:-1], self.units), x.dtype)
        rows = _rows(dy)
        if self.trainable:
            dw_hat = run.kernels.dense_backward_weight(rows, _rows(x))
            self.weight.accumulate(standardize_backward(dw_hat, self.weight.value, weight, run))
            if self.bias is not None:
                self.bias.accumulate(run.kernels.bias_backward(rows))
        if not need_dx:
            return None
        dx: Array = run.kernels.dense_backward_input(rows, weight.w_hat).reshape(x.shape)
        return dx


def _value(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.value


def _check(where: str, epsilon: float, m: int) -> None:
    check_number(where, "epsilon", epsilon, positive=True)
    if m < 2:
        raise ShapeError(
            where,
            expected="filters of at least 2 weights",
            got=str(m),
            do="the variance of one is 0 and the output would not depend on the input: leave it as it is",
        )
