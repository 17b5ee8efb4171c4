"""Batch normalization fused with what follows it."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from handgrad.errors import BuildError, ShapeError
from handgrad.layers.batch_statistics import BatchNormSaved, Moments, gradients
from handgrad.layers.fused import Fused, Measured, Normalized
from handgrad.layers.layer import Merge, Run
from handgrad.layers.norm import BatchNormalization
from handgrad.layers.parameter import Init
from handgrad.typing import Array, Shape


class FusedNormalization(Fused):
    """What a normalization fused with what follows it has of the normalization.

    Parameters
    ----------
    layer : BatchNormalization
        Built or not. All that this layer has is its.
    """

    kind = BatchNormalization

    @property
    def normalization(self) -> BatchNormalization:
        """The normalization."""
        assert isinstance(self.layer, BatchNormalization)
        return self.layer

    def commit(self, saved: Any) -> None:
        """Move the normalization's running statistics."""
        self.normalization.commit(saved)

    def measure(self, x: Array | Measured, run: Run) -> BatchNormSaved:
        """Return what x is normalized by, its statistics being taken where they are not known."""
        bn = self.normalization
        if not bn.plain:
            raise BuildError(
                bn.where,
                expected="renorm and ghost_size to be None, as when the model was fused",
                got=f"renorm={bn.renorm}, ghost_size={bn.ghost_size}",
                do="make a new Trainer, or set them before the first",
            )
        if isinstance(x, Measured):
            rows = bn.rows(x.x)
            return bn.measure(x.x, rows, run, Moments(len(rows), x.mean, x.var))
        return bn.measure(x, bn.rows(x), run)


class BatchNormalizationReLU(FusedNormalization):
    r"""Batch normalization and ReLU.

    .. math:: y = \max(\gamma\,\hat x + \beta, 0)
    """

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape`."""
        return self.normalization.output_shape(shape)

    def create(self, shape: Shape, init: Init) -> None:
        """Build the normalization."""
        self.normalization.build(shape, init)

    def forward(self, x: Array | Measured, run: Run) -> tuple[Any, BatchNormSaved]:
        """Return ``y = max(gamma*xhat + beta, 0)``."""
        self.check_input(x.x if isinstance(x, Measured) else x)
        bn, saved = self.normalization, self.measure(x, run)
        y = run.kernels.batch_norm_relu(bn.rows(saved.x), saved.mean, saved.s, *bn.scale_and_shift())
        return bn.unrows(y, saved.x.shape), saved

    def backward(self, dy: Array, saved: BatchNormSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma and dbeta; return dx. Where y was positive is computed from x."""
        bn = self.normalization
        self.check_gradient(dy, saved.x.shape, saved.x.dtype)
        dx, dgamma, dbeta = _backward(bn, dy, None, saved, run)
        dx = bn.through_statistics(dx, dgamma, dbeta, saved, run)
        bn.accumulate(dgamma, dbeta)
        return bn.unrows(dx, dy.shape) if need_dx else None

    def retained(self, saved: BatchNormSaved) -> BatchNormSaved:
        """Return `saved` without x."""
        return saved.retained()

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        return self.normalization.multiply_adds(shape)


class DeferredBatchNormalizationReLU(BatchNormalizationReLU):
    """Batch normalization and ReLU, of which the convolution that takes them computes as much as it reads."""

    def forward(self, x: Array | Measured, run: Run) -> tuple[Any, BatchNormSaved]:
        """Return what is to be computed, as `Normalized`."""
        self.check_input(x.x if isinstance(x, Measured) else x)
        saved = self.measure(x, run)
        return Normalized(saved.x, saved.mean, saved.s, *self.normalization.scale_and_shift()), saved


class BatchNormAddSaved(NamedTuple):
    """What backward and commit of a batch normalization with a residual need."""

    normalization: BatchNormSaved
    y: Array


class BatchNormalizationAddReLU(FusedNormalization, Merge):
    r"""Batch normalization of the first input, the second added to it, and ReLU.

    .. math:: y = \max(\gamma\,\hat x + \beta + r, 0)
    """

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the shape that both inputs have."""
        if len(shape) != 2 or shape[0] != shape[1]:
            raise ShapeError(
                self.where, expected="two inputs of one shape", got=" and ".join(map(str, shape))
            )
        return self.normalization.output_shape(shape[0])

    def create(self, shape: tuple[Shape, ...], init: Init) -> None:
        """Build the normalization."""
        self.normalization.build(shape[0], init)

    def forward(self, x: tuple[Array | Measured, Array], run: Run) -> tuple[Array, BatchNormAddSaved]:
        """Return ``y = max(gamma*xhat + beta + r, 0)``."""
        bn, (x0, r) = self.normalization, x
        self.check_input((x0.x if isinstance(x0, Measured) else x0, r))
        saved = self.measure(x0, run)
        rows = bn.rows(saved.x)
        y = run.kernels.batch_norm_relu(rows, saved.mean, saved.s, *bn.scale_and_shift(), bn.rows(r))
        y = bn.unrows(y, saved.x.shape)
        return y, BatchNormAddSaved(saved, y)

    def backward(
        self, dy: Array, saved: BatchNormAddSaved, run: Run, *, need_dx: bool = True
    ) -> tuple[Array, ...] | None:
        """Accumulate dgamma and dbeta; return dx and ``dr = dy*[y > 0]``."""
        bn, (of_bn, y) = self.normalization, saved
        self.check_gradient(dy, y.shape, y.dtype)
        dx, dgamma, dbeta, dr = _backward(bn, dy, y, of_bn, run)
        dx = bn.through_statistics(dx, dgamma, dbeta, of_bn, run)
        bn.accumulate(dgamma, dbeta)
        return (bn.unrows(dx, dy.shape), bn.unrows(dr, dy.shape)) if need_dx else None

    def commit(self, saved: BatchNormAddSaved) -> None:
        """Move the normalization's running statistics."""
        self.normalization.commit(saved.normalization)

    def retained(self, saved: BatchNormAddSaved) -> BatchNormAddSaved:
        """Return `saved` without x and y."""
        return BatchNormAddSaved(saved.normalization.retained(), saved.y[:0].copy())

    def multiply_adds(self, shape: tuple[Shape, ...]) -> int:
        """Return two for every number."""
        return self.normalization.multiply_adds(shape[0]) + math.prod(shape[0])


def _backward(
    bn: BatchNormalization, dy: Array, y: Array | None, saved: BatchNormSaved, run: Run
) -> tuple[Array, ...]:
    """Return dx, dgamma and dbeta; with y also the gradient that passed."""
    return gradients(
        run.kernels.batch_norm_relu_backward,
        run.kernels.batch_norm_relu_backward_constant,
        (bn.rows(dy), bn.rows(saved.x), None if y is None else bn.rows(y)),
        (saved.mean, saved.s, *bn.scale_and_shift()),
        saved,
    )
