"""Several callbacks together."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from handgrad.errors import ArgumentError
from handgrad.train.callbacks.callback import Callback


def checked(callbacks: Any) -> tuple[Callback, ...]:
    """Return callbacks, or one, as a tuple; raise ArgumentError if there is something else among them."""
    several = tuple(callbacks) if isinstance(callbacks, Iterable) else (callbacks,)
    for callback in several:
        if not isinstance(callback, Callback):
            got, do = repr(callback), ""
            if isinstance(callback, type):
                got, do = f"the class {callback.__name__}", f"create it: {callback.__name__}(...)"
            raise ArgumentError("fit callbacks", expected="objects of a Callback class", got=got, do=do)
    return several


def keyed(callbacks: tuple[Callback, ...]) -> dict[str, Callback]:
    """Return each callback by a name that a resumed run finds it by: its class and its number."""
    kinds = [type(callback).__name__ for callback in callbacks]
    return {f"{kind}.{kinds[:i].count(kind)}": callbacks[i] for i, kind in enumerate(kinds)}
