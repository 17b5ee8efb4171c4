"""Checks of constructor arguments, and their JSON form."""

from __future__ import annotations

import contextlib
import math
import os
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, fields
from numbers import Real
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, DataError
from handgrad.typing import Array, Config, is_bfloat16, is_integer


def check_number(
    where: str,
    name: str,
    value: Any,
    *,
    least: float = 0.0,
    most: float = math.inf,
    below: float = math.inf,
    positive: bool = False,
) -> None:
    """Raise ArgumentError unless `value` is a finite number within the limits; `positive` leaves out 0."""
    number = isinstance(value, Real) and not isinstance(value, bool) and _is_finite(value)
    if not (number and (value > 0 if positive else least <= value) and value <= most and value < below):
        limit = "" if math.isinf(most) else f" and at most {most:g}"
        limit = limit if math.isinf(below) else f" and less than {below:g}"
        relation = "to be a number" if math.isinf(least) else f"of at least {least:g}"
        relation = "greater than 0" if positive else relation
        raise ArgumentError(where, expected=f"{name} {relation}{limit}", got=repr(value))


def _is_finite(value: Real) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an int that no float holds
        return False


def check_count(where: str, name: str, value: Any) -> None:
    """Raise ArgumentError unless `value` is a whole number of at least 1, which 64 bits hold."""
    if not is_integer(value) or not 1 <= value < 1 << 63:
        most = " and less than 2**63" if is_integer(value) and value > 1 else ""
        expected = f"{name} to be a whole number of at least 1{most}"
        raise ArgumentError(where, expected=expected, got=repr(value))


def check_flag(where: str, name: str, value: Any) -> None:
    """Raise ArgumentError unless `value` is True or False; 0 and 1 stand for them in some older files."""
    flag = isinstance(value, bool | np.bool_) or (is_integer(value) and value in (0, 1))
    if not flag:
        raise ArgumentError(where, expected=f"{name} to be True or False", got=repr(value))


def check_path(where: str, value: Any) -> Path:
    """Return `value` as a path; raise ArgumentError if it is none."""
    if not isinstance(value, str | os.PathLike):
        raise ArgumentError(where, expected="a path", got=repr(value))
    return Path(os.fspath(value))


def check_file(where: str, value: Any) -> None:
    """Raise ArgumentError unless `value` is None or can be written to as an open text file."""
    if value is not None and not hasattr(value, "write"):
        do = "open it: open(path, 'w')" if isinstance(value, str | os.PathLike) else ""
        raise ArgumentError(where, expected="an open text file", got=repr(value), do=do)


def float_dtype(where: str, dtype: Any) -> np.dtype[Any]:
    """Return a dtype of real or complex floating-point numbers; raise ArgumentError if it is another."""
    found: np.dtype[Any] | None = None
    with contextlib.suppress(TypeError):
        found = np.dtype(dtype)
    if found is None or not (found.kind in "fc" or is_bfloat16(found)):
        got = f"{dtype}" if isinstance(dtype, np.dtype) else repr(dtype)
        expected = 'a floating-point dtype, such as "float32" or "float64"'
        raise ArgumentError(where, expected=expected, got=got)
    return found


def plain(value: Any) -> Any:
    """Return what JSON can hold of an argument."""
    if hasattr(value, "config"):
        return value.config()
    if isinstance(value, tuple | list):
        return [plain(v) for v in value]
    return value.item() if isinstance(value, np.generic) else value


def class_arguments(where: str, known: Iterable[str], config: Config, required: Iterable[str] = ()) -> Config:
    """Return the constructor arguments in `config`; raise ArgumentError if they are not class `where`'s."""
    if not isinstance(config, Mapping):
        raise ArgumentError(where, expected="a dict of arguments", got=repr(config))
    arguments = dict(config)
    name = arguments.pop("class", where)
    if name != where:
        raise ArgumentError(where, expected=f"class {where}", got=f"{name}")
    known = list(known)
    for argument in arguments:
        if argument not in known:
            names = ", ".join(known) or "none"
            raise ArgumentError(where, expected=f"arguments among {names}", got=repr(argument))
    if missing := [argument for argument in required if argument not in arguments]:
        given = ", ".join(arguments) or "no arguments"
        raise ArgumentError(where, expected=f"the argument {missing[0]}", got=given)
    return arguments


def required_fields(kind: Any) -> list[str]:
    """Return the arguments of a dataclass that have no default."""
    return [f.name for f in fields(kind) if f.init and f.default is MISSING and f.default_factory is MISSING]


def unmasked(where: str, values: Any) -> Array:
    """Return `values` as an array, as NumPy does; raise DataError for masked ones."""
    check_unmasked(where, values)
    return np.asarray(values)


def check_unmasked(where: str, *arrays: Any) -> None:
    """Raise DataError if an array has masked elements: as plain numbers they would count like the others."""
    for a in arrays:
        if isinstance(a, np.ma.MaskedArray) and (masked := int(np.ma.getmaskarray(a).sum())):
            raise DataError(
                where,
                expected="an array without a mask",
                got=f"one with {masked:,} masked {'element' if masked == 1 else 'elements'}",
                do="fill them with x.filled(value), or leave those samples out",
            )
