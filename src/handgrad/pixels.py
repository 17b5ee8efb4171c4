"""Pixels as numbers: where bytes become 0, ..., 1, here and nowhere else."""

from __future__ import annotations

import numpy as np

from handgrad.typing import Array, DTypeLike


def to_float(x: Array, dtype: DTypeLike) -> Array:
    """Return numbers in `dtype`; bytes are pixels and divided by 255, so that 255 gives exactly 1.

    Parameters
    ----------
    x : array
        Bytes (uint8), or numbers of any other kind, which keep their values.
    dtype : dtype
        A floating-point type.

    Returns
    -------
    array of `dtype`
        `x` itself where it already is one.

    Examples
    --------
    >>> to_float(np.array([0, 51, 255], np.uint8), np.float32).tolist()
    [0.0, 0.20000000298023224, 1.0]
    >>> to_float(np.array([0, 51, 255]), np.float32).tolist()
    [0.0, 51.0, 255.0]
    """
    return np.divide(x, 255, dtype=dtype) if x.dtype == np.uint8 else x.astype(dtype, copy=False)
