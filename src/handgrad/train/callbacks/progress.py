"""Where training is, on the screen."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, TextIO

from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.pace import Pace

if TYPE_CHECKING:
    from handgrad.train.callbacks.bar import Bar


class Progress(Callback):
    """Shows loss, metrics, speed and time left: a moving bar in a terminal, a line for each epoch anywhere.

    The speed is that of training, without validation, whose results are in the epoch's line.

    Parameters
    ----------
    file : text file, optional
        Where to; standard error by default.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        self._file = file
        self._bar: Bar | None = None

    def on_train_begin(self) -> None:
        """Open the bar."""
        self._pace = Pace(self.trainer)
        if not self._out.isatty():
            return
        from handgrad.train.callbacks.bar import Bar

        progress = self.trainer.progress
        self._bar = Bar(
            file=self._out,
            desc=f"epoch {self._epoch_of()}",
            initial=progress.batch,
            total=progress.batches,
            bar_format="{desc} |{bar}| {values}",
        )

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the bar back."""
        self._pace.epoch_begins()
        if self._bar is not None:
            self._bar.n = self.trainer.progress.batch
            self._bar.set_description_str(f"epoch {self._epoch_of()}")

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar on."""
        self._pace.step_ends()
        if self._bar is not None:
            self._bar.values = f"{_values(logs)}, {self._speed()}, {duration(self._pace.left)} left"
            self._bar.update(batch + 1 - self._bar.n)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the epoch's line."""
        line = f"epoch {self._epoch_of(done=True)}  {_values(logs)}"
        if self._bar is not None:  # it shows speed and the time left, and the line fits into 80 columns
            self._bar.write(line, file=self._out)
            return
        left = duration(self._pace.left)
        line += f"  {self._pace.seconds:.1f} s, {self._speed()}" + ("" if left == "0 s" else f", {left} left")
        print(line, file=self._out, flush=True)

    def on_train_end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    @property
    def _out(self) -> TextIO:
        return self._file or sys.stderr

    def _epoch_of(self, *, done: bool = False) -> str:
        progress = self.trainer.progress
        last = str(progress.last)
        return f"{progress.epoch + (0 if done else 1):>{len(last)}}/{last}"

    def _speed(self) -> str:
        what = "images" if len(self.trainer.model.input_shape) == 3 else "samples"
        speed = self._pace.per_second
        return f"{speed:,.{0 if speed >= 10 else 1}f} {what}/s"


def duration(seconds: float) -> str:
    """Return ``"42 s"``, ``"3:05 min"`` or ``"1:02 h"``."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    return f"{s // 60}:{s % 60:02d} min" if s < 3600 else f"{s // 3600}:{s % 3600 // 60:02d} h"


def _values(logs: Logs) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
