"""Layers of handgrad's own kind that only this package needs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad import layers
from handgrad.errors import ShapeError
from handgrad.layers import Initializer, Layer, Run
from handgrad.layers.batch_statistics import Moments
from handgrad.layers.pool import ShapeSaved
from handgrad.rng import Stream
from handgrad.typing import Array, Shape

TO_CHANNELS_LAST = (1, 2, 0)
TO_CHANNELS_FIRST = (2, 0, 1)


@dataclass(frozen=True)
class FanInUniform(Initializer):
    """Uniform on +-1/(2*sqrt(fan_in)): half as wide as ML-From-Scratch's dense layers began.

    Its programs hand in pixels as they are, and normalize every pixel by itself: wide first weights make much
    of pixels that are almost always 0. On its digits network half the width is worth 0.1 to 0.3 % of
    accuracy. Its convolutions left the input channels out of the fan-in; here they count.
    """

    def __call__(self, rng: Stream, shape: Shape, fans: tuple[int, int], dtype: np.dtype[Any]) -> Array:
        """Return a uniform array."""
        limit = 0.5 / math.sqrt(fans[0])
        return rng.uniform(shape, -limit, limit, dtype)


@dataclass(eq=False)
class Transpose(Layer):
    r"""The axes of every sample in another order.

    Parameters
    ----------
    axes : tuple of int
        Which axis of the input each axis of the output is, the batch not counted: (1, 2, 0) makes
        (height, width, channels) of (channels, height, width).

    Notes
    -----
    :math:`y_{jki} = x_{ijk}`, so :math:`\dot x_{ijk} = \dot y_{jki}`: the gradient is put back in order.
    """

    axes: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """Return `shape` in the new order."""
        if len(shape) != len(self.axes):
            raise ShapeError(self.where, expected=f"inputs of {len(self.axes)} axes", got=f"shape {shape}")
        return tuple(shape[a] for a in self.axes)

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the samples in the new order."""
        self.check_input(x)
        y = _transposed(x, self.axes)
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dy in the old order."""
        self.check_gradient(dy, saved.output, saved.dtype)
        inverse = tuple(self.axes.index(a) for a in range(len(self.axes)))
        return _transposed(dy, inverse) if need_dx else None


@dataclass(eq=False)
class BatchNormalization(layers.BatchNormalization):
    """Batch normalization whose running statistics begin as those of the first batch.

    ``running = momentum*running + (1 - momentum)*batch`` from the second batch on, so that inference is right
    from the first step on and does not remember a mean of 0 and a variance of 1 that no data had.
    """

    def move(self, batch: Moments) -> None:
        """Move the running statistics; the first ones are taken as they are."""
        if not self.unmoved:
            super().move(batch)
            return
        self.running_mean.assign(batch.mean.reshape(self.running_mean.shape))
        self.running_var.assign(batch.var.reshape(self.running_var.shape))
        self.updates.assign(self.updates.value + 1)


def _transposed(x: Array, axes: tuple[int, ...]) -> Array:
    """Return (n, ...) with the axes after the first in another order, contiguous."""
    return np.ascontiguousarray(x.transpose(0, *(a + 1 for a in axes)))
