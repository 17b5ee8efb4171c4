"""Means over samples that come in batches."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from handgrad.errors import ShapeError
from handgrad.train.metrics import Metric
from handgrad.typing import Array, Config, is_bfloat16


class Totals:
    """Sums of the loss and of metrics over the samples seen so far; `means` divides.

    Parameters
    ----------
    metrics : mapping of str to Metric
        What is measured besides the loss.
    """

    def __init__(self, metrics: Mapping[str, Metric]) -> None:
        self.metrics = metrics
        self.samples = 0
        self.sums = dict.fromkeys(("loss", *metrics), 0.0)

    def add(self, loss: float, z: Array, y: Array) -> None:
        """Add a batch: its mean loss, and each metric of its outputs, bfloat16 widened, and labels."""
        n = len(z)
        z = z.astype(np.float32) if is_bfloat16(z) else z
        self.samples += n
        self.sums["loss"] += n * loss
        for name, metric in self.metrics.items():
            each = np.asarray(metric(z, y))
            if each.shape != (n,):
                raise ShapeError(
                    f"metric {name}", expected=f"a number for each of {n} samples", got=f"shape {each.shape}"
                )
            self.sums[name] += float(np.sum(each, dtype=np.float64))

    def means(self) -> dict[str, float]:
        """Return the means; NaN before the first batch."""
        n = self.samples
        return {name: total / n if n else float("nan") for name, total in self.sums.items()}

    def state(self) -> Config:
        """Return the sums."""
        return {"samples": self.samples, "sums": dict(self.sums)}

    def load_state(self, state: Config) -> None:
        """Go on from there."""
        self.samples, self.sums = state["samples"], dict(state["sums"])
