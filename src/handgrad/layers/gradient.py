"""What backward may be given: a gradient of the output that forward returned."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from handgrad.errors import DataError, ShapeError
from handgrad.typing import DTypeLike, Shape, is_bfloat16


def check_gradient(where: str, dy: Any, shape: Shape, dtypes: Iterable[DTypeLike]) -> None:
    """Raise unless `dy` is an array of floating-point numbers of the output's shape.

    Parameters
    ----------
    where : str
        Whose backward it is.
    dy
        What it was given. Its precision may be another: what is computed has the larger one.
    shape : tuple of int
        Of the output, with the batch axis.
    dtypes : iterable of dtype
        Of input and parameters. Where none is complex, `dy` is not.

    Raises
    ------
    DataError
        If it is no array, or of other numbers.
    ShapeError
        If it has another shape.
    """
    where = f"{where} backward"
    if not isinstance(dy, np.ndarray) or isinstance(dy, np.ma.MaskedArray):
        got = "None" if dy is None else type(dy).__name__
        raise DataError(where, expected="dy to be a NumPy array", got=got)
    if dy.shape != shape:
        raise ShapeError(
            where,
            expected=f"dy of the output's shape {shape}",
            got=f"{dy.shape}",
            do="dy and saved belong to one forward",
        )
    if dy.dtype.kind == "f" or is_bfloat16(dy):
        return
    known = [np.dtype(dtype) for dtype in dtypes]
    if dy.dtype.kind != "c" or all(dtype.kind != "c" for dtype in known):
        raise DataError(
            where,
            expected=f"dy of floating-point numbers, as the output of {known[0]}",
            got=f"dtype {dy.dtype}",
            do=f"convert it: dy.astype({known[0].name!r})",
        )
