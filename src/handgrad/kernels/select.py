"""Which table of kernels runs, by name."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import cache

from handgrad.errors import ArgumentError
from handgrad.kernels.extension import load
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.reference import REFERENCE

_PRECISIONS = ("float32", "strict", "bfloat16")
_ALGORITHMS: dict[str | None, int | None] = {None: None, "direct": 0, "winograd2": 2, "winograd4": 4}


def tables(precision: str = "float32") -> Mapping[str, Kernels]:
    """Return the tables that this machine can run, by name.

    ``"cpu"`` is the fastest of the compiled ones, which follow under the names of their instruction sets
    (``"amx"``, ``"avx512bf16"``, ``"avx512"``, ``"avx2"``, ``"plain"``); ``"reference"`` is the mathematics
    in NumPy, and the only one where handgrad is installed without compiled kernels.

    Parameters
    ----------
    precision : "float32", "strict" or "bfloat16", default "float32"
        "strict" computes every convolution as sums of products, whose rounding is about half of that of the
        algorithms with fewer multiplications. "bfloat16" stores activations in bfloat16, as
        `handgrad.kernels.bfloat16` says.

    Raises
    ------
    ArgumentError
        If `precision` is none of them.
    MissingExtraError
        For "bfloat16" without ``ml_dtypes``.
    """
    if precision not in _PRECISIONS:
        raise ArgumentError("precision", expected=f"one of {', '.join(_PRECISIONS)}", got=repr(precision))
    return _tables(precision, None)


@cache
def _tables(precision: str, algorithm: str | None) -> Mapping[str, Kernels]:
    if precision == "bfloat16":
        from handgrad.kernels.bfloat16 import bfloat16_kernels

        of_float32 = _tables("float32", algorithm)
        made = {table: bfloat16_kernels(table) for table in of_float32.values()}
        return {name: made[table] for name, table in of_float32.items()}
    module = load().module
    if module is None:
        return {"reference": REFERENCE}
    from handgrad.kernels.cpu import cpu_kernels

    number = _ALGORITHMS["direct" if precision == "strict" else algorithm]
    compiled = {table.name: cpu_kernels(table, algorithm=number) for table in module.tables()}
    return {"cpu": next(iter(compiled.values())), **compiled, "reference": REFERENCE}


def select_kernels(name: str, precision: str = "float32", *, algorithm: str | None = None) -> Kernels:
    """Return the table of that name; `precision` as of `tables`.

    Parameters
    ----------
    name : str
        One of `tables`.
    precision : "float32", "strict" or "bfloat16", default "float32"
        As of `tables`.
    algorithm : "direct", "winograd2" or "winograd4", optional
        The only one that convolutions use wherever they can: sums of products, or Winograd's algorithm with
        tiles of 2 x 2 or 4 x 4 outputs. By default the one that costs least, as
        `handgrad.kernels.cpu.algorithm` counts.

    Raises
    ------
    ArgumentError
        If this machine has none of that name; if an algorithm is asked for with "strict" or of the reference,
        which have one alone.

    Examples
    --------
    >>> import handgrad as hg
    >>> model = hg.models.small_cnn((28, 28, 1), 10)
    >>> plain = hg.kernels.select_kernels("cpu", algorithm="direct")  # doctest: +SKIP
    >>> trainer = hg.Trainer(model, "cross_entropy", kernels=plain)  # doctest: +SKIP
    """
    table = _named("kernels", name, precision)
    if algorithm is None:
        return table
    where = "select_kernels algorithm"
    if algorithm not in tuple(_ALGORITHMS):  # which may be no key at all
        raise ArgumentError(
            where, expected=f"one of {', '.join(filter(None, _ALGORITHMS))}", got=repr(algorithm)
        )
    if precision == "strict" or table is REFERENCE:
        expected = "None where there is one alone, with precision 'strict' and of the reference"
        raise ArgumentError(where, expected=expected, got=repr(algorithm))
    return _tables(precision, algorithm)[name]


def default_kernels(precision: str = "float32") -> Kernels:
    """Return the table that ``HANDGRAD_KERNELS`` names, by default the fastest that this machine can run.

    Parameters
    ----------
    precision : "float32", "strict" or "bfloat16", default "float32"
        As of `tables`.

    Raises
    ------
    ArgumentError
        If ``HANDGRAD_KERNELS`` names one that this machine does not have.
    MissingExtraError
        As of `tables`.
    """
    if name := os.environ.get("HANDGRAD_KERNELS"):
        return _named("HANDGRAD_KERNELS", name, precision)
    return next(iter(tables(precision).values()))


def name_of(kernels: Kernels) -> tuple[str, str]:
    """Return the name of a table, with the algorithm that it is bound to, and its precision.

    A table that is none of `tables`, nor of `select_kernels`, is called ``"custom"``.

    Examples
    --------
    >>> name_of(select_kernels("reference"))
    ('reference', 'float32')
    """
    # no table of bfloat16 can have been made without it, and to import it takes time:
    precisions = [p for p in _PRECISIONS if p != "bfloat16" or "ml_dtypes" in sys.modules]
    for algorithm in _ALGORITHMS:
        for precision in precisions:
            found = [name for name, table in _tables(precision, algorithm).items() if table is kernels]
            if found:  # "avx512" rather than "cpu"
                return f"{found[-1]} {algorithm}" if algorithm else found[-1], precision
    return "custom", "custom"


def _named(where: str, name: str, precision: str) -> Kernels:
    if name == "reference" and precision in ("float32", "strict"):  # whatever may be wrong with the others
        return REFERENCE
    if name not in tables(precision):
        problem = load().problem
        do = f"there are no compiled kernels: {problem}" if problem else ""
        raise ArgumentError(where, expected=f"one of {', '.join(tables(precision))}", got=repr(name), do=do)
    return tables(precision)[name]
