"""Where training is, on the screen."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from handgrad.train.callbacks.callback import Callback, Logs

if TYPE_CHECKING:
    from rich.console import Console


class Progress(Callback):
    """Shows loss, metrics and the time left: a moving bar in a terminal, a line for each epoch elsewhere.

    Parameters
    ----------
    console : rich.console.Console, optional
        Where to; standard error by default.
    """

    def __init__(self, console: Console | None = None) -> None:
        self._console = console
        self._bar: Any = None
        self._task: Any = None
        self._begun = self._epoch_begun = 0.0
        self._steps = 0

    def on_train_begin(self) -> None:
        """Open the bar."""
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn
        from rich.progress import Progress as Bar

        self._console = self._console or Console(stderr=True)
        self._begun, self._steps = time.perf_counter(), 0
        if not self._console.is_terminal:
            return
        self._bar = Bar(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(bar_width=24),
            TextColumn("{task.completed}/{task.total}"),
            TextColumn("[cyan]{task.fields[values]}"),
            TextColumn("{task.fields[left]}"),
            console=self._console,
            transient=True,
        )
        progress = self.trainer.progress
        self._task = self._bar.add_task(
            "", total=progress.batches, completed=progress.batch, epoch=self._epoch_of(), values="", left=""
        )
        self._bar.start()

    def on_epoch_begin(self, epoch: int) -> None:
        """Set the bar back."""
        self._epoch_begun = time.perf_counter()
        if self._bar is not None:
            self._bar.update(self._task, completed=self.trainer.progress.batch, epoch=self._epoch_of())

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Move the bar on."""
        self._steps += 1
        if self._bar is not None:
            self._bar.update(
                self._task, completed=batch + 1, values=_values(logs), left=f"{self._left()} left"
            )

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Print the epoch's line."""
        assert self._console is not None
        line = f"epoch {self._epoch_of(done=True)}  {_values(logs)}"
        if self._bar is None:  # which shows the time left, and the line fits into 80 columns
            seconds, left = time.perf_counter() - self._epoch_begun, self._left()
            line += f"  {seconds:.1f} s" + ("" if left == "0 s" else f", {left} left")
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def on_train_end(self) -> None:
        """Close the bar."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _epoch_of(self, *, done: bool = False) -> str:
        progress = self.trainer.progress
        last = str(progress.last)
        return f"{progress.epoch + (0 if done else 1):>{len(last)}}/{last}"

    def _left(self) -> str:
        progress = self.trainer.progress
        steps = (progress.last - progress.epoch) * progress.batches - progress.batch
        per_step = (time.perf_counter() - self._begun) / max(self._steps, 1)
        return duration(max(steps, 0) * per_step)


def duration(seconds: float) -> str:
    """Return ``"42 s"``, ``"3:05 min"`` or ``"1:02 h"``."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    return f"{s // 60}:{s % 60:02d} min" if s < 3600 else f"{s // 3600}:{s % 3600 // 60:02d} h"


def _values(logs: Logs) -> str:
    return "  ".join(f"{name} {value:.4f}" for name, value in logs.items())
