"""Checks of one array, of which contracts are made: their errors name the kernel and the argument."""

from __future__ import annotations

from typing import Any

from handgrad.errors import DataError, ShapeError
from handgrad.typing import Shape


def any_floats(where: str, x: Any, *_: Any, **__: Any) -> None:
    """Raise unless the first argument is an array of floating-point numbers."""
    check_floats(where, x=x)


def check_floats(where: str, **arrays: Any) -> None:
    """Raise DataError unless all are arrays of floating-point numbers."""
    for name, a in arrays.items():
        check_array(f"{where} {name}", a)
        kind = getattr(a.dtype, "kind", "f")  # of other modules' dtypes nothing is known
        if kind not in "fcV":  # V: bfloat16
            raise DataError(
                f"{where} {name}",
                expected="floating-point numbers",
                got=f"dtype {a.dtype}",
                do="convert them: astype(np.float32)",
            )


def check_array(where: str, a: Any) -> None:
    """Raise DataError unless it is an array."""
    if not (hasattr(a, "shape") and hasattr(a, "dtype")):
        got = "None" if a is None else type(a).__name__
        raise DataError(where, expected="an array", got=got)


def check_shape(where: str, a: Any, shape: Shape) -> None:
    """Raise ShapeError unless an array has this shape."""
    if tuple(a.shape) != tuple(shape):
        raise ShapeError(where, expected=f"shape {tuple(shape)}", got=f"{tuple(a.shape)}")


def check_rank(where: str, a: Any, axes: str) -> Any:
    """Return the shape, of as many axes as are named."""
    if len(a.shape) != len(axes.split(", ")):
        raise ShapeError(where, expected=f"axes ({axes})", got=f"shape {tuple(a.shape)}")
    return a.shape


def check_columns(where: str, c: int, **vectors: Any) -> None:
    """Raise unless all that are not None have shape (c,)."""
    for name, a in vectors.items():
        if a is not None:
            check_floats(where, **{name: a})
            check_shape(f"{where} {name}", a, (c,))


def given(where: str, a: Any) -> Any:
    """Return an array that must be there."""
    check_array(where, a)
    return a
