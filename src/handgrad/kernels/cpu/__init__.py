"""The compiled kernels: thin wrappers that allocate results, and the tables made of them.

An entry of a compiled table computes in float32 on NumPy arrays. Everything else (float64 and complex128 of
gradient checks, arrays of other modules) goes to the reference function it replaces: `Compiled` decides that,
here and nowhere else.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from types import ModuleType
from typing import Any

import numpy as np

from handgrad.kernels.cpu import conv, dense
from handgrad.kernels.protocol import Kernel, Kernels
from handgrad.kernels.reference import REFERENCE

_FAMILIES: tuple[ModuleType, ...] = (conv, dense)


class Compiled:
    """A compiled kernel that leaves to the reference what it does not cover.

    Parameters
    ----------
    kernel : callable
        For float32.
    reference : callable
        For everything else.
    """

    def __init__(self, name: str, module: str, kernel: Kernel, reference: Kernel) -> None:
        self.__name__, self.__module__ = name, module
        self.kernel, self.reference = kernel, reference

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        covered = type(x) is np.ndarray and x.dtype == np.float32 and not any(map(_complex, args))
        return (self.kernel if covered else self.reference)(x, *args, **kwargs)


def _complex(a: Any) -> bool:
    return isinstance(a, np.ndarray) and a.dtype.kind == "c"


def cpu_kernels(compiled: Any, *, algorithm: int | None = None) -> Kernels:
    """Return the table that runs on one of the extension module's tables.

    Parameters
    ----------
    compiled : handgrad.kernels.cpu._kernels.Kernels
        The kernels of one instruction set.
    algorithm : int, optional
        The only one that convolutions use wherever they can: `algorithm.DIRECT`, or 2 or 4, the tile of
        Winograd's algorithm. By default the cheapest.
    """
    entries = {}
    for family in _FAMILIES:
        options = {"algorithm": algorithm} if family is conv else {}
        for name in family.__all__:
            kernel = partial(getattr(family, name), compiled, **options)
            entries[name] = Compiled(name, family.__name__, kernel, getattr(REFERENCE, name))
    return replace(REFERENCE, **entries)
