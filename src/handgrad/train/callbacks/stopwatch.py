"""How long training took."""

from __future__ import annotations

import time

from handgrad.train.callbacks.callback import Callback
from handgrad.typing import Array, Config


class Stopwatch(Callback):
    """Measures the time spent in `Trainer.fit`, also over the parts of a run that was resumed.

    Attributes
    ----------
    seconds : float
        So far.
    """

    def __init__(self) -> None:
        self._before = 0.0
        self._begun: float | None = None

    @property
    def seconds(self) -> float:
        """The time so far, in seconds."""
        return self._before + (0.0 if self._begun is None else time.perf_counter() - self._begun)

    def on_train_begin(self) -> None:
        """Start."""
        self._begun = time.perf_counter()

    def on_train_end(self) -> None:
        """Stop."""
        self._before, self._begun = self.seconds, None

    def state(self) -> Config:
        """Return the time so far."""
        return {"seconds": self.seconds}

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        self._before = state["seconds"]
