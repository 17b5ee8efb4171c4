"""Which table of kernels runs, by device name."""

from __future__ import annotations

from handgrad.errors import ArgumentError
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.reference import REFERENCE

TABLES: dict[str, Kernels] = {"reference": REFERENCE}


def select_kernels(device: str = "reference") -> Kernels:
    """Return the table of `device`.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    if device not in TABLES:
        raise ArgumentError("kernels", expected=f"one of {', '.join(TABLES)}", got=repr(device))
    return TABLES[device]


def default_kernels() -> Kernels:
    """Return the fastest table this installation has."""
    return select_kernels()
