"""What a callback is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handgrad.errors import NonFiniteError
from handgrad.typing import Array, Config

if TYPE_CHECKING:
    from handgrad.train.trainer import Trainer

Logs = dict[str, float]


class Callback:
    """Is told where training is, and may stop it with ``self.trainer.stop_training = True``.

    Every method does nothing here; they are called in the order of the list given to `Trainer.fit`,
    `on_train_end` in the opposite one. Epochs and batches count from 0. A method of another name that begins
    with ``on_`` would never be called: a fit refuses it.
    """

    trainer: Trainer

    def set_trainer(self, trainer: Trainer) -> None:
        """Get the trainer, before anything else is called."""
        self.trainer = trainer

    def on_train_begin(self) -> None:
        """Before the first step of a fit."""

    def on_epoch_begin(self, epoch: int) -> None:
        """Before the first step of an epoch."""

    def on_train_batch_begin(self, batch: int) -> None:
        """Before a step."""

    def on_train_batch_end(self, batch: int, logs: Logs) -> None:
        """After a step; `logs` holds the epoch's means so far."""

    def on_epoch_trained(self, epoch: int) -> None:
        """After the last step of an epoch, before its validation: what can fail comes after it."""

    def on_epoch_end(self, epoch: int, logs: Logs) -> None:
        """After an epoch and its validation, whose results begin with ``val_``.

        A number that is put into `logs` enters the history, and the callbacks that follow see it: it can be
        monitored.
        """

    def on_train_end(self) -> None:
        """After the last step, also when training was stopped or failed."""

    def on_nonfinite(self, error: NonFiniteError) -> bool:
        """After a step that was left out because of a value that is not finite; return whether to go on."""
        return False

    def state(self) -> Config:
        """Return what a resumed run needs of this callback, as JSON can hold it."""
        return {}

    def arrays(self) -> dict[str, Array]:
        """Return what a resumed run needs of this callback besides, as arrays by name."""
        return {}

    def load_state(self, state: Config, arrays: dict[str, Array]) -> None:
        """Go on from what `state` and `arrays` returned."""
