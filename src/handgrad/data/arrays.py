"""Data sets from arrays in memory, and how arrays of any kind become batches."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.errors import ArgumentError, DataError
from handgrad.graph import to_float
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
        self.x, self.y = numeric(x, "images"), numeric(y, "labels")
        check_lengths(self.x, self.y, "data")
        self.scale, self.dtype = scale, np.dtype(dtype)
        self.class_names = None if class_names is None else tuple(class_names)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.x)

    @property
    def shape(self) -> Shape:
        """The shape of one sample."""
        return self.x.shape[1:]

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples and labels at `indices`."""
        return scaled(self.x[indices], self.scale, self.dtype), to_labels(self.y[indices], self.dtype)


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


def scaled(x: Array, scale: float | None, dtype: np.dtype[Any]) -> Array:
    """Return ``scale*x`` in `dtype`; without a scale as `handgrad.graph.to_float` does, as models do."""
    return to_float(x, dtype) if scale is None else x.astype(dtype, copy=False) * dtype.type(scale)


def to_labels(y: Array, dtype: np.dtype[Any]) -> Array:
    """Return integers as int64 and other targets in `dtype`."""
    return y.astype(dtype if y.dtype.kind == "f" else np.int64, copy=False)


def numeric(values: Any, what: str) -> Array:
    """Return `values` as an array, or raise DataError if they are no real numbers."""
    try:
        array = np.asarray(values)
    except ValueError:
        got = f"a {type(values).__name__} of rows of different shapes"
    else:
        if array.dtype.kind in "buif":
            return array
        got = f"dtype {array.dtype}"
    raise DataError("data", expected=f"{what} as an array of numbers", got=got)


def check_lengths(x: Array, y: Array, where: str) -> None:
    """Raise DataError unless `x` and `y` are as many, and some."""
    if x.ndim == 0 or y.ndim == 0:
        what = "images" if x.ndim == 0 else "labels"
        raise DataError(where, expected=f"an array of {what}", got="a single number")
    if len(x) != len(y):
        raise DataError(where, expected=f"a label for each of {len(x)} images", got=f"{len(y)} labels")
    if len(x) == 0:
        raise DataError(where, expected="at least one image", got="none")
