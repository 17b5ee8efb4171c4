"""Where training is, on the screen."""

from __future__ import annotations

from typing import TYPE_CHECKING, TextIO

from handgrad.arguments import check_file
from handgrad.terminal import Output
from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.pace import Pace

if TYPE_CHECKING:
    from handgrad.train.callbacks.bar import Bar


class Progress(Callback):
    """Shows loss, metrics, speed and time left: a moving bar in a terminal, a line for each epoch anywhere.

    The speed is that of training, without validation, whose results are in the epoch's line. Where the stream
    is closed, or writing fails, nothing more is shown, and training goes on.

    Parameters
    ----------
    file : text file, optional
        Where to; standard error by default.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        check_file("Progress file", file)
        self._output = Output(file)
        self._bar: Bar | None = None

    def on_train_begin(self) -> None:
        """Open the bar."""
        self._pace = Pace(self.trainer)
        if not self._output.isatty():
            return
        from handgrad.train.callbacks.bar import Bar

        progress = self.trainer.progress
        with self._output.ending():
            self._bar = Bar(
                file=self._output.stream,
                desc=f"epoch {self._epoch_of()}",
                initial=progress.batch,
                total=progress.batches,
                bar_format="{desc} |{bar}| {values}",
            )

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the bar back."""
        self._pace.epoch_begins()
        if (bar := self._shown) is not None:
            bar.n = self.trainer.progress.batch
            with self._output.ending():
                bar.set_description_str(f"epoch {self._epoch_of()}")

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar on."""
        self._pace.step_ends()
        if (bar := self._shown) is not None:
            bar.values = f"{_values(logs)}, {self._speed()}, {duration(self._pace.left)} left"
            with self._output.ending():
                bar.update(batch + 1 - bar.n)

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the epoch's line."""
        line = f"epoch {self._epoch_of(done=True)}  {_values(logs)}"
        if (
            bar := self._shown
        ) is not None:  # it shows speed and time left, and the line fits into 80 columns
            with self._output.ending():
                bar.write(line, file=self._output.stream)
            return
        left = duration(self._pace.left)
        line += f"  {self._pace.seconds:.1f} s, {self._speed()}" + ("" if left == "0 s" else f", {left} left")
        self._output.print(line)

    def on_train_end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            with self._output.ending():
                self._bar.close()
            self._bar = None

    @property
    def _shown(self) -> Bar | None:
        """The bar, as long as it can be drawn."""
        return None if self._output.ended else self._bar

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
