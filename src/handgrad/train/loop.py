"""The loop of a fit: epoch by epoch, step by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from functools import partial
from typing import TYPE_CHECKING

from handgrad.data import Dataset, Loader
from handgrad.errors import NonFiniteError
from handgrad.train.callbacks.several import measured_by
from handgrad.train.checks import warn_of_untrained
from handgrad.train.metrics import Metric, measured, metrics_for
from handgrad.train.step import done, gradients, source, try_labels
from handgrad.train.totals import Totals
from handgrad.train.uninterrupted import uninterrupted
from handgrad.typing import Array

if TYPE_CHECKING:
    from handgrad.train.trainer import Trainer


class Loop:
    """What a fit does between its beginning and its end; where it is stands in ``trainer.progress``.

    Parameters
    ----------
    trainer : Trainer
        Whose fit it is.
    loader : Loader
        Of the batches for training.
    validation : Dataset, optional
        Is evaluated after every epoch.
    """

    def __init__(self, trainer: Trainer, loader: Loader, validation: Dataset | None) -> None:
        self.trainer, self.loader, self.validation = trainer, loader, validation
        labels = getattr(loader.dataset, "labels", None)
        self._metrics = None if labels is None else self._metrics_for(labels)
        self._untried = validation

    def run(self) -> None:
        """Train until the last epoch is done, or a callback stops it."""
        at = self.trainer.progress
        while at.epoch < at.last and not self.trainer.stop_training:
            self._epoch()

    def _epoch(self) -> None:
        trainer, at = self.trainer, self.trainer.progress
        for callback in trainer.callbacks:
            callback.on_epoch_begin(at.epoch)
        warn_of_untrained(trainer.model)
        with closing(self.loader.epoch(at.epoch, at.batch)) as batches:
            for x, y in self._waited_for(batches):
                for callback in trainer.callbacks:
                    callback.on_train_batch_begin(at.batch)
                trainer.samples += len(y)
                try:
                    self._step(x, y)
                except NonFiniteError as error:
                    handled = [callback.on_nonfinite(error) for callback in trainer.callbacks]
                    if not any(handled):
                        raise
                    with uninterrupted():
                        at.batch, at.step = at.batch + 1, at.step + 1
                else:
                    logs = trainer.totals.means()
                    for callback in trainer.callbacks:
                        callback.on_train_batch_end(at.batch - 1, logs)
                if trainer.stop_training:
                    return
        for callback in trainer.callbacks:
            callback.on_epoch_trained(at.epoch)
        logs = trainer.totals.means()
        if self.validation is not None:
            logs |= {f"val_{name}": value for name, value in trainer.evaluate(self.validation).items()}
        with uninterrupted():
            trainer.history.append(logs)
            at.epoch, at.batch = at.epoch + 1, 0
            trainer.totals = Totals(trainer.metrics)
        for callback in trainer.callbacks:
            callback.on_epoch_end(at.epoch - 1, logs)
            logs |= measured_by(callback, logs)
            trainer.history.amend(logs)

    def _step(self, x: Array, y: Array) -> None:
        """Do a step, and count it, once all that is known to follow from its outputs has been tried."""
        trainer, at = self.trainer, self.trainer.progress
        step = gradients(trainer, x, y, partial(source, self.loader, at.epoch, at.batch))
        metrics = self._metrics_for(y) if self._metrics is None else self._metrics
        sums = measured(metrics, step.z, y)
        if self._untried is not None:
            try_labels(trainer, self._untried, step.z, y)
        self._metrics, self._untried = metrics, None
        with done(trainer, step):
            trainer.totals.count(step.loss, len(step.z), sums)
            at.batch += 1

    def _metrics_for(self, labels: Array) -> dict[str, Metric]:
        trainer = self.trainer
        return metrics_for(trainer.metrics, trainer.loss, trainer.model.output_shape, labels)

    def _waited_for(self, batches: Iterator[tuple[Array, Array]]) -> Iterator[tuple[Array, Array]]:
        """Yield the batches, and measure how long each kept the trainer waiting."""
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            self.trainer.waited += time.perf_counter() - begun
            if batch is None:
                return
            yield batch
