"""Data sets from ``.npy`` files that need not fit into memory."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

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
from handgrad.filetypes import file_type
from handgrad.typing import Array, DTypeLike, Shape


class NpyDataset:
    """Images in a memory-mapped ``.npy`` file, as a `Dataset`.

    A batch reads its own rows from the file and nothing else, in the order in which they stand there.

    Parameters
    ----------
    x_path : str or Path
        File of an array (n, height, width, channels), as ``numpy.save`` writes it.
    y_path_or_array : str, Path or (n, ...) array
        The labels; from a file they are memory-mapped as well.
    scale, class_names, dtype : optional
        As for `ArrayDataset`: uint8 is divided by 255 by default.

    Attributes
    ----------
    x, labels : array
        Both memory-mapped where they are in files; `labels` is None of images of uint8, as of `ArrayDataset`.
    class_names : tuple of str or None

    Raises
    ------
    DataError
        If a file is missing, damaged, not numeric or in Fortran order (rows would be scattered over all of
        it), or the labels are not as many.
    """

    def __init__(
        self,
        x_path: str | Path,
        y_path_or_array: Any,
        *,
        scale: float | None = None,
        class_names: Sequence[str] | None = None,
        dtype: DTypeLike = np.float32,
    ) -> None:
        self.x = _open(x_path)
        self._y = (
            _open(y_path_or_array)
            if isinstance(y_path_or_array, str | Path)
            else numeric(y_path_or_array, "labels")
        )
        check_lengths(self.x, self._y, str(x_path))
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
        """Return the samples and labels at `indices`, read in the order of the file."""
        indices = np.asarray(indices)
        order = np.argsort(indices, kind="stable")
        rows, back = indices[order], np.argsort(order)
        x, y = np.asarray(self.x[rows])[back], np.asarray(self._y[rows])[back]
        targets = to_samples(y, self.scale, self.dtype) if self.labels is None else to_labels(y, self.dtype)
        return to_samples(x, self.scale, self.dtype), targets


def _open(path: str | Path) -> Array:
    do = "make it with numpy.save(path, array)"
    if not isinstance(path, str | os.PathLike):
        got = type(path).__name__
        raise ArgumentError(
            "NpyDataset", expected="the path of a .npy file", got=got, do="ArrayDataset takes arrays"
        )
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except FileNotFoundError:
        raise DataError(str(path), expected="a .npy file", got="no such file", do=do) from None
    except Exception as error:  # NumPy reads the header as Python: TokenError, SyntaxError, MemoryError, ...
        got = (error.strerror if isinstance(error, OSError) else None) or str(error) or type(error).__name__
        if Path(path).is_file() and (kind := file_type(Path(path))) and kind.name != "a NumPy .npy file":
            got = kind.name
        raise DataError(str(path), expected="a .npy file of numbers", got=got, do=do) from error
    if not isinstance(array, np.ndarray):
        array.close()
        raise DataError(str(path), expected="a .npy file of one array", got="an archive of several", do=do)
    if array.dtype.kind not in "buif":
        raise DataError(str(path), expected="a .npy file of numbers", got=f"dtype {array.dtype}", do=do)
    if not array.flags.c_contiguous:
        raise DataError(
            str(path),
            expected="an array in C order",
            got="Fortran order, in which no row stands together",
            do="save numpy.ascontiguousarray(array)",
        )
    return array
