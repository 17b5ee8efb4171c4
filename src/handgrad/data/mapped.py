"""A data set whose every batch is changed in the same way."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.data.transform import NoRandomNumbers, Transform
from handgrad.data.transform_config import steps
from handgrad.errors import ArgumentError, DataError
from handgrad.typing import Array, Shape


class MappedDataset:
    """A data set seen through a transform that draws no random numbers, as a `Dataset`.

    For what training and test images get alike, such as `Normalize`. What chance gives an image of training
    belongs in ``transform=`` of `handgrad.Trainer.fit`, which gives each epoch its own.

    Parameters
    ----------
    dataset : Dataset
        Where samples come from; its labels and names of classes are this one's.
    transform : Transform
        What each batch passes through; it is tried on the first sample here.

    Attributes
    ----------
    labels : (n, ...) array or None
        All labels, where `dataset` has them.
    class_names : tuple of str or None
    preprocessing : tuple of Transform
        What samples have passed through; a trainer keeps it with the model.

    Raises
    ------
    ArgumentError
        If `dataset` is no Dataset, or `transform` cannot be called or draws random numbers.
    DataError
        If `dataset` is empty.
    ShapeError
        As from the transform, if it does not fit the samples.

    Examples
    --------
    The images of both parts, normalized by mean and standard deviation of those for training:

    >>> from handgrad.data import Normalize, as_dataset, digits
    >>> images = digits()
    >>> train = as_dataset(images.x_train, images.y_train)
    >>> test = as_dataset(images.x_test, images.y_test)
    >>> normalize = Normalize.fit(train)
    >>> train, test = MappedDataset(train, normalize), MappedDataset(test, normalize)
    >>> x, y = train.batch(np.arange(len(train)))
    >>> f"{abs(x.mean()):.4f} {x.std():.4f}"
    '0.0000 1.0000'

    Now ``trainer.fit(train, validation=test)`` trains and measures on images of the same kind.
    """

    def __init__(self, dataset: Dataset, transform: Transform) -> None:
        if not isinstance(dataset, Dataset):
            raise ArgumentError(
                "MappedDataset",
                expected="a Dataset",
                got=type(dataset).__name__,
                do="make one of arrays with handgrad.data.as_dataset(x, y)",
            )
        if not callable(transform):
            raise ArgumentError("MappedDataset", expected="a transform", got=repr(transform))
        if len(dataset) == 0:
            raise DataError("MappedDataset", expected="at least one sample", got="none")
        self.dataset, self.transform = dataset, transform
        self.labels: Any = getattr(dataset, "labels", None)
        self.class_names: tuple[str, ...] | None = getattr(dataset, "class_names", None)
        first, _ = self.batch(np.zeros(1, np.int64))
        self._shape: Shape = first.shape[1:]

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    @property
    def shape(self) -> Shape:
        """The shape of one sample, after the transform."""
        return self._shape

    @property
    def preprocessing(self) -> tuple[Transform, ...]:
        """What samples have passed through, as far as that is known."""
        return (*(getattr(self.dataset, "preprocessing", None) or ()), *steps(self.transform))

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The smallest and largest number in some samples of the data set, where it says so."""
        return getattr(self.dataset, "value_range", None)

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples at `indices`, after the transform, and their labels."""
        x, y = self.dataset.batch(indices)
        return self.transform(x, NoRandomNumbers(where="MappedDataset", transform=repr(self.transform))), y
