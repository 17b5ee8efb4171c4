"""How fast training is."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from handgrad.train.trainer import Trainer


class Pace:
    """Measures an epoch as a callback is told of it, and from the steps so far what is left.

    Attributes
    ----------
    per_second : float
        Samples trained on in a second of the epoch so far, its validation left out.
    """

    def __init__(self, trainer: Trainer) -> None:
        self._trainer = trainer
        self._begun = self._epoch_begun = time.perf_counter()
        self._steps = self._samples_before = 0
        self._waited_before = self.per_second = 0.0

    def epoch_begins(self) -> None:
        """Measure anew."""
        self._epoch_begun = time.perf_counter()
        self._samples_before, self._waited_before = self._trainer.samples, self._trainer.waited
        self.per_second = 0.0

    def step_ends(self) -> None:
        """Count a step."""
        self._steps += 1
        self.per_second = (self._trainer.samples - self._samples_before) / max(self.seconds, 1e-9)

    @property
    def seconds(self) -> float:
        """Since the epoch began, in this fit."""
        return time.perf_counter() - self._epoch_begun

    @property
    def waited(self) -> float:
        """Seconds that the trainer has waited for batches since the epoch began."""
        return self._trainer.waited - self._waited_before

    @property
    def left(self) -> float:
        """Seconds to the end of the fit, as long as its steps so far took, with all that was between them."""
        at = self._trainer.progress
        steps = (at.last - at.epoch) * at.batches - at.batch
        return max(steps, 0) * (time.perf_counter() - self._begun) / max(self._steps, 1)
