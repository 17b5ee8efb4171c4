"""Data sets from arrays in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.data.datasets.image_set import ImageSet
from handgrad.data.samples import (
    are_pixels,
    check_lengths,
    numeric,
    scaling,
    to_labels,
    to_samples,
    value_range,
)
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
        Class numbers, one-hot rows or targets; not copied. Images of uint8, that is targets of the shape of
        `x` or (n, height, width, channels) with values above 1, are scaled as `x` is.
    scale : float, optional
        What a batch is multiplied by. By default uint8 is divided by 255 and all else left as it is.
    class_names : sequence of str, optional
        Names of the classes.
    dtype : dtype, default float32
        Floating-point type of the batches.

    Attributes
    ----------
    x : array
        `x`, as an array.
    labels : array or None
        `y`, as an array; None of images of uint8, which only batches hold as numbers.
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
        self.x, self._y = numeric(x, "images"), numeric(y, "labels")
        check_lengths(self.x, self._y, "data")
        self.labels = None if are_pixels(self.x, self._y) else self._y
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
        x, y = to_samples(self.x[indices], self.scale, self.dtype), self._y[indices]
        if self.labels is None:
            return x, to_samples(y, self.scale, self.dtype)
        return x, to_labels(y, self.dtype)


def as_dataset(
    x: Any, y: Any = None, *, dtype: DTypeLike = np.float32, part: Literal["train", "test"] = "train"
) -> Dataset:
    """Return `x` itself if it is a Dataset, else arrays as one.

    Parameters
    ----------
    x : Dataset, (n, ...) array, pair of arrays, or ImageSet
        ``as_dataset((x, y))`` means ``as_dataset(x, y)``.
    y : (n,) or (n, ...) array, optional
        Labels, where `x` is an array.
    dtype : dtype, default float32
        Floating-point type of the batches, where `x` is an array.
    part : "train" or "test"
        Which images of an `ImageSet`, as `handgrad.data.digits` returns it.

    Raises
    ------
    DataError
        If labels are missing, there are no samples, or not as many labels.
    ArgumentError
        If labels come with a Dataset, which has its own.
    """
    if isinstance(x, Dataset | ImageSet):
        if y is not None:
            raise ArgumentError(
                "data",
                expected=f"no labels beside the {type(x).__name__}, which has its own",
                got=type(y).__name__,
                do="leave y out",
            )
        if isinstance(x, ImageSet):
            images, labels = (x.x_train, x.y_train) if part == "train" else (x.x_test, x.y_test)
            return ArrayDataset(images, labels, class_names=x.class_names, dtype=dtype)
        return x
    if y is None and isinstance(x, tuple | list) and len(x) == 2:
        x, y = x
    if y is None:
        raise DataError(
            "data",
            expected="a Dataset, or images with labels",
            got=f"{type(x).__name__} without labels",
            do="give y as well",
        )
    return ArrayDataset(x, y, dtype=dtype)
