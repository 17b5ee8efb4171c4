"""Layers made of layers, which compute at once what these compute one after the other.

They hold nothing of their own: parameters, buffers, name and whether they are trained are those of the layers
they are made of. `handgrad.graph.fuse` puts them where these stood.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

from handgrad.errors import ShapeError
from handgrad.layers.layer import Layer, Merge, Run
from handgrad.layers.norm import BatchNormalization, BatchNormSaved
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.typing import Array, Config, Shape


def _shared(name: str) -> Any:
    """Return a property that is the normalization's attribute."""

    def get(layer: FusedNormalization) -> Any:
        return getattr(layer.normalization, name)

    def set_(layer: FusedNormalization, value: Any) -> None:
        setattr(layer.normalization, name, value)

    return property(get, set_)


class FusedNormalization(Layer):
    """What a normalization fused with what follows it has of the normalization.

    Parameters
    ----------
    normalization : BatchNormalization
        Built or not. All that this layer has is its.
    """

    def __init__(self, normalization: BatchNormalization) -> None:
        self.normalization = normalization

    name = _shared("name")
    path = _shared("path")
    trainable = _shared("trainable")

    @property
    def built(self) -> bool:
        """Whether the normalization is."""
        return self.normalization.built

    @property
    def where(self) -> str:
        """How error messages name this layer: as the normalization."""
        return self.normalization.where

    def parameters(self) -> dict[str, Parameter]:
        """Return those of the normalization."""
        return self.normalization.parameters()

    def buffers(self) -> dict[str, Buffer]:
        """Return those of the normalization."""
        return self.normalization.buffers()

    def config(self) -> Config:
        """Return the normalization's arguments."""
        return {"normalization": self.normalization.config()}

    @classmethod
    def from_config(cls, config: Config) -> Layer:
        """Return a new layer, not built, from `config`."""
        normalization = BatchNormalization.from_config(config["normalization"])
        assert isinstance(normalization, BatchNormalization)
        return cls(normalization)


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

    def forward(self, x: Array, run: Run) -> tuple[Array, BatchNormSaved]:
        """Return ``y = max(gamma*xhat + beta, 0)``."""
        self.check_input(x)
        bn = self.normalization
        rows = bn.rows(x)
        saved = bn.measure(x, rows, run)
        y = run.kernels.batch_norm_relu(rows, saved.mean, saved.s, *bn.scale_and_shift())
        return bn.unrows(y, x.shape), saved

    def backward(self, dy: Array, saved: BatchNormSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dgamma and dbeta; return dx. Where y was positive is computed from x."""
        bn = self.normalization
        dx, dgamma, dbeta = _backward(saved, run)(
            bn.rows(dy), bn.rows(saved.x), None, saved.mean, saved.s, *bn.scale_and_shift()
        )
        bn.accumulate(dgamma, dbeta)
        return bn.unrows(dx, dy.shape) if need_dx else None

    def commit(self, saved: BatchNormSaved) -> None:
        """Move the normalization's running statistics."""
        self.normalization.commit(saved)

    def retained(self, saved: BatchNormSaved) -> BatchNormSaved:
        """Return `saved` without x."""
        return self.normalization.retained(saved)

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        return self.normalization.multiply_adds(shape)


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

    def forward(self, x: tuple[Array, ...], run: Run) -> tuple[Array, BatchNormAddSaved]:
        """Return ``y = max(gamma*xhat + beta + r, 0)``."""
        self.check_input(x)
        bn, (x0, r) = self.normalization, x
        rows = bn.rows(x0)
        saved = bn.measure(x0, rows, run)
        y = run.kernels.batch_norm_relu(rows, saved.mean, saved.s, *bn.scale_and_shift(), bn.rows(r))
        y = bn.unrows(y, x0.shape)
        return y, BatchNormAddSaved(saved, y)

    def backward(
        self, dy: Array, saved: BatchNormAddSaved, run: Run, *, need_dx: bool = True
    ) -> tuple[Array, ...] | None:
        """Accumulate dgamma and dbeta; return dx and ``dr = dy*[y > 0]``."""
        bn, (of_bn, y) = self.normalization, saved
        dx, dgamma, dbeta, dr = _backward(of_bn, run)(
            bn.rows(dy), bn.rows(of_bn.x), bn.rows(y), of_bn.mean, of_bn.s, *bn.scale_and_shift()
        )
        bn.accumulate(dgamma, dbeta)
        return (bn.unrows(dx, dy.shape), bn.unrows(dr, dy.shape)) if need_dx else None

    def commit(self, saved: BatchNormAddSaved) -> None:
        """Move the normalization's running statistics."""
        self.normalization.commit(saved.normalization)

    def retained(self, saved: BatchNormAddSaved) -> BatchNormAddSaved:
        """Return `saved` without x and y."""
        return BatchNormAddSaved(self.normalization.retained(saved.normalization), saved.y[:0].copy())

    def multiply_adds(self, shape: tuple[Shape, ...]) -> int:
        """Return two for every number."""
        return self.normalization.multiply_adds(shape[0]) + math.prod(shape[0])


def _backward(saved: BatchNormSaved, run: Run) -> Any:
    """Return the kernel, by whether mean and variance were constants."""
    kernels = run.kernels
    return kernels.batch_norm_relu_backward_constant if saved.constant else kernels.batch_norm_relu_backward
