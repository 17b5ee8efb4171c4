"""Means over samples that come in batches."""

from __future__ import annotations

from collections.abc import Mapping

from handgrad.train.metrics import Metric, measured
from handgrad.typing import Array, Config


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
        """Add a batch: its mean loss, and each metric of its outputs and labels."""
        self.count(loss, len(z), measured(self.metrics, z, y))

    def count(self, loss: float, n: int, sums: Mapping[str, float]) -> None:
        """Add a batch of n samples: its mean loss, and the sum of each metric over them."""
        self.samples += n
        self.sums["loss"] += n * loss
        for name, total in sums.items():
            self.sums[name] += total

    def means(self) -> dict[str, float]:
        """Return the means; NaN before the first batch."""
        n = self.samples
        return {name: total / n if n else float("nan") for name, total in self.sums.items()}

    def state(self) -> Config:
        """Return the sums."""
        return {"samples": self.samples, "sums": dict(self.sums)}

    def load_state(self, state: Config) -> None:
        """Go on from there; a metric that was not measured so far is NaN if there were samples."""
        self.samples, sums = state["samples"], state["sums"]
        missing = float("nan") if self.samples else 0.0
        self.sums = {"loss": sums["loss"], **{name: sums.get(name, missing) for name in self.metrics}}
