"""Metrics: how good the outputs are, in numbers people read; and which of them fits a loss."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.losses import Loss
from handgrad.losses.cross_entropy import ROW_SUM_TOLERANCE
from handgrad.typing import Array, Shape, is_bfloat16


@dataclass(frozen=True)
class Accuracy:
    """The share of right answers, as the loss means them.

    A `Trainer`, and `evaluate`, put in its place what `accuracy_for` returns for their loss: with binary
    cross entropy `BinaryAccuracy`, with cross entropy `CategoricalAccuracy`. Called directly, where no loss
    is known, it goes by shapes: with one output its sign says the label, of several the largest is the
    label's class.

    Labels are integers (n,), or one-hot (n, classes). An output that is NaN is never right.
    """

    name: str = "accuracy"

    def __call__(self, z: Array, y: Array) -> Array:
        """Return 0 or 1 for every sample."""
        if z.ndim == 1 or z.shape[-1] == 1:
            right: Array = _says(z, _targets(self.name, z.shape, y), 0.0).reshape(-1)
            return right
        return CategoricalAccuracy(self.name)(z, y)


@dataclass(frozen=True)
class BinaryAccuracy:
    """For how many of a sample's labels the output says what is so: above `threshold` for yes.

    Labels have the outputs' shape, and mean yes above 1/2. The mean over the labels of each sample counts, as
    in Keras' ``binary_accuracy``. An output that is NaN is never right.

    Parameters
    ----------
    threshold : float, default 0.0
        0 for logits, whose probability is then above 1/2; 0.5 for probabilities.
    """

    threshold: float = 0.0
    name: str = "accuracy"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise ShapeError if labels do not have the outputs' shape."""
        _targets(self.name, z_shape, y)

    def __call__(self, z: Array, y: Array) -> Array:
        """Return the share of right labels of every sample."""
        right = _says(z, _targets(self.name, z.shape, y), self.threshold)
        shares: Array = right.reshape(len(z), -1).mean(axis=1)
        return shares


@dataclass(frozen=True)
class CategoricalAccuracy:
    """Whether the largest output is the label's class.

    Labels are class numbers, one for each row of outputs, or one-hot, of the outputs' shape. An output that
    is NaN is never right.
    """

    name: str = "accuracy"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise ShapeError if labels are neither class numbers nor one-hot."""
        _check_classes(self.name, z_shape, y)

    def __call__(self, z: Array, y: Array) -> Array:
        """Return 0 or 1 for every row of outputs."""
        right: Array = (np.argmax(z, axis=-1) == _classes(self.name, z, y)) & ~np.isnan(z).any(axis=-1)
        return right


@dataclass(frozen=True)
class TopKAccuracy:
    """Whether the label's class is among the `k` largest outputs; of equal ones the first count."""

    k: int = 5

    @property
    def name(self) -> str:
        """``"top5_accuracy"``."""
        return f"top{self.k}_accuracy"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise ShapeError if labels are neither class numbers nor one-hot."""
        _check_classes(self.name, z_shape, y)

    def __call__(self, z: Array, y: Array) -> Array:
        """Return 0 or 1 for every sample."""
        label = _classes(self.name, z, y)[..., None]
        own = np.take_along_axis(z, label, axis=-1)
        ahead = (z > own) | ((z == own) & (np.arange(z.shape[-1]) < label))
        right: Array = (ahead.sum(axis=-1) < self.k) & ~np.isnan(z).any(axis=-1)
        return right


@dataclass(frozen=True)
class MeanAbsoluteError:
    """Distance of the outputs from the targets, which have the outputs' shape."""

    name: str = "mean_absolute_error"

    def check(self, z_shape: Shape, y: Array) -> None:
        """Raise ShapeError if targets do not have the outputs' shape."""
        _targets(self.name, z_shape, y)

    def __call__(self, z: Array, y: Array) -> Array:
        """Return the mean over the outputs of every sample."""
        distance: Array = np.abs(z - _targets(self.name, z.shape, y)).reshape(len(z), -1).mean(axis=1)
        return distance


Metric: TypeAlias = Callable[[Array, Array], Array]
"""A function of outputs and labels that returns a number for every sample; its name names it."""

_OWN = (BinaryAccuracy, CategoricalAccuracy, TopKAccuracy, MeanAbsoluteError)

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


def metrics_for(
    metrics: Mapping[str, Metric], loss: Loss, output_shape: Shape, labels: Array | None = None
) -> dict[str, Metric]:
    """Return metrics as they fit a loss: in place of `Accuracy` what `accuracy_for` returns.

    Parameters
    ----------
    metrics : mapping of str to Metric
        By name.
    loss : Loss
        What the model is trained with.
    output_shape : tuple of int
        Of the model, without the batch axis.
    labels : (n, ...) array, optional
        All labels, or those of a batch. Without them, what depends on them is left as it is.

    Raises
    ------
    ArgumentError, DataError, ShapeError
        If one of handgrad's own metrics measures nothing there.
    """
    found = dict(metrics)
    for name, metric in metrics.items():
        if type(metric) is Accuracy:
            found[name] = accuracy_for(loss, output_shape, labels) or metric
        if isinstance(metric, TopKAccuracy) and (loss.outputs == "labels" or output_shape[-1:] in ((), (1,))):
            raise ArgumentError(
                f"metric {name}",
                expected="outputs of which the largest is the class",
                got=f"outputs of shape {output_shape} with {loss.where}",
                do='measure "accuracy"',
            )
        own: Any = found[name]
        if labels is not None and isinstance(own, _OWN):
            own.check((len(labels), *output_shape), np.asarray(labels))
    return found


def accuracy_for(loss: Loss, output_shape: Shape, labels: Array | None = None) -> Metric | None:
    """Return the accuracy that fits a loss; None where that depends on labels and none are given.

    Parameters
    ----------
    loss : Loss
        ``loss.outputs`` says what it takes outputs for.
    output_shape : tuple of int
        Of the model, without the batch axis.
    labels : (n, ...) array, optional
        All labels, or those of a batch.

    Returns
    -------
    Metric or None
        With logits of classes (`CrossEntropy`), `CategoricalAccuracy`. With logits of labels
        (`BinaryCrossEntropy`), `BinaryAccuracy` at 0. With other losses the labels decide: class numbers,
        one-hot rows and probabilities mean classes. Labels 0 and 1 of the outputs' shape mean labels, which
        an output of `MeanSquaredError` estimates: above 1/2 for yes; -1 and 1 likewise, above 0. With a loss
        that says nothing of its outputs, and one output, its sign says the label.

    Raises
    ------
    ArgumentError
        If labels are neither classes nor yes and no.

    Examples
    --------
    >>> from handgrad.losses import BinaryCrossEntropy, CrossEntropy, MeanSquaredError
    >>> accuracy_for(BinaryCrossEntropy(), (3,))
    BinaryAccuracy(threshold=0.0, name='accuracy')
    >>> accuracy_for(CrossEntropy(), (3,))
    CategoricalAccuracy(name='accuracy')
    >>> accuracy_for(MeanSquaredError(), (3,), np.eye(3))
    CategoricalAccuracy(name='accuracy')
    """
    if loss.outputs == "labels":
        return BinaryAccuracy()
    if loss.outputs == "classes":
        return CategoricalAccuracy()
    if labels is None:
        return None
    labels, classes = np.asarray(labels), output_shape[-1:] not in ((), (1,))
    z_shape = (len(labels), *output_shape)
    whole = _as_outputs(z_shape, labels)
    if classes and whole is None and labels.dtype.kind in "iu" and _are_numbers_of_classes(z_shape, labels):
        return CategoricalAccuracy()
    if whole is not None and classes and _are_probabilities(whole):
        return CategoricalAccuracy()
    if whole is not None and loss.outputs == "numbers":
        if _are_among(whole, 0, 1):
            return BinaryAccuracy(0.5)
        if _are_among(whole, -1, 1):
            return BinaryAccuracy(0.0)
    if whole is not None and not classes and (_are_among(whole, 0, 1) or _are_among(whole, -1, 1)):
        return BinaryAccuracy(0.0)
    raise ArgumentError(
        "metric accuracy",
        expected=f"labels of classes, or labels 0 and 1, for outputs {output_shape} of {loss.where}",
        got=f"{labels.dtype} labels of shape {labels.shape}",
        do='measure "mean_absolute_error", or name the accuracy you mean: CategoricalAccuracy(), '
        "BinaryAccuracy(threshold)",
    )


def measured(metrics: Mapping[str, Metric], z: Array, y: Array) -> dict[str, float]:
    """Return the sum of each metric over a batch of outputs, bfloat16 widened, and labels.

    Raises
    ------
    ShapeError, DataError
        If a metric does not give a number for each sample.
    """
    z = z.astype(np.float32) if is_bfloat16(z) else z
    sums = {}
    for name, metric in metrics.items():
        each, where = np.asarray(metric(z, y)), f"metric {name}"
        expected = f"a number for each of {len(z)} samples"
        if each.shape != (len(z),):
            raise ShapeError(where, expected=expected, got=f"shape {each.shape}")
        if each.dtype.kind not in "buif" and not is_bfloat16(each):
            raise DataError(where, expected=expected, got=f"dtype {each.dtype}")
        sums[name] = float(np.sum(each, dtype=np.float64))
    return sums


def _says(z: Array, y: Array, threshold: float) -> Array:
    """Return for each output whether it says what its label does."""
    right: Array = ((z > threshold) == (y > 0.5)) & ~np.isnan(z)
    return right


def _as_outputs(z_shape: Shape, y: Array) -> Array | None:
    """Return labels in the outputs' shape, where they are one for each output; else None."""
    if y.shape != tuple(z_shape) and (*y.shape, 1) != tuple(z_shape) and y.shape != (*z_shape, 1):
        return None
    return y.reshape(z_shape)


def _targets(name: str, z_shape: Shape, y: Array) -> Array:
    targets = _as_outputs(z_shape, y)
    if targets is None:
        raise ShapeError(
            f"metric {name}", expected=f"labels of the outputs' shape {tuple(z_shape)}", got=f"{y.shape}"
        )
    return targets


def _are_numbers_of_classes(z_shape: Shape, y: Array) -> bool:
    return y.shape in (tuple(z_shape[:-1]), (*z_shape[:-1], 1))


def _check_classes(name: str, z_shape: Shape, y: Array) -> None:
    if y.shape != tuple(z_shape) and not _are_numbers_of_classes(z_shape, y):
        raise ShapeError(
            f"metric {name}",
            expected=f"class numbers of shape {tuple(z_shape[:-1])}, or one-hot labels of {tuple(z_shape)}",
            got=f"{y.shape}",
        )


def _classes(name: str, z: Array, y: Array) -> Array:
    """Return labels as class numbers of the shape of z without its last axis."""
    _check_classes(name, z.shape, y)
    if y.shape == z.shape:
        one_hot: Array = np.argmax(y, axis=-1)
        return one_hot
    numbers = y.reshape(z.shape[:-1])
    if numbers.dtype.kind == "f" and not (numbers == np.floor(numbers)).all():
        raise DataError(f"metric {name}", expected="class numbers", got="numbers that are not whole")
    return numbers.astype(np.int64, copy=False)


def _are_among(y: Array, *values: float) -> bool:
    return y.dtype.kind == "b" or bool(np.isin(y, values).all())


def _are_probabilities(y: Array) -> bool:
    """Whether each row is of numbers of at least 0 that sum to 1, as one-hot rows are."""
    rows = y.reshape(-1, y.shape[-1])
    sums = rows.sum(axis=1, dtype=np.float64)
    return bool((rows >= 0).all() and (np.abs(sums - 1) <= ROW_SUM_TOLERANCE).all())
