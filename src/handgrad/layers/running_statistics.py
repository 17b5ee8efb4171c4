"""Running statistics: what moves the mean and variance that inference normalizes by, and when."""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.errors import warn
from handgrad.layers.batch_statistics import Moments
from handgrad.layers.parameter import Buffer
from handgrad.typing import Array

_NAMED = 3
"""How many layers a warning about several names."""


class RunningStatistics:
    """What a normalization with running statistics has of them; its arguments are explained there."""

    if TYPE_CHECKING:  # the layer's
        momentum: float | None
        running_variance: str
        debias: bool
        running_statistics: bool
        update_running_statistics: bool
        running_mean: Buffer
        running_var: Buffer
        updates: Buffer

        @property
        def where(self) -> str: ...  # noqa: D102

    def commit(self, saved: Any) -> None:
        """Move the running statistics by the batch's, if these are finite, and of more than one value."""
        batch: Moments | None = saved.batch
        if batch is None or batch.m < 2:
            return
        if self.running_statistics and self.update_running_statistics:
            if (finite := batch.finite()).all():
                self.move(batch)
            else:
                warnings.warn(f"{self.where}: {_not_finite(finite)}", stacklevel=2)

    def move(self, batch: Moments) -> None:
        """Let ``running = momentum*running + (1 - momentum)*batch``, or the mean of all batches so far."""
        updates = int(self.updates.value)
        momentum = updates / (updates + 1) if self.momentum is None else self.momentum
        estimates = batch.mean, batch.variance(self.running_variance)
        for running, estimate in zip((self.running_mean, self.running_var), estimates, strict=True):
            estimate = estimate.reshape(running.shape)
            running.assign(momentum * running.value + (1 - momentum) * estimate)
        self.updates.assign(self.updates.value + 1)

    def inference_statistics(self) -> tuple[Array, Array]:
        """Return copies of the mean and the variance that inference normalizes by, flat, in float64."""
        # copies: what forward saved must not move with a commit that comes before backward
        mean, var = self.running_mean.value.flatten(), self.running_var.value.flatten()
        left = self._left()
        return (mean / (1 - left), (var - left) / (1 - left)) if left else (mean, var)

    def set_inference_statistics(self, mean: Array, var: Array) -> None:
        """Set the running statistics to what makes inference normalize by `mean` and `var`."""
        self.updates.assign(np.maximum(self.updates.value, 1))
        left = self._left()
        self.running_mean.assign((1 - left) * mean.reshape(self.running_mean.shape))
        self.running_var.assign((1 - left) * var.reshape(self.running_var.shape) + left)

    @property
    def unmoved(self) -> bool:
        """Whether the running statistics are still those that they began with: neither moved nor loaded."""
        mean, var = self.running_mean.value, self.running_var.value
        return not (self.updates.value or mean.any() or (var != 1).any())

    def _left(self) -> float:
        """Return the share of what the running statistics began with that inference is to leave out."""
        left = 0.0 if self.momentum is None else self.momentum ** int(self.updates.value)
        return left if self.debias and left < 1 else 0.0


def warn_of_unmoved(layers: Iterable[RunningStatistics]) -> None:
    """Warn, once for all, of the layers whose running statistics are still those that they began with."""
    unmoved = list({id(layer): layer for layer in layers if layer.unmoved}.values())
    if not unmoved:
        return
    where, are, by = unmoved[0].where, "are", "commit(saved)"
    if len(unmoved) > 1:
        names = ", ".join(layer.where.partition(" ")[0] for layer in unmoved[:_NAMED])
        rest = f" and {len(unmoved) - _NAMED} more" if len(unmoved) > _NAMED else ""
        where, are, by = f"{len(unmoved)} layers", f"of {names}{rest} are", "commit(trace)"
    warn(f"{where}: the running statistics {are} still mean 0 and variance 1: they move in training, by {by}")


def _not_finite(finite: Array) -> str:
    """Say in which channels a batch's mean or variance is not finite."""
    channels = np.flatnonzero(~finite)
    named = ", ".join(map(str, channels[:8])) + (
        f" and {len(channels) - 8} more" if len(channels) > 8 else ""
    )
    plural = "s" if len(channels) > 1 else ""
    return (
        f"the batch's mean or variance is not finite in channel{plural} {named}; "
        "the running statistics stay as they were"
    )
