"""Stopping when nothing gets better."""

from __future__ import annotations

import math

from handgrad.arguments import check_flag, check_number
from handgrad.errors import ArgumentError
from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.kept import kept
from handgrad.train.callbacks.monitor import Monitor
from handgrad.typing import Array, Config, is_integer


class EarlyStopping(Callback):
    """Stops training when a quantity has not become better for a while.

    Parameters
    ----------
    monitor : str, default "val_loss"
        The quantity.
    min_delta : float, default 0.0
        By how much it must become better to count.
    patience : int, default 0
        After how many epochs in which it has not; 0 means 1.
    mode : "auto", "min" or "max"
        Which is better; "auto" takes "max" for accuracies.
    restore_best_weights : bool, default False
        Whether the parameters and buffers of the best epoch are put back at the end.

    Attributes
    ----------
    best : float or None
        The best value so far.
    best_epoch : int or None
        Its epoch, counted from 0.
    """

    def __init__(
        self,
        monitor: str = "val_loss",
        min_delta: float = 0.0,
        patience: int = 0,
        mode: str = "auto",
        *,
        restore_best_weights: bool = False,
    ) -> None:
        self.monitor = Monitor(monitor, mode)
        check_number("EarlyStopping", "min_delta", min_delta, least=-math.inf)
        if not is_integer(patience) or patience < 0:
            raise ArgumentError(
                "EarlyStopping", expected="patience to be a whole number of at least 0", got=repr(patience)
            )
        check_flag("EarlyStopping", "restore_best_weights", restore_best_weights)
        self.min_delta, self.patience, self.restore = min_delta, patience, restore_best_weights
        self.best: float | None = None
        self.best_epoch: int | None = None
        self.waited = 0
        self._weights: dict[str, Array] | None = None
        self._resumed: int | None = None

    def on_train_begin(self) -> None:
        """Wait anew if the fit before was stopped; if it is that fit that is resumed, it has ended."""
        self.monitor.check(self)
        if self._long_enough():
            if self._resumed == self.trainer.progress.last:
                self.trainer.stop_training = True
            else:
                self.waited = 0
        self._resumed = None

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Compare, and stop if it has been long enough."""
        value = self.monitor.value(logs)
        if self.monitor.better(value, self.best, self.min_delta):
            self.best, self.best_epoch, self.waited = value, epoch, 0
            self._weights = self.trainer.model.state() if self.restore else None
            return
        self.waited += 1
        if self._long_enough():
            self.trainer.stop_training = True

    def on_train_end(self) -> None:
        """Put the best weights back."""
        if self._weights is not None:
            self.trainer.model.load_state(self._weights)

    def state(self) -> Config:
        """Return the best value and how long ago it was."""
        last = self.trainer.progress.last
        return {"best": self.best, "best_epoch": self.best_epoch, "waited": self.waited, "last": last}

    def arrays(self) -> dict[str, Array]:
        """Return the best weights."""
        return self._weights or {}

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        if arrays:
            self.trainer.model.check_state(arrays)
        best, waited = kept(state, "best", optional=True), kept(state, "waited", whole=True)
        best_epoch, last = (kept(state, name, whole=True, optional=True) for name in ("best_epoch", "last"))
        self.best, self.best_epoch, self.waited = best, best_epoch, waited
        self._weights, self._resumed = arrays or None, last

    def _long_enough(self) -> bool:
        return self.waited >= max(self.patience, 1)
