"""How arrays of any kind become samples and labels of a batch."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handgrad.arguments import check_unmasked, unmasked
from handgrad.data.transform import Transform
from handgrad.errors import DataError
from handgrad.pixels import to_float
from handgrad.typing import Array

SOME = 64
"""How many samples say in what range all are."""


def to_samples(x: Array, scale: float | None, dtype: np.dtype[Any]) -> Array:
    """Return ``scale*x`` in `dtype`; without a scale as models convert it, with bytes as 0, ..., 1."""
    return to_float(x, dtype) if scale is None else x.astype(dtype, copy=False) * dtype.type(scale)


def scaling(x: Array, scale: float | None) -> tuple[Transform, ...] | None:
    """Return the transform of pixels in [0, 1] that scaled bytes are; None for all that are no bytes."""
    from handgrad.data.transforms import Normalize  # which imports this

    if x.dtype != np.uint8:
        return None
    if scale is None or np.isclose(255 * scale, 1):
        return ()
    if x.ndim != 4 or scale <= 0:
        return None
    channels = x.shape[-1]
    return (Normalize((0.0,) * channels, (1 / (255 * scale),) * channels),)


def value_range(x: Array, scale: float | None) -> tuple[float, float] | None:
    """Return the smallest and largest number of some samples, times the scale; None for bytes."""
    if x.dtype == np.uint8:
        return None
    some = np.asarray(x[np.linspace(0, len(x) - 1, min(len(x), SOME)).astype(np.int64)], np.float64)
    some = some[np.isfinite(some)] * (1.0 if scale is None else scale)
    return (float(some.min()), float(some.max())) if some.size else None


def to_labels(y: Array, dtype: np.dtype[Any]) -> Array:
    """Return integers as int64 and other targets in `dtype`."""
    return y.astype(dtype if y.dtype.kind == "f" else np.int64, copy=False)


def are_pixels(x: Array, y: Array) -> bool:
    """Whether targets are images, bytes that are divided by 255 as those of samples `x` are.

    Bytes that are class numbers, one-hot rows or masks of 0 and 1 are numbers: only bytes above 1 count, in
    images (n, height, width, channels) or in targets of the samples' own shape, as an autoencoder has them.
    """
    if y.dtype != np.uint8 or y.ndim < 2 or math.prod(y.shape[1:]) < 2:
        return False
    alike = y.shape == x.shape and x.dtype == np.uint8
    if not (alike or y.ndim == 4):
        return False
    # of a file no more is read than it takes
    return any(int(y[i : i + 256].max()) > 1 for i in range(0, len(y), 256))


def to_targets(x: Array, y: Any, dtype: np.dtype[Any]) -> Array:
    """Return the labels of a batch as they are, or divided by 255 where they are images."""
    y = unmasked("labels", y)
    return to_float(y, dtype) if are_pixels(x, y) else y


def numeric(values: Any, what: str) -> Array:
    """Return `values` as an array, or raise DataError if they are no real numbers, or masked."""
    check_unmasked(what, values)
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
