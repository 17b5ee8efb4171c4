"""The losses; `NeuralNetwork` takes them as classes, or as objects."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgrad import losses
from handgrad.errors import BuildError, DataError, ShapeError
from handgrad.kernels import Kernels
from handgrad.typing import Array, Shape

__all__ = ["CrossEntropy", "Loss", "SquareLoss"]


class Loss:
    """What the losses share."""

    def after(self, activation: str | None) -> tuple[losses.Loss, bool]:
        """Return handgrad's loss for networks that end with an activation, and whether it takes its input.

        Parameters
        ----------
        activation : str or None
            The name of the last layer's activation; None if it is no activation.
        """
        raise NotImplementedError


class SquareLoss(Loss):
    """Half the squared difference of outputs and targets, mean over all outputs.

    Notes
    -----
    ``L = 1/2 * mean((y - y_pred)**2)``, and the gradient is that of this mean: a learning rate means the same
    for every batch size.
    """

    def after(self, activation: str | None) -> tuple[losses.Loss, bool]:
        """Return half the mean squared error, of the network's outputs."""
        return HalfSquaredError(), False


class CrossEntropy(Loss):
    """Cross entropy of the probabilities that a softmax or sigmoid at the end of the network gives.

    Notes
    -----
    After a softmax it is ``-sum(y*log(p))`` over the classes, mean over samples (and steps of a sequence);
    after a sigmoid ``-y*log(p) - (1 - y)*log(1 - p)``, mean over all outputs. Both are computed from what the
    activation is given: nothing overflows, no probability is clipped, and a wrong sample has the greater a
    gradient the more confident the network is. The gradient is that of the mean.
    """

    def after(self, activation: str | None) -> tuple[losses.Loss, bool]:
        """Return the loss of what a softmax or sigmoid is given; raise BuildError after anything else."""
        if activation == "softmax":
            return SoftmaxCrossEntropy(), True
        if activation == "sigmoid":
            return losses.BinaryCrossEntropy(), True
        raise BuildError(
            "CrossEntropy",
            expected="a network that ends with Activation('softmax') or Activation('sigmoid')",
            got=f"Activation({activation!r})" if activation else "one without activation at its end",
            do="its outputs are no probabilities: add one, or use SquareLoss",
        )


@dataclass(frozen=True)
class HalfSquaredError(losses.MeanSquaredError):
    """``L = 1/2 * mean((z - t)**2)``, ``dz = (z - t)/m`` over all m outputs."""

    @property
    def where(self) -> str:
        """``"SquareLoss"``."""
        return "SquareLoss"

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value and the gradient."""
        value, dz = super().compute(z, y, kernels)
        return value / 2, dz / 2


@dataclass(frozen=True)
class SoftmaxCrossEntropy(losses.Loss):
    """``L = -sum(t*log(softmax(z)))`` over the last axis, mean over all others.

    Targets are class numbers, of the logits' shape without its last axis, or rows: one-hot, probabilities,
    several classes marked (their logarithms are added), or none (the row counts as 0).
    """

    @property
    def where(self) -> str:
        """``"CrossEntropy"``."""
        return "CrossEntropy"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise unless targets fit logits of `z_shape`; see `handgrad.losses.Loss.check`."""
        y, shape = np.asarray(y), tuple(z_shape)
        if y.shape == shape[:-1]:
            losses.CrossEntropy().check((y.size, shape[-1]), y.reshape(-1))
        elif y.shape != shape:
            raise ShapeError(
                self.where,
                expected=f"one-hot labels of the outputs' shape {shape}",
                got=f"{y.shape}",
                do="to_categorical(y, n_col) makes them of class numbers",
            )
        elif y.dtype.kind not in "biuf" or not np.all((y >= 0) & (y < np.inf)):
            raise DataError(self.where, expected="finite labels of at least 0", got="others")

    def compute(self, z: Array, y: Array, kernels: Kernels) -> tuple[Array, Array]:
        """Return the value and the gradient."""
        rows = z.reshape(-1, z.shape[-1])
        value, dz = kernels.softmax_cross_entropy(rows, y.reshape(rows.shape if y.ndim == z.ndim else -1))
        return value, dz.reshape(z.shape)
