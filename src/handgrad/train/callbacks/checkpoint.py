"""Saving while training goes on."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from handgrad.arguments import check_path
from handgrad.errors import ArgumentError
from handgrad.io import save
from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.kept import kept
from handgrad.train.callbacks.monitor import Monitor
from handgrad.typing import Array, Config


class Checkpoint(Callback):
    """Keeps the last state of training and the best model in a folder.

    ``last.safetensors`` holds all that `Trainer.load` goes on from. It is written when all steps of an epoch
    are done, so that nothing that fails after them loses them: validation, or a callback. It is written again
    when the epoch has ended, and when training is stopped in the middle of one (not when an error ends it).
    ``best.safetensors`` holds the model of the best epoch, for `handgrad.load`. Put it last among the
    callbacks: after an epoch it then saves what the others have become, and at the end, of which the last is
    told first, the parameters as they are before `EarlyStopping` puts the best ones back.

    Parameters
    ----------
    folder : path
        Is created if need be.
    monitor : str, optional
        The quantity that decides which epoch is best, such as ``"val_accuracy"``; without it no best is kept.
    mode : "auto", "min" or "max"
        Which is better; "auto" takes "max" for accuracies.
    about : mapping, optional
        What is written into the best model's header.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        monitor: str | None = None,
        mode: str = "auto",
        *,
        about: Mapping[str, Any] | None = None,
    ) -> None:
        self.folder = check_path("Checkpoint folder", folder)
        watched = Monitor("loss" if monitor is None else monitor, mode)
        self.monitor = None if monitor is None else watched
        if about is not None and not isinstance(about, Mapping):
            raise ArgumentError("Checkpoint about", expected="a dict, or None", got=repr(about))
        self.about = about
        self.best: float | None = None
        self.best_epoch: int | None = None

    @property
    def last_path(self) -> Path:
        """Where the last state is."""
        return self.folder / "last.safetensors"

    @property
    def best_path(self) -> Path:
        """Where the best model is."""
        return self.folder / "best.safetensors"

    def on_train_begin(self) -> None:
        """Check that there will be what is monitored."""
        if self.monitor is not None:
            self.monitor.check(self)

    def on_epoch_trained(self, epoch: int) -> None:
        """Save the state before validation and what others do at the epoch's end."""
        self.trainer.save(self.last_path)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Save the best model if this is it, then the state."""
        if self.monitor is not None:
            value = self.monitor.value(logs)
            if self.monitor.better(value, self.best):
                self.best, self.best_epoch = value, epoch
                save(self.trainer.model, self.best_path, about=self.about)
        self.trainer.save(self.last_path)

    def on_train_end(self) -> None:
        """Save the state if training was stopped within an epoch."""
        if self.trainer.progress.batch and not self.trainer.failed:
            self.trainer.save(self.last_path)

    def state(self) -> Config:
        """Return the best value so far."""
        return {"best": self.best, "best_epoch": self.best_epoch}

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        best, epoch = kept(state, "best", optional=True), kept(state, "best_epoch", whole=True, optional=True)
        self.best, self.best_epoch = best, epoch
