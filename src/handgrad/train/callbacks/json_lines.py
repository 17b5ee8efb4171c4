"""What happens, for programs to read."""

from __future__ import annotations

import json
import math
from typing import Any, TextIO

from handgrad.arguments import check_file
from handgrad.terminal import Output
from handgrad.train.callbacks.callback import Callback, Logs
from handgrad.train.callbacks.pace import Pace


class JsonLines(Callback):
    """Writes a line for each epoch that is a JSON object, with ``"event": "epoch"``.

    ``epoch`` counts from 1, of ``epochs``; ``seconds`` is the time since it began, of which the trainer
    ``waited`` for batches; ``samples_per_second`` leaves out validation, ``seconds_left`` is to the end of
    the fit. Loss and metrics have their names. NaN and infinity are null, as JSON has neither. Where nobody
    reads any more, or writing fails, the lines end, and training goes on.

    Parameters
    ----------
    file : text file, optional
        Where to; standard output by default.
    """

    def __init__(self, file: TextIO | None = None) -> None:
        check_file("JsonLines file", file)
        self._output = Output(file, "stdout")

    def write(self, event: str, **values: Any) -> None:
        """Write a line about something else that has happened."""
        finite = {k: None if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()}
        self._output.print(json.dumps({"event": event, **finite}))

    def on_train_begin(self) -> None:
        """Begin to measure."""
        self._pace = Pace(self.trainer)

    def on_epoch_begin(self, epoch: int) -> None:
        """Measure anew."""
        self._pace.epoch_begins()

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """Count the step."""
        self._pace.step_ends()

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """Write the epoch's line."""
        pace = self._pace
        self.write(
            "epoch",
            epoch=epoch + 1,
            epochs=self.trainer.progress.last,
            **logs,
            seconds=round(pace.seconds, 3),
            waited=round(pace.waited, 3),
            samples_per_second=round(pace.per_second, 1),
            seconds_left=round(pace.left, 1),
        )
