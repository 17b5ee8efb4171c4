"""What a known data set gives."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.pixels import to_float
from handgrad.typing import Array, DTypeLike


@dataclass(frozen=True, eq=False, repr=False)
class ImageSet:
    """Images for training and for testing, with labels.

    Attributes
    ----------
    name : str
    x_train, x_test : (n, height, width, channels) array
        float32 in [0, 1], unless asked for otherwise; uint8 in 0, ..., 255.
    y_train, y_test : (n,) int64 array
        Class numbers.
    class_names : tuple of str
        Their names.
    """

    name: str
    x_train: Array
    y_train: Array
    x_test: Array
    y_test: Array
    class_names: tuple[str, ...]

    def __repr__(self) -> str:
        counts = f"{len(self.x_train):,} + {len(self.x_test):,} images"
        size = "x".join(map(str, self.x_train.shape[1:]))
        return f"ImageSet({self.name}: {counts} {size} {self.x_train.dtype}, {len(self.class_names)} classes)"


def check_dtype(dtype: DTypeLike, where: str) -> None:
    """Raise ArgumentError unless `dtype` is uint8 or a floating-point type."""
    if np.dtype(dtype) != np.uint8 and np.dtype(dtype).kind != "f":
        raise ArgumentError(where, expected="dtype uint8 or a floating-point type", got=str(np.dtype(dtype)))


def pixels(x: Array, dtype: DTypeLike) -> Array:
    """Return stored bytes as they are if `dtype` is uint8, else as numbers in [0, 1]."""
    return x if np.dtype(dtype) == np.uint8 else to_float(x, dtype)
