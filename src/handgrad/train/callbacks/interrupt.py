"""Ctrl-C between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from handgrad.train.callbacks.callback import Callback


class StopOnInterrupt(Callback):
    """Turns Ctrl-C into a stop after the step that is running, so that no step is left half done.

    A second Ctrl-C raises KeyboardInterrupt at once. Outside the main thread, where signals cannot be caught,
    it does nothing.

    Attributes
    ----------
    interrupted : bool
        Whether there was one.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._before: Any = None

    def on_train_begin(self) -> None:
        """Begin to catch the signal."""
        self.interrupted = False
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._stop)

    def on_train_end(self) -> None:
        """Give the signal back."""
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            self._before = None

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
        self.trainer.stop_training = True
