"""Batch normalization."""

from __future__ import annotations

import math
from dataclasses import KW_ONLY, dataclass, replace
from typing import Any, TypeAlias

import numpy as np

from handgrad.arguments import check_count, check_number
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.axes import from_rows, kept_axes, put_chosen, rows_that_count, to_rows
from handgrad.layers.batch_statistics import (
    BatchNormSaved,
    GhostSaved,
    Moments,
    gathered,
    ghosts,
    gradients,
    moments,
    pooled,
    renormalization,
)
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.layers.running_statistics import RunningStatistics, warn_of_unmoved
from handgrad.typing import Array, Config, Shape

Saved: TypeAlias = BatchNormSaved | GhostSaved


@dataclass(eq=False)
class BatchNormalization(RunningStatistics, Layer):
    r"""Batch normalization.

    Parameters
    ----------
    axis : int or tuple of int, default -1
        The axes that keep statistics of their own, the batch being axis 0: -1 is per channel, (1, 2, 3) per
        feature of an image. Mean and variance are taken over all others.
    momentum : float or None, default 0.99
        Weight of the old running statistics, ``running = momentum*running + (1 - momentum)*batch`` (Keras'
        convention; PyTorch's momentum is one minus this). None for the plain mean over all updates.
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
    use_batch_statistics : bool, default True
        Whether x is normalized by the batch's statistics in training. If not, by the running ones, which
        backward then takes for the constants they are.
    update_running_statistics : bool, default True
        Whether training moves the running statistics, whichever x is normalized by.
    trainable : bool, default True
        Whether gamma and beta are trained; nothing else. `freeze` turns all three off, so that training
        computes what inference does, and changes nothing; `unfreeze` turns all three on.
    running_statistics : bool, default True
        Whether there are any. Without, inference normalizes by the batch it is given, too: what
        ``model.predict`` returns then depends on its `batch_size`, and on what else is in a batch.
    renorm : (float, float), optional
        Batch renormalization: how large r (or 1/r) and how far from 0 d may be, such as (3.0, 5.0); with
        (1.0, 0.0) it is batch normalization. May be changed while training.
    ghost_size : int, optional
        In training, normalizes parts of this many samples by themselves: as many as there are whole ones, of
        sizes that differ by one at most. None for all samples together.
    on_single : "error" or "running", default "error"
        What one value per channel, whose variance is 0, does where the batch's statistics are used: raise, or
        be normalized by the running statistics, and move nothing.

    Attributes
    ----------
    gamma, beta : Parameter
        Scale and shift, of the shape of the kept axes; 1 and 0 at first, and not decayed. Absent without
        `scale`, `center`.
    running_mean, running_var : Buffer, float64
        What inference normalizes by. float64 because at a mean of 1e6 the nearest float32 is up to 0.03 away.
    updates : Buffer, int64, shape ()
        How often they have been moved. All three are absent without `running_statistics`.

    Raises
    ------
    ShapeError
        Where the batch's statistics are used, when there is one value per channel: its variance is 0 and the
        output would be beta whatever came. When the run's mask does not fit the input.

    Warns
    -----
    UserWarning
        In inference, when the running statistics are still those that they began with; a model warns once of
        all such layers. In `commit`, when a batch's mean or
        variance is not finite: it moves nothing.

    Notes
    -----
    Over the m values of a channel in the batch,

    .. math::
        \mu = \frac1m \sum_i x_i, \qquad
        \sigma^2 = \frac1m \sum_i (x_i - \mu)^2, \qquad
        s = \frac{1}{\sqrt{\sigma^2 + \epsilon}}, \qquad
        \hat x_i = (x_i - \mu)\,s, \qquad
        y_i = \gamma \hat x_i + \beta

    In inference, and when the layer is frozen, :math:`\mu` and :math:`\sigma^2` are the running ones. What
    every mode and combination of switches does is in :doc:`/batch_normalization`.

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

    **Parts and shares of a batch.** Where mean and variance are of m values that are not just those of x,
    because rows are masked, or other shares of the batch are elsewhere, the sums are over all rows of all
    shares, and a row that is not among the m reaches the loss directly alone. With :math:`w_i` = 1 for those
    that are, and 0 for others,

    .. math:: \dot x_i = \gamma s\,\dot y_i - w_i\,\frac{\gamma s}{m}\,(\dot\beta + \hat x_i\,\dot\gamma)

    which is the backward for constants, and an affine function of :math:`\hat x_i`.

    **Batch renormalization** [2]_. Inference normalizes by :math:`\mu_r,\ \sigma_r`, training by others.
    With :math:`r = \sigma/\sigma_r` and :math:`d = (\mu - \mu_r)/\sigma_r`, both within limits,

    .. math:: y_i = \gamma\,(r\,\hat x_i + d) + \beta = (\gamma r)\,\hat x_i + (\beta + \gamma d)

    which inside the limits is what inference computes. r and d are constants in backward:
    :math:`\dot x_i` is that above with :math:`\gamma r` for :math:`\gamma`, and

    .. math:: \dot\gamma = r \sum_i \dot y_i \hat x_i + d \sum_i \dot y_i

    **Ghost batches** [3]_. Each part is a batch of its own. The running statistics move once, by the mean and
    variance of all samples together.

    With :math:`\dot y = 1` the bracket is zero whatever the code does: check this layer with a random
    upstream gradient. The code is `handgrad.kernels.reference.norm`.

    References
    ----------
    .. [1] S. Ioffe and C. Szegedy, "Batch normalization: accelerating deep network training by reducing
       internal
       covariate shift", ICML 2015.
    .. [2] S. Ioffe, "Batch renormalization: towards reducing minibatch dependence in batch-normalized
       models", NIPS 2017.
    .. [3] E. Hoffer, I. Hubara and D. Soudry, "Train longer, generalize better: closing the generalization
       gap in large batch training of neural networks", NIPS 2017.

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
    momentum: float | None = 0.99
    epsilon: float = 1e-5
    _: KW_ONLY
    center: bool = True
    scale: bool = True
    running_variance: str = "unbiased"
    debias: bool = False
    use_batch_statistics: bool = True
    update_running_statistics: bool = True
    running_statistics: bool = True
    renorm: Any = None
    ghost_size: int | None = None
    on_single: str = "error"

    gamma: Parameter | None = owned()
    beta: Parameter | None = owned()
    running_mean: Buffer = owned()
    running_var: Buffer = owned()
    updates: Buffer = owned()

    @classmethod
    def from_config(cls, config: Config) -> Layer:
        """Return a new layer, not built; where `trainable` alone is known, the other switches are as that."""
        trainable = config.get("trainable", True)
        switches = {"use_batch_statistics": trainable, "update_running_statistics": trainable}
        return super().from_config(switches | config)

    def freeze(self) -> None:
        """Turn all three switches off: training computes what inference does, and changes nothing."""
        self.trainable = self.use_batch_statistics = self.update_running_statistics = False

    def unfreeze(self) -> None:
        """Turn all three switches on."""
        self.trainable = self.use_batch_statistics = self.update_running_statistics = True

    @property
    def plain(self) -> bool:
        """Whether x is normalized all at once, and scaled and shifted by gamma and beta as they are."""
        return self.renorm is None and self.ghost_size is None

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`, once the arguments and the kept axes are found to fit."""
        self._check_arguments()
        features = self._features(shape)
        built = self._features(self.input_shape) if self.built else features
        if features != built:
            kept = " x ".join(map(str, built))
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
        if self.running_statistics:
            init.check_size("running_mean", features)
            self.running_mean = Buffer(np.zeros(features), name="running_mean")
            self.running_var = Buffer(np.ones(features), name="running_var", limits=(0, np.inf))
            self.updates = Buffer(np.zeros((), np.int64), name="updates", limits=(0, 2**62))

    def forward(self, x: Array, run: Run) -> tuple[Array, Saved]:
        """Return ``y = gamma*xhat + beta``, by the batch's statistics in training, else the running ones."""
        self.check_input(x)
        if self.ghost_size is not None and run.training and self.use_batch_statistics:
            return self._forward_of_ghosts(x, run)
        rows = self.rows(x)
        saved = self.measure(x, rows, run)
        y = run.kernels.batch_norm(rows, saved.mean, saved.s, *self.affine(saved))
        return self.unrows(y, x.shape), saved

    def measure(self, x: Array, rows: Array, run: Run, batch: Moments | None = None) -> BatchNormSaved:
        """Return what x, of which these are the rows, is normalized by, and all that backward needs.

        `batch` is given where the moments of the rows are known.
        """
        mask = by = None
        if self.measures(run):
            mask = None if run.mask is None else self._counting(run.mask, x)
            batch = batch or moments(rows, mask, run.kernels)
            batch = batch if run.comm is None else gathered(batch, run.comm)
            by = batch if self.by_batch(run) else None
        if by is None:
            if run.node is None:  # a model warns itself, once for all its layers
                warn_of_unmoved((self,))
            mean, var = self.inference_statistics()
        elif by.m == 0:
            mean, var = np.zeros_like(by.mean), np.ones_like(by.var)
        elif by.m == 1:
            mean, var = self._instead_of_one(run)
        else:
            mean, var = by.mean, by.var
        s = 1 / np.sqrt(var + self.epsilon)
        if by is None or by.m < 2:
            return BatchNormSaved(x, mean, var, s, len(rows), True, batch)
        renorm = self._renormalization(by, run)
        return BatchNormSaved(x, mean, var, s, by.m, False, batch, renorm, mask, run.comm is not None)

    def backward(self, dy: Array, saved: Saved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma and dbeta; return ``dx = gamma*s*(dy - (dbeta + xhat*dgamma)/m)``."""
        if isinstance(saved, GhostSaved):
            return self._backward_of_ghosts(dy, saved, run, need_dx=need_dx)
        self.check_gradient(dy, saved.x.shape, saved.x.dtype)
        dx, dgamma, dbeta = self._gradients(dy, saved, run)
        self.accumulate(dgamma, dbeta)
        return dx if need_dx else None

    def _gradients(self, dy: Array, saved: BatchNormSaved, run: Run) -> tuple[Array, Array, Array]:
        """Return dx, dgamma and dbeta."""
        kernels, (gamma, _) = run.kernels, self.affine(saved)
        dx, dgamma, dbeta = gradients(
            kernels.batch_norm_backward,
            kernels.batch_norm_backward_constant,
            (self.rows(dy), self.rows(saved.x)),
            (saved.mean, saved.s, gamma),
            saved,
        )
        dx = self.through_statistics(dx, dgamma, dbeta, saved, run)
        if saved.renorm is not None:
            r, d = saved.renorm
            dgamma = (r * dgamma + d * dbeta).astype(dgamma.dtype)
        return self.unrows(dx, dy.shape), dgamma, dbeta

    def through_statistics(
        self, dx: Array, dgamma: Array, dbeta: Array, saved: BatchNormSaved, run: Run
    ) -> Array:
        """Return ``dx - w*gamma*s*(dbeta + xhat*dgamma)/m``, with the sums of all shares, and w the mask.

        Only where there are other shares, for which `dx` is that for constants.
        """
        if not saved.shared:
            return dx
        assert run.comm is not None
        dtype = dgamma.dtype
        both = np.concatenate([dgamma, dbeta]).astype(np.float64)
        dgamma, dbeta = np.split(sum(run.comm.all_gather(both)), 2)
        gamma, _ = self.affine(saved)
        k = (-saved.s if gamma is None else -saved.s * gamma) / saved.m
        scale, shift = ((k * a).astype(dtype) for a in (dgamma, dbeta))
        term = run.kernels.batch_norm(self.rows(saved.x), saved.mean, saved.s, scale, shift)
        if saved.mask is not None:
            put_chosen(term, ~saved.mask, 0)
        total: Array = run.kernels.add(dx, term)
        return total

    def accumulate(self, dgamma: Array, dbeta: Array) -> None:
        """Add to the gradients of gamma and beta, where they are there and trained."""
        if self.trainable:
            for parameter, gradient in ((self.gamma, dgamma), (self.beta, dbeta)):
                if parameter is not None:
                    parameter.accumulate(gradient.reshape(parameter.shape))

    def retained(self, saved: Saved) -> Saved:
        """Return `saved` without x."""
        if isinstance(saved, GhostSaved):
            return GhostSaved((), saved.batch)
        return saved.retained()

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        return math.prod(shape)

    def measures(self, run: Run) -> bool:
        """Whether statistics of the batch are taken: to normalize by, or to move the running ones by."""
        moves = run.training and self.running_statistics and self.update_running_statistics
        return moves or self.by_batch(run)

    def by_batch(self, run: Run) -> bool:
        """Whether x is normalized by the batch's statistics."""
        return not self.running_statistics or (run.training and self.use_batch_statistics)

    def _renormalization(self, batch: Moments, run: Run) -> tuple[Array, Array] | None:
        # before the first update there is nothing to come near to
        if self.renorm is None or not run.training or self.unmoved:
            return None
        return renormalization(batch, *self.inference_statistics(), self.epsilon, self.renorm)

    def _forward_of_ghosts(self, x: Array, run: Run) -> tuple[Array, GhostSaved]:
        outputs, parts = [], []
        for part in ghosts(len(x), self.ghost_size or 1):
            mask = None if run.mask is None else run.mask[part]
            rows = self.rows(x[part])
            saved = self.measure(x[part], rows, replace(run, mask=mask, comm=None))
            y = run.kernels.batch_norm(rows, saved.mean, saved.s, *self.affine(saved))
            outputs.append(self.unrows(y, x[part].shape))
            parts.append(saved)
        batch = pooled(saved.batch for saved in parts if saved.batch is not None)
        batch = batch if run.comm is None else gathered(batch, run.comm)
        return np.concatenate(outputs), GhostSaved(tuple(parts), batch)

    def _backward_of_ghosts(self, dy: Array, saved: GhostSaved, run: Run, *, need_dx: bool) -> Array | None:
        found, begin, x = [], 0, saved.parts[0].x
        self.check_gradient(dy, (sum(len(part.x) for part in saved.parts), *x.shape[1:]), x.dtype)
        for part in saved.parts:
            end = begin + len(part.x)
            found.append(self._gradients(dy[begin:end], part, run))
            begin = end
        dx, dgamma, dbeta = zip(*found, strict=True)
        self.accumulate(sum(dgamma), sum(dbeta))
        return np.concatenate(dx) if need_dx else None

    def _instead_of_one(self, run: Run) -> tuple[Array, Array]:
        """Return what one value per channel is normalized by."""
        if self.on_single == "running":
            return self.inference_statistics()
        raise ShapeError(
            self.where,
            expected=f"at least 2 values per channel {'in training' if run.training else 'in a batch'}",
            got="1",
            do="its variance is 0 and the output would not depend on the input: use larger batches or "
            'drop_last=True, on_single="running", freeze() the layer, or normalize over fewer axes',
        )

    def _counting(self, mask: Array, x: Array) -> Array | None:
        return rows_that_count(mask, x.shape, self._kept(x.ndim), self.where)

    def _kept(self, rank: int) -> tuple[int, ...]:
        last = type(self.axis) is int and self.axis == -1  # as nearly always, and in no time
        return (rank - 1,) if last else kept_axes(self.axis, rank, self.where)

    def _features(self, shape: Shape) -> Shape:
        return tuple(shape[a - 1] for a in self._kept(len(shape) + 1))

    def per_channel(self, shape: Shape) -> bool:
        """Whether of inputs of `shape` the last axis, and no other, keeps statistics of its own."""
        return self._kept(len(shape) + 1) == (len(shape),)

    def rows(self, x: Array) -> Array:
        """Return x as (m, c), the kept axes flattened into columns."""
        return to_rows(x, self._kept(x.ndim))

    def unrows(self, rows: Array, shape: Shape) -> Array:
        """Return (m, c) in `shape` again, which undoes `rows`."""
        return from_rows(rows, shape, self._kept(len(shape)))

    def scale_and_shift(self) -> tuple[Array | None, Array | None]:
        """Return gamma and beta, each as (c,), or None where absent."""
        return _flat(self.gamma), _flat(self.beta)

    def affine(self, saved: BatchNormSaved) -> tuple[Array | None, Array | None]:
        """Return what multiplies xhat and what is added then: gamma and beta, or those renormalized."""
        gamma, beta = self.scale_and_shift()
        if saved.renorm is None:
            return gamma, beta
        r, d = saved.renorm
        scale, shift = (r, d) if gamma is None else (gamma * r, gamma * d)
        shift = shift if beta is None else shift + beta
        own = [a.dtype for a in (gamma, beta) if a is not None]
        dtype = np.result_type(*own) if own else saved.x.real.dtype
        return scale.astype(dtype), shift.astype(dtype)

    def _check_arguments(self) -> None:
        where = self.where
        if self.momentum is not None:
            check_number(where, "momentum", self.momentum, most=1.0)
        check_number(where, "epsilon", self.epsilon, positive=True)
        if not isinstance(self.running_variance, str) or self.running_variance not in ("unbiased", "biased"):
            raise ArgumentError(
                f"{where} running_variance",
                expected='"unbiased" or "biased"',
                got=repr(self.running_variance),
            )
        if not isinstance(self.on_single, str) or self.on_single not in ("error", "running"):
            raise ArgumentError(
                f"{where} on_single", expected='"error" or "running"', got=repr(self.on_single)
            )
        if self.ghost_size is not None:
            check_count(where, "ghost_size", self.ghost_size)
        if self.renorm is not None:
            _check_limits(f"{where} renorm", self.renorm)
        needs = "renorm" if self.renorm is not None else 'on_single="running"'
        if not self.running_statistics and (self.renorm is not None or self.on_single == "running"):
            raise ArgumentError(
                where, expected=f"running_statistics, which {needs} takes", got="running_statistics=False"
            )


def _flat(parameter: Parameter | None) -> Array | None:
    return None if parameter is None else parameter.value.reshape(-1)


def _check_limits(where: str, limits: Any) -> None:
    if not isinstance(limits, tuple | list) or len(limits) != 2:
        raise ArgumentError(
            where, expected="two numbers, how large r and how far from 0 d may be", got=repr(limits)
        )
    check_number(where, "the largest r", limits[0], least=1.0)
    check_number(where, "the largest d", limits[1])
