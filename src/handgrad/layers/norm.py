"""Batch normalization."""

from __future__ import annotations

import math
import warnings
from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

import numpy as np

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.typing import Array, Shape, is_integer

UNMOVED = "the running statistics are still mean 0 and variance 1: they move in training, by commit(saved)"


class BatchNormSaved(NamedTuple):
    """What backward and commit of a batch normalization need."""

    x: Array
    mean: Array
    var: Array
    s: Array
    """1/sqrt(var + epsilon)"""
    m: int
    """Values per channel."""
    constant: bool
    """Whether mean and variance were the running ones, constants of the function that forward computed."""


@dataclass(eq=False)
class BatchNormalization(Layer):
    r"""Batch normalization.

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes that keep statistics of their own, the batch being axis 0: -1 is per channel, (1, 2, 3) per
        feature of an image. Mean and variance are taken over all others.
    momentum : float, default 0.99
        Weight of the old running statistics, ``running = momentum*running + (1 - momentum)*batch`` (Keras'
        convention; PyTorch's momentum is one minus this).
    epsilon : float, default 1e-5
        Added to the variance.
    center, scale : bool, default True
        Whether beta is added, and whether gamma multiplies.
    running_variance : "unbiased" or "biased", default "unbiased"
        Which estimate of the variance is kept for inference: ``sum((x - mean)^2)/(m - 1)``, as PyTorch, or
        ``/m``, as Keras. The batch itself is always normalized by ``/m``.
    debias : bool, default False
        Whether inference leaves out what the running statistics still hold of the mean 0 and variance 1 that
        they began with, a share of ``momentum**updates``: they are then right from the first batch on.

    Attributes
    ----------
    gamma, beta : Parameter
        Scale and shift, of the shape of the kept axes; 1 and 0 at first, and not decayed. Absent without
        `scale`, `center`.
    running_mean, running_var : Buffer, float64
        What inference normalizes by. float64 because at a mean of 1e6 the nearest float32 is up to 0.03 away.
    updates : Buffer, int64, shape ()
        How often they have been moved.

    Raises
    ------
    ShapeError
        In training, when there is one value per channel: its variance is 0 and the output would be beta
        whatever came.

    Warns
    -----
    UserWarning
        In inference, when the running statistics have never been moved.

    Notes
    -----
    Over the m values of a channel in the batch,

    .. math::
        \mu = \frac1m \sum_i x_i, \qquad
        \sigma^2 = \frac1m \sum_i (x_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}, \qquad
        \hat x_i = (x_i - \mu)\,s, \qquad
        y_i = \gamma \hat x_i + \beta

    In inference, and when the layer is frozen, :math:`\mu` and :math:`\sigma^2` are the running ones.

    **Backward.** First what is next to :math:`y`:

    .. math::
        \dot\beta = \sum_i \dot y_i, \qquad \dot\gamma = \sum_i \dot y_i \hat x_i, \qquad
        \dot{\hat x}_i = \gamma\,\dot y_i

    x reaches :math:`\hat x` three ways: directly, through the variance, and through the mean,

    .. math::
        \dot x_i = s\,\dot{\hat x}_i
        + \frac{\partial L}{\partial \sigma^2}\,\frac{2 (x_i - \mu)}{m}
        + \frac{\partial L}{\partial \mu}\,\frac1m

    with

    .. math::
        \frac{\partial L}{\partial \sigma^2} = \sum_i \dot{\hat x}_i\,(x_i - \mu)\,\bigl(-\tfrac12 s^3\bigr)
            = -\tfrac12\, s^2\, \gamma \dot\gamma, \qquad
        \frac{\partial L}{\partial \mu} = -s \sum_i \dot{\hat x}_i = -s\,\gamma\dot\beta

    (the mean also moves the variance, by :math:`-\frac2m\sum_i(x_i - \mu)`, which is zero). Put together,

    .. math:: \boxed{\dot x_i = \gamma s \Bigl(\dot y_i - \frac{\dot\beta + \hat x_i\,\dot\gamma}{m}\Bigr)}

    Where mean and variance are constants, the last two ways are closed: :math:`\dot x_i = \gamma s\, \dot
    y_i`. A frozen layer whose backward keeps them is wrong by a large part of the gradient.

    With :math:`\dot y = 1` the bracket is zero whatever the code does: check this layer with a random
    upstream gradient. The code is `handgrad.kernels.reference.norm`.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing
       internal
       covariate shift", ICML 2015.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> bn = hg.layers.BatchNormalization()
    >>> bn.build((8, 8, 16))
    (8, 8, 16)
    >>> x = hg.rng.Stream((1,)).normal((32, 8, 8, 16), std=3.0)
    >>> run = hg.Run(training=True)
    >>> y, saved = bn.forward(x, run)
    >>> abs(float(y.mean())) < 1e-6, round(float(y.std()), 3)
    (True, 1.0)
    >>> dx = bn.backward(np.ones_like(y), saved, run)
    >>> bn.commit(saved)
    >>> int(bn.updates.value)
    1
    """

    axis: Any = -1
    momentum: float = 0.99
    epsilon: float = 1e-5
    _: KW_ONLY
    center: bool = True
    scale: bool = True
    running_variance: str = "unbiased"
    debias: bool = False

    gamma: Parameter | None = owned()
    beta: Parameter | None = owned()
    running_mean: Buffer = owned()
    running_var: Buffer = owned()
    updates: Buffer = owned()

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`, once the arguments and the kept axes are found to fit."""
        self._check_arguments()
        features = self._features(shape)
        if self.built and features != self.running_mean.shape:
            kept = " x ".join(map(str, self.running_mean.shape))
            got = " x ".join(map(str, features))
            raise ShapeError(self.where, expected=f"{kept} channels", got=f"{got} (shape {shape})")
        return shape

    def create(self, shape: Shape, init: Init) -> None:
        """Create gamma, beta and the running statistics."""
        features = self._features(shape)
        if self.scale:
            self.gamma = init.parameter("gamma", features, "ones", decay=False)
        if self.center:
            self.beta = init.parameter("beta", features, "zeros", decay=False)
        self.running_mean = Buffer(np.zeros(features), name="running_mean")
        self.running_var = Buffer(np.ones(features), name="running_var")
        self.updates = Buffer(np.zeros((), np.int64), name="updates")

    def forward(self, x: Array, run: Run) -> tuple[Array, BatchNormSaved]:
        """Return ``y = gamma*xhat + beta``, by the batch's statistics in training, else the running ones."""
        self.check_input(x)
        rows = self.rows(x)
        saved = self.measure(x, rows, run)
        y = run.kernels.batch_norm(rows, saved.mean, saved.s, *self.scale_and_shift())
        return self.unrows(y, x.shape), saved

    def measure(self, x: Array, rows: Array, run: Run) -> BatchNormSaved:
        """Return what x, of which these are the rows, is normalized by, and all that backward needs."""
        constant = not (run.training and self.trainable)
        mean, var = self._running() if constant else self._batch(rows, run)
        return self.normalizing(x, mean, var, len(rows), constant=constant)

    def normalizing(self, x: Array, mean: Array, var: Array, m: int, *, constant: bool) -> BatchNormSaved:
        """Return what backward needs where x is normalized by a mean and a variance."""
        return BatchNormSaved(x, mean, var, 1 / np.sqrt(var + self.epsilon), m, constant)

    def backward(self, dy: Array, saved: BatchNormSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma and dbeta; return ``dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)``."""
        kernels = run.kernels
        backward = kernels.batch_norm_backward_constant if saved.constant else kernels.batch_norm_backward
        gamma, _ = self.scale_and_shift()
        dx, dgamma, dbeta = backward(self.rows(dy), self.rows(saved.x), saved.mean, saved.s, gamma)
        self.accumulate(dgamma, dbeta)
        return self.unrows(dx, dy.shape) if need_dx else None

    def accumulate(self, dgamma: Array, dbeta: Array) -> None:
        """Add to the gradients of gamma and beta, where they are there and trained."""
        if self.trainable:
            for parameter, gradient in ((self.gamma, dgamma), (self.beta, dbeta)):
                if parameter is not None:
                    parameter.accumulate(gradient.reshape(parameter.shape))

    def commit(self, saved: BatchNormSaved) -> None:
        """Move the running statistics: ``running = momentum*running + (1 - momentum)*batch``."""
        m = saved.m
        if saved.constant or m == 0:
            return
        estimate = saved.var * (m / (m - 1)) if self.running_variance == "unbiased" else saved.var
        for running, batch in ((self.running_mean, saved.mean), (self.running_var, estimate)):
            batch = batch.reshape(running.shape)
            running.assign(self.momentum * running.value + (1 - self.momentum) * batch)
        self.updates.assign(self.updates.value + 1)

    def retained(self, saved: BatchNormSaved) -> BatchNormSaved:
        """Return `saved` without x."""
        return saved._replace(x=np.empty(0, saved.x.dtype))

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        return math.prod(shape)

    def _batch(self, rows: Array, run: Run) -> tuple[Array, Array]:
        m, c = rows.shape
        if m == 0:
            return np.zeros(c), np.ones(c)
        if m == 1:
            raise ShapeError(
                self.where,
                expected="at least 2 values per channel in training",
                got="1",
                do="its variance is 0 and the output would not depend on the input: use larger batches or "
                "drop_last=True, freeze() the layer, or normalize over fewer axes",
            )
        statistics: tuple[Array, Array] = run.kernels.batch_norm_statistics(rows)
        return statistics

    def _running(self) -> tuple[Array, Array]:
        if self.updates.value == 0:
            warnings.warn(f"{self.where}: {UNMOVED}", stacklevel=5)
        return self.inference_statistics()

    def inference_statistics(self) -> tuple[Array, Array]:
        """Return copies of the mean and the variance that inference normalizes by, flat, in float64."""
        # copies: what forward saved must not move with a commit that comes before backward
        mean, var = self.running_mean.value.flatten(), self.running_var.value.flatten()
        left = self.momentum ** int(self.updates.value)
        if not self.debias or left == 1:
            return mean, var
        return mean / (1 - left), (var - left) / (1 - left)

    def _kept(self, rank: int) -> tuple[int, ...]:
        """Return the kept axes of an array with batch axis, in order, all positive."""
        axes = self.axis if isinstance(self.axis, tuple | list) else (self.axis,)
        if all(is_integer(a) and -rank <= a < rank for a in axes):
            kept = sorted(a % rank for a in axes)
            if kept and kept[0] > 0 and len(set(kept)) == len(kept):
                return tuple(kept)
        raise ArgumentError(
            f"{self.where} axis",
            expected=f"an axis or several different ones in 1..{rank - 1}, or negative",
            got=repr(self.axis),
            do="axis 0 is the batch",
        )

    def _features(self, shape: Shape) -> Shape:
        return tuple(shape[a - 1] for a in self._kept(len(shape) + 1))

    def _order(self, rank: int) -> tuple[int, ...]:
        kept = self._kept(rank)
        return *(a for a in range(rank) if a not in kept), *kept

    def per_channel(self, shape: Shape) -> bool:
        """Whether of inputs of `shape` the last axis, and no other, keeps statistics of its own."""
        return self._kept(len(shape) + 1) == (len(shape),)

    def rows(self, x: Array) -> Array:
        """Return x as (m, c), the kept axes flattened into columns."""
        order = self._order(x.ndim)
        c = math.prod(x.shape[a] for a in self._kept(x.ndim))
        return x.transpose(order).reshape(x.size // c, c)

    def unrows(self, rows: Array, shape: Shape) -> Array:
        """Return (m, c) in `shape` again, which undoes `rows`."""
        order = self._order(len(shape))
        inverse = sorted(range(len(order)), key=order.__getitem__)
        return rows.reshape([shape[a] for a in order]).transpose(inverse)

    def scale_and_shift(self) -> tuple[Array | None, Array | None]:
        """Return gamma and beta, each as (c,), or None where absent."""
        return _flat(self.gamma), _flat(self.beta)

    def _check_arguments(self) -> None:
        where = self.where
        check_number(where, "momentum", self.momentum, most=1.0)
        check_number(where, "epsilon", self.epsilon, positive=True)
        if self.running_variance not in ("unbiased", "biased"):
            raise ArgumentError(
                f"{where} running_variance",
                expected='"unbiased" or "biased"',
                got=repr(self.running_variance),
            )


def _flat(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.value.reshape(-1)
