"""Ctrl-C, and the signals that end a process, between two steps."""

from __future__ import annotations

import signal
import threading
from types import FrameType
from typing import Any

from handgrad.train.callbacks.callback import Callback


class StopOnInterrupt(Callback):
    """Turns Ctrl-C into a stop after the step that is running, so that no step is left half done.

    So do the signals that end a process: SIGTERM, as schedulers and ``kill`` send it, and SIGHUP, when the
    terminal is closed. A second one raises KeyboardInterrupt at once. A SIGHUP that is ignored, as by
    ``nohup``, stays so. Outside the main thread, where signals cannot be caught, it does nothing.

    Attributes
    ----------
    interrupted : bool
        Whether there was one.
    signal : int or None
        Its number.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self.signal: int | None = None
        self._before: dict[int, Any] = {}

    def on_train_begin(self) -> None:
        """Begin to catch the signals."""
        self.interrupted, self.signal = False, None
        if threading.current_thread() is not threading.main_thread():
            return
        for name in ("SIGINT", "SIGTERM", "SIGHUP"):
            number = getattr(signal, name, None)  # Windows has no SIGHUP
            if number is None or (name == "SIGHUP" and signal.getsignal(number) is signal.SIG_IGN):
                continue
            self._before[number] = signal.signal(number, self._stop)

    def on_train_end(self) -> None:
        """Give the signals back."""
        while self._before:
            number, handler = self._before.popitem()
            if handler is not None:  # None is one that Python did not set and cannot set again
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted, self.signal = True, number
        self.trainer.stop_training = True
