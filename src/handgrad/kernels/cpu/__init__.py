"""The compiled kernels: thin wrappers that allocate results, and the tables made of them.

An entry of a compiled table computes in float32 on NumPy arrays, and the kernels of `IN_BFLOAT16` also take
activations of bfloat16 and return such. Everything else (float64 and complex128 of
gradient checks, arrays of other modules) goes to the reference function it replaces: `Compiled` decides that,
here and nowhere else, and asks the family's own function ``covers`` where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from importlib import import_module
from types import ModuleType
from typing import Any

from handgrad.errors import HandgradError
from handgrad.kernels.contracts import contract_of, what_is_wrong
from handgrad.kernels.cpu import (
    activation,
    conv,
    dense,
    dropout,
    fused,
    gradient,
    group_norm,
    loss,
    merge,
    norm,
    packed,
    pool,
    resize,
    update,
)
from handgrad.kernels.cpu.arrays import is_complex, is_float32
from handgrad.kernels.extension import load
from handgrad.kernels.protocol import Kernel, Kernels
from handgrad.kernels.reference import REFERENCE
from handgrad.typing import is_bfloat16

_FAMILIES: tuple[ModuleType, ...] = (
    activation,
    conv,
    dense,
    dropout,
    fused,
    gradient,
    group_norm,
    loss,
    merge,
    norm,
    packed,
    pool,
    resize,
    update,
)

IN_BFLOAT16 = frozenset(
    {
        *conv.__all__,
        *dense.__all__,
        *fused.__all__,
        *group_norm.__all__,
        *merge.__all__,
        *norm.__all__,
        "conv2d_packed",
        "global_average_pool2d",
        "global_average_pool2d_backward",
        "max_pool2d",
        "max_pool2d_backward",
        "relu",
        "relu_backward",
    }
)
"""The kernels that have compiled functions of bfloat16, too."""


class Compiled:
    """A compiled kernel that leaves to the reference what it does not cover.

    Parameters
    ----------
    family : module
        Where its wrapper is.
    name : str
        Of the kernel.
    compiled : handgrad.kernels.cpu._kernels.Kernels
        The kernels of one instruction set.
    options : dict
        Keyword arguments of every call.
    """

    def __init__(self, family: ModuleType, name: str, compiled: Any, options: dict[str, Any]) -> None:
        self.__name__, self.__module__ = name, family.__name__
        self._made_from = family.__name__, name, compiled.name, options
        self.takes_bfloat16 = name in IN_BFLOAT16
        self.kernel: Kernel = partial(getattr(family, name), compiled, **options)
        self.reference: Kernel = getattr(REFERENCE, name)
        self.covers: Callable[..., bool] = getattr(family, "covers", _covers)
        self.contract = contract_of(name)

    def __call__(self, x: Any, *args: Any, **kwargs: Any) -> Any:
        """Compute in float32 here, anything else by the reference."""
        own = is_float32(x) or (self.takes_bfloat16 and is_bfloat16(x))
        if not (own and self.covers(x, *args, **kwargs)):
            return self.reference(x, *args, **kwargs)
        try:
            return self.kernel(x, *args, **kwargs)
        except HandgradError:
            raise
        except (AttributeError, IndexError, TypeError, ValueError) as error:
            if problem := what_is_wrong(self.contract, (x, *args), kwargs):
                raise problem from None
            if not isinstance(error, TypeError):  # of several dtypes, which the extension module does not mix
                raise
        return self.reference(x, *args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by names, as functions are."""
        return _compiled, self._made_from


def _compiled(family: str, name: str, instructions: str, options: dict[str, Any]) -> Compiled:
    module = import_module(family)
    table = next(t for t in load().module.tables() if t.name == instructions)
    return Compiled(module, name, table, options)


def _covers(*args: Any, **_: Any) -> bool:
    for a in args:  # noqa: SIM110 (`any` takes three times as long)
        if is_complex(a):
            return False
    return True


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
    options = {family: {"algorithm": algorithm} for family in (conv, fused, packed)}
    entries = {
        name: Compiled(family, name, compiled, options.get(family, {}))
        for family in _FAMILIES
        for name in family.__all__
    }
    return replace(REFERENCE, **entries)
