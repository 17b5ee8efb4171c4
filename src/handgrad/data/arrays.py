"""Data sets from arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.data.samples import check_lengths, numeric, scaling, to_labels, to_samples, value_range
from handgrad.data.transform import Transform
from handgrad.errors import ArgumentError, DataError
from handgrad.typing import Array, DTypeLike, Shape


class ArrayDataset:
    """Arrays in memory, as a `Dataset`.

    Parameters
    ----------
    x : (n, ...) array
        Images (n, height, width, channels), of integers or floating-point numbers; not copied.
    y : (n,) or (n, ...) array
        Class numbers, one-hot rows or targets; not copied.
    scale : float, optional
        What a batch is multiplied by. By default uint8 is divided by 255 and all else left as it is.
    class_names : sequence of str, optional
        Names of the classes.
    dtype : dtype, default float32
        Floating-point type of the batches.

    Attributes
    ----------
    x, labels : array
        `x` and `y`, as arrays.
    class_names : tuple of str or None

    Raises
    ------
    DataError
        If `x` or `y` is not numeric, there are no samples, or not as many labels.

    Examples
    --------
    >>> import numpy as np
    >>> data = ArrayDataset(np.full((5, 2, 2, 1), 255, np.uint8), np.arange(5))
    >>> x, y = data.batch(np.array([4, 0]))
    >>> x.shape, str(x.dtype), float(x.max()), y.tolist()
    ((2, 2, 2, 1), 'float32', 1.0, [4, 0])
    """

    def __init__(
        self,
        x: Any,
        y: Any,
        *,
        scale: float | None = None,
        class_names: Sequence[str] | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.x, self.labels = numeric(x, "images"), numeric(y, "labels")
        check_lengths(self.x, self.labels, "data")
        self.scale, self.dtype = scale, np.dtype(dtype)
        self.class_names = None if class_names is None else tuple(class_names)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """The shape of one sample."""
        return self.x.shape[1:]

    @property
    def preprocessing(self) -> tuple[Transform, ...] | None:
        """What images have passed through: known for bytes alone, as numbers may have been anything."""
        return scaling(self.x, self.scale)

    @property
    def value_range(self) -> tuple[float, float] | None:
        """The smallest and largest number in some samples; None for bytes, of which it is known."""
        return value_range(self.x, self.scale)

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples and labels at `indices`."""
        x, y = self.x[indices], self.labels[indices]
        return to_samples(x, self.scale, self.dtype), to_labels(y, self.dtype)


def as_dataset(x: Any, y: Any = None, *, dtype: DTypeLike = np.float32) -> Dataset:
    """Return `x` itself if it is a Dataset, else arrays as one.

    Parameters
    ----------
    x : Dataset, (n, ...) array, or pair of arrays
        ``as_dataset((x, y))`` means ``as_dataset(x, y)``.
    y : (n,) or (n, ...) array, optional
        Labels, where `x` is an array.
    dtype : dtype, default float32
        Floating-point type of the batches, where `x` is an array.

    Raises
    ------
    DataError
        If labels are missing, there are no samples, or not as many labels.
    ArgumentError
        If labels come with a Dataset, which has its own.
    """
    if isinstance(x, Dataset):
        if y is not None:
            raise ArgumentError(
                "data",
                expected=f"no labels beside the {type(x).__name__}, which has its own",
                got=type(y).__name__,
                do="leave y out",
            )
        return x
    if y is None and isinstance(x, tuple) and len(x) == 2:
        x, y = x
    if y is None:
        raise DataError(
            "data",
            expected="a Dataset, or images with labels",
            got=f"{type(x).__name__} without labels",
            do="give y as well",
        )
    return ArrayDataset(x, y, dtype=dtype)
