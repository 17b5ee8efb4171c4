"""What training has come to, epoch by epoch."""

from __future__ import annotations

import csv
import io
import json
import math
import os
import reprlib
from pathlib import Path

from handgrad.errors import CheckpointError
from handgrad.io import replace_file


class History(dict[str, list[float]]):
    """For every quantity its value after each epoch: ``history["val_accuracy"][-1]``.

    Examples
    --------
    >>> history = History()
    >>> history.append({"loss": 0.5, "accuracy": 0.8})
    >>> history.append({"loss": 0.3, "accuracy": 0.9})
    >>> history["accuracy"]
    [0.8, 0.9]
    >>> print(history.to_csv())
    epoch,loss,accuracy
    1,0.5,0.8
    2,0.3,0.9
    <BLANKLINE>
    """

    @property
    def epochs(self) -> int:
        """How many epochs there are."""
        return max(map(len, self.values()), default=0)

    def append(self, logs: dict[str, float]) -> None:
        """Add an epoch; a quantity that is new or missing is NaN where it was not measured."""
        done = self.epochs
        for name in {**self, **logs}:
            values = self.setdefault(name, [])
            values += [float("nan")] * (done - len(values))
            values.append(float(logs.get(name, float("nan"))))

    def amend(self, logs: dict[str, float]) -> None:
        """Set values of the last epoch; a quantity that is new is NaN in those before."""
        done = self.epochs
        for name, value in logs.items():
            values = self.setdefault(name, [])
            values += [float("nan")] * (done - len(values))
            values[-1] = float(value)

    def to_csv(self) -> str:
        """Return a table with a row for each epoch, counted from 1."""
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(["epoch", *self])
        for i in range(self.epochs):
            writer.writerow([i + 1, *(repr(values[i]) for values in self.values())])
        return out.getvalue()

    def to_json(self) -> str:
        """Return an object with a list for each quantity; NaN and infinity are null, as JSON has neither."""
        plain = {name: [v if math.isfinite(v) else None for v in values] for name, values in self.items()}
        return json.dumps(plain, indent=1)

    @classmethod
    def from_json(cls, text: str) -> History:
        """Return the history that `to_json` wrote, with NaN for null.

        Raises
        ------
        CheckpointError
            If it is something else.
        """
        try:
            read = json.loads(text)
        except (TypeError, ValueError, RecursionError) as error:
            raise CheckpointError("history", expected="JSON", got=str(error)) from None
        for name, values in read.items() if isinstance(read, dict) else [("", None)]:
            if not isinstance(values, list) or not all(
                v is None or (isinstance(v, int | float) and not isinstance(v, bool)) for v in values
            ):
                got = f"{reprlib.repr(values)} for {name!r}" if name else reprlib.repr(read)
                raise CheckpointError("history", expected="lists of numbers by name", got=got)
        return cls(
            {name: [float("nan") if v is None else v for v in values] for name, values in read.items()}
        )

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Write ``history.csv`` and ``history.json`` into a folder."""
        replace_file(Path(folder) / "history.csv", self.to_csv())
        replace_file(Path(folder) / "history.json", self.to_json())
