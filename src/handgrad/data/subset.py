"""A part of a data set."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.data.transform import Transform
from handgrad.errors import ArgumentError
from handgrad.typing import Array, Shape


class Subset:
    """The samples of a data set with the given numbers, in the given order; nothing is copied.

    Parameters
    ----------
    dataset : Dataset
        Where they are.
    indices : (n,) int array
        Their numbers, each in 0, ..., len(dataset) - 1.

    Raises
    ------
    ArgumentError
        If these are no numbers of samples.

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.data import ArrayDataset
    >>> part = Subset(ArrayDataset(np.zeros((4, 2)), np.array([5, 6, 7, 8])), [3, 0])
    >>> len(part), part.batch(np.array([0, 1]))[1].tolist()
    (2, [8, 5])
    """

    def __init__(self, dataset: Dataset, indices: Any) -> None:
        indices = np.asarray(indices)
        n = len(dataset)
        whole = indices.ndim == 1 and (indices.dtype.kind in "iu" or not indices.size)
        if not whole or (indices.size and not (indices.min() >= 0 and indices.max() < n)):
            raise ArgumentError(
                "Subset indices", expected=f"a list of numbers from 0 to {n - 1}", got=repr(indices)
            )
        self.dataset, self.indices = dataset, indices.astype(np.int64)

    def __len__(self) -> int:
        """Return how many samples these are."""
        return len(self.indices)

    @property
    def shape(self) -> Shape:
        """The shape of one sample."""
        return self.dataset.shape

    @property
    def labels(self) -> Array | None:
        """The labels, where the data set has them at hand."""
        labels = getattr(self.dataset, "labels", None)
        return None if labels is None else labels[self.indices]

    @property
    def class_names(self) -> tuple[str, ...] | None:
        """The names of the classes, where they have some."""
        return getattr(self.dataset, "class_names", None)

    @property
    def preprocessing(self) -> tuple[Transform, ...] | None:
        """What samples have passed through, where that is known."""
        return getattr(self.dataset, "preprocessing", None)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The smallest and largest number in some samples of the data set, where it says so."""
        return getattr(self.dataset, "value_range", None)

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples and labels at `indices` of this part."""
        return self.dataset.batch(self.indices[indices])
