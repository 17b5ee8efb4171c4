"""Which of two values is better."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass

from handgrad.errors import ArgumentError
from handgrad.train.callbacks.callback import Callback
from handgrad.train.callbacks.several import may_measure

_BEFORE = "put the callback that sets it in its logs before this one"


@dataclass(frozen=True)
class Monitor:
    """A quantity of the logs, and whether more of it is better.

    Parameters
    ----------
    name : str
        Such as ``"val_loss"``.
    mode : "auto", "min" or "max"
        Which is better; "auto" takes "max" for names that end in accuracy.
    """

    name: str
    mode: str = "auto"

    def __post_init__(self) -> None:
        if not isinstance(self.mode, str) or self.mode not in ("auto", "min", "max"):
            raise ArgumentError("mode", expected='"auto", "min" or "max"', got=repr(self.mode))
        if not isinstance(self.name, str) or not self.name:
            raise ArgumentError("monitor", expected='a quantity by name, such as "loss"', got=repr(self.name))

    @property
    def sign(self) -> float:
        """1 where more is better, else -1."""
        larger = self.name.endswith("accuracy") if self.mode == "auto" else self.mode == "max"
        return 1.0 if larger else -1.0

    def check(self, callback: Callback) -> None:
        """Raise ArgumentError if nothing measures it, nor a callback before `callback` may add it to logs."""
        trainer = callback.trainer
        if self.name not in trainer.quantities and not may_measure(callback, trainer.callbacks):
            raise self._missing(trainer.quantities)

    def value(self, logs: dict[str, float]) -> float:
        """Return the quantity; raise ArgumentError if it is not among `logs`."""
        if self.name not in logs:
            raise self._missing(logs, _BEFORE)
        return logs[self.name]

    def _missing(self, names: Collection[str], do: str = "") -> ArgumentError:
        if self.name.startswith("val_"):
            do = "pass validation= to fit" if self.name.removeprefix("val_") in names else _BEFORE
        return ArgumentError("monitor", expected=f"one of {', '.join(names)}", got=repr(self.name), do=do)

    def better(self, value: float, best: float | None, min_delta: float = 0.0) -> bool:
        """Whether `value` is better than `best` by more than `min_delta`; NaN never is."""
        if best is None:
            return not math.isnan(value)
        return self.sign * (value - best) > min_delta
