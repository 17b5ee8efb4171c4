"""How long training took, and what of it was spent."""

from __future__ import annotations

import time
from typing import NamedTuple

from handgrad.train.callbacks.callback import Callback
from handgrad.train.callbacks.kept import kept
from handgrad.typing import Array, Config


class Spent(NamedTuple):
    """Seconds.

    Attributes
    ----------
    seconds : float
        By the clock.
    cpu_seconds : float
        Of the process, on all its CPUs together.
    waited : float
        In which training waited for batches.
    """

    seconds: float = 0.0
    cpu_seconds: float = 0.0
    waited: float = 0.0


class Stopwatch(Callback):
    """Measures the time spent in `Trainer.fit`, also over the parts of a run that was resumed.

    Attributes
    ----------
    spent : Spent
        So far.
    """

    def __init__(self) -> None:
        self._before = Spent()
        self._begun: Spent | None = None

    @property
    def spent(self) -> Spent:
        """What has been spent so far."""
        if self._begun is None:
            return self._before
        now = zip(self._before, self._now(), self._begun, strict=True)
        return Spent(*(before + end - begin for before, end, begin in now))

    @property
    def seconds(self) -> float:
        """The time so far, in seconds."""
        return self.spent.seconds

    def on_train_begin(self) -> None:
        """Start."""
        self._begun = self._now()

    def on_train_end(self) -> None:
        """Stop."""
        self._before, self._begun = self.spent, None

    def state(self) -> Config:
        """Return the time so far."""
        return self.spent._asdict()

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        self._before = Spent(*(kept(state, name) for name in Spent._fields if name in state))

    def _now(self) -> Spent:
        return Spent(time.perf_counter(), time.process_time(), self.trainer.waited)
