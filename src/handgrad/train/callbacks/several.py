"""Several callbacks together."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from difflib import get_close_matches
from numbers import Real
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.train.callbacks.callback import Callback, Logs

_CALLED = {name: value for name, value in vars(Callback).items() if name.startswith("on_")}


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """Return callbacks, or one, as a tuple; raise ArgumentError if there is something else among them."""
    several = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    for callback in several:
        if not isinstance(callback, Callback):
            got, do = repr(callback), ""
            if isinstance(callback, type):
                got, do = f"the class {callback.__name__}", f"create it: {callback.__name__}(...)"
            raise ArgumentError("fit callbacks", expected="objects of a Callback class", got=got, do=do)
        _check_methods(callback)
    return several


def _check_methods(callback: Callback) -> None:
    """Raise ArgumentError if `callback` has a method that nobody calls, or calls with other arguments."""
    where = f"callback {type(callback).__name__}"
    for name in dir(callback):
        if not name.startswith("on_"):
            continue
        if name not in _CALLED:
            [nearest] = get_close_matches(name.replace("start", "begin"), _CALLED, 1, 0.0)
            raise ArgumentError(
                where,
                expected=f"methods among {', '.join(_CALLED)}",
                got=name,
                do=f"call it {nearest}, or, if training is not to call it, by a name without on_",
            )
        given = list(inspect.signature(_CALLED[name]).parameters)[1:]
        try:
            inspect.signature(getattr(callback, name)).bind(*given)
        except (TypeError, ValueError) as error:
            raise ArgumentError(
                where,
                expected=f"{name} as a method with the arguments {', '.join(('self', *given))}",
                got=f"another ({error})",
            ) from None


def measured_by(callback: Callback, logs: Logs) -> dict[str, float]:
    """Return the logs after a callback, as floats; raise ArgumentError if it put something else there."""
    numbers = {}
    for name, value in logs.items():
        single = isinstance(value, Real) or (isinstance(value, np.ndarray) and value.ndim == 0)
        if not isinstance(name, str) or not single:
            raise ArgumentError(
                f"callback {type(callback).__name__}",
                expected="logs of numbers by name",
                got=f"{name!r}: {value!r}",
            )
        numbers[name] = float(value)
    return numbers


def may_measure(callback: Callback, callbacks: tuple[Callback, ...]) -> bool:
    """Whether a callback before `callback` may add to the logs, as none of handgrad's own does."""
    before = callbacks[: callbacks.index(callback)] if callback in callbacks else callbacks
    return any(not type(other).__module__.startswith("handgrad.") for other in before)


def keyed(callbacks: tuple[Callback, ...]) -> dict[str, Callback]:
    """Return each callback by a name that a resumed run finds it by: its class and its number."""
    kinds = [type(callback).__name__ for callback in callbacks]
    return {f"{kind}.{kinds[:i].count(kind)}": callbacks[i] for i, kind in enumerate(kinds)}
