"""Metrics: how good the outputs are, in numbers people read."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.typing import Array


@dataclass(frozen=True)
class Accuracy:
    """Whether the largest output is the label's class; with one output, whether its sign says the label.

    Labels are integers (n,), or one-hot (n, classes). An output that is NaN is never right.
    """

    name: str = "accuracy"

    def __call__(self, z: Array, y: Array) -> Array:
        """Return 0 or 1 for every sample."""
        if z.ndim == 1 or z.shape[-1] == 1:
            logit = z.reshape(-1)
            right: Array = ((logit > 0) == (y.reshape(-1) > 0.5)) & ~np.isnan(logit)
        else:
            right = (np.argmax(z, axis=-1) == _classes(z, y)) & ~np.isnan(z).any(axis=-1)
        return right


@dataclass(frozen=True)
class TopKAccuracy:
    """Whether the label's class is among the `k` largest outputs; of equal ones the first count."""

    k: int = 5

    @property
    def name(self) -> str:
        """``"top5_accuracy"``."""
        return f"top{self.k}_accuracy"

    def __call__(self, z: Array, y: Array) -> Array:
        """Return 0 or 1 for every sample."""
        label = _classes(z, y)[..., None]
        own = np.take_along_axis(z, label, axis=-1)
        ahead = (z > own) | ((z == own) & (np.arange(z.shape[-1]) < label))
        right: Array = (ahead.sum(axis=-1) < self.k) & ~np.isnan(z).any(axis=-1)
        return right


@dataclass(frozen=True)
class MeanAbsoluteError:
    """Distance of the outputs from the targets."""

    name: str = "mean_absolute_error"

    def __call__(self, z: Array, y: Array) -> Array:
        """Return the mean over the outputs of every sample."""
        distance: Array = np.abs(z - y.reshape(z.shape)).reshape(len(z), -1).mean(axis=1)
        return distance


Metric: TypeAlias = Callable[[Array, Array], Array]
"""A function of outputs and labels that returns a number for every sample; its name names it."""

METRICS: dict[str, Metric] = {
    "accuracy": Accuracy(),
    "top5_accuracy": TopKAccuracy(5),
    "mean_absolute_error": MeanAbsoluteError(),
}


def get_metrics(metrics: Any) -> dict[str, Metric]:
    """Return metrics by name, from names and functions.

    Raises
    ------
    ArgumentError
        If there is none of a name, or two have the same.
    """
    found: dict[str, Metric] = {}
    several = isinstance(metrics, Iterable) and not isinstance(metrics, str)
    for metric in metrics if several else [metrics]:
        if not (callable(metric) or (isinstance(metric, str) and metric in METRICS)):
            names = ", ".join(METRICS)
            raise ArgumentError("metrics", expected=f"one of {names} or a function", got=repr(metric))
        name = _name(metric)
        if name in found or name == "loss":
            raise ArgumentError(
                "metrics",
                expected="a name for each, other than loss",
                got=f"{name} again",
                do="give the function another name",
            )
        found[name] = metric if callable(metric) else METRICS[metric]
    return found


def _name(metric: Any) -> str:
    if isinstance(metric, str):
        return metric
    return str(getattr(metric, "name", None) or getattr(metric, "__name__", type(metric).__name__))


def _classes(z: Array, y: Array) -> Array:
    """Return labels as class numbers of the shape of z without its last axis."""
    return np.argmax(y, axis=-1) if y.shape == z.shape else y.reshape(z.shape[:-1])
