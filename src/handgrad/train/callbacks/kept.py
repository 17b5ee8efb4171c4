"""What callbacks and trainer have kept in a checkpoint, which may be damaged."""

from __future__ import annotations

import reprlib
from typing import Any

from handgrad.errors import CheckpointError, HandgradError
from handgrad.train.callbacks.callback import Callback
from handgrad.typing import Array, Config, is_integer


def check_kept(name: str, value: Any, *, whole: bool = False) -> None:
    """Raise CheckpointError unless `value` is a number, or a whole one of at least 0."""
    number = is_integer(value) or isinstance(value, float)
    if not number or (whole and not (is_integer(value) and value >= 0)):
        expected = "a whole number of at least 0" if whole else "a number"
        raise CheckpointError(name, expected=expected, got=reprlib.repr(value))


def kept(state: Config, name: str, *, whole: bool = False, optional: bool = False) -> Any:
    """Return a number of a callback's state, or None if it is `optional`; raise CheckpointError for more."""
    value = state.get(name)
    if value is not None or not optional:
        check_kept(name, value, whole=whole)
    return value


def resume(key: str, callback: Callback, state: Config, arrays: dict[str, Array]) -> None:
    """Let a callback go on from what a checkpoint holds for it under `key`.

    Raises
    ------
    CheckpointError
        If that is damaged, or another class's of the same name.
    """
    try:
        callback.load_state(state, arrays)
    except HandgradError as error:
        raise CheckpointError(f"{key} {error.where}", expected=error.expected, got=error.got) from error
    except Exception as error:  # a user's own callback raises whatever it does
        raise CheckpointError(
            key, expected="the state of this callback", got=f"another ({error!r})"
        ) from error
