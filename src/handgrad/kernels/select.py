"""Which table of kernels runs, by name."""

from __future__ import annotations

import os
from collections.abc import Mapping
from functools import cache

from handgrad.errors import ArgumentError
from handgrad.kernels.extension import load
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.reference import REFERENCE


@cache
def tables() -> Mapping[str, Kernels]:
    """Return the tables that this machine can run, by name.

    ``"cpu"`` is the fastest of the compiled ones, which follow under the names of their instruction sets
    (``"avx512"``, ``"avx2"``, ``"plain"``); ``"reference"`` is the mathematics in NumPy, and the only one
    where handgrad is installed without compiled kernels.
    """
    module = load().module
    if module is None:
        return {"reference": REFERENCE}
    from handgrad.kernels.cpu import cpu_kernels

    compiled = {table.name: cpu_kernels(table) for table in module.tables()}
    return {"cpu": next(iter(compiled.values())), **compiled, "reference": REFERENCE}


def select_kernels(name: str) -> Kernels:
    """Return the table of that name.

    Raises
    ------
    ArgumentError
        If this machine has none of that name.
    """
    return _named("kernels", name)


def default_kernels() -> Kernels:
    """Return the table that ``HANDGRAD_KERNELS`` names, by default the fastest that this machine can run.

    Raises
    ------
    ArgumentError
        If ``HANDGRAD_KERNELS`` names one that this machine does not have.
    """
    if name := os.environ.get("HANDGRAD_KERNELS"):
        return _named("HANDGRAD_KERNELS", name)
    return next(iter(tables().values()))


def _named(where: str, name: str) -> Kernels:
    if name == "reference":  # whatever may be wrong with the others
        return REFERENCE
    if name not in tables():
        problem = load().problem
        do = f"there are no compiled kernels: {problem}" if problem else ""
        raise ArgumentError(where, expected=f"one of {', '.join(tables())}", got=repr(name), do=do)
    return tables()[name]
