"""Going on, or stopping, when a value is not finite."""

from __future__ import annotations

import warnings

from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.train.callbacks.callback import Callback
from handgrad.train.callbacks.kept import kept
from handgrad.typing import Array, Config, is_integer


class NonFinite(Callback):
    """Decides what follows a step that was left out because its loss or a gradient was NaN or infinite.

    Without this callback the error is raised out of `Trainer.fit`. Either way parameters and running
    statistics are as before that step.

    Parameters
    ----------
    action : "skip" or "stop"
        Go on with the next batch and warn, or end training quietly with all that was reached.
    limit : int, default 10
        After how many skipped steps in a row the error is raised after all.

    Attributes
    ----------
    errors : list of NonFiniteError
        What was met; each message names the layer that came first.
    """

    def __init__(self, action: str = "skip", limit: int = 10) -> None:
        if not isinstance(action, str) or action not in ("skip", "stop"):
            raise ArgumentError("NonFinite action", expected='"skip" or "stop"', got=repr(action))
        if not is_integer(limit) or limit < 0:
            raise ArgumentError(
                "NonFinite", expected="limit to be a whole number of at least 0", got=repr(limit)
            )
        self.action, self.limit = action, limit
        self.errors: list[NonFiniteError] = []
        self.in_a_row = 0

    def on_train_batch_end(self, batch: int, logs: dict[str, float]) -> None:
        """Begin to count anew."""
        self.in_a_row = 0

    def on_nonfinite(self, error: NonFiniteError) -> bool:
        """Skip or stop."""
        self.errors.append(error)
        if self.action == "stop":
            self.trainer.stop_training = True
            return True
        self.in_a_row += 1
        if self.in_a_row <= self.limit:
            warnings.warn(f"step left out: {error}", stacklevel=2)
        return self.in_a_row <= self.limit

    def state(self) -> Config:
        """Return how many steps in a row were left out."""
        return {"in_a_row": self.in_a_row}

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from there."""
        self.in_a_row = kept(state, "in_a_row", whole=True)
