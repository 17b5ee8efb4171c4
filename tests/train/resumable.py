"""A run with all that a resumed run must find again; as a program it is there to be killed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import handgrad as hg
from handgrad import losses, optim
from handgrad.data import RandomCrop
from handgrad.train import Callback, Checkpoint, EarlyStopping, HistoryWriter
from tests.train.parts import At, cnn, images

EPOCHS, STEPS, STOPS_AFTER = 6, 6, 4  # epochs, steps in each, and epochs until the early stop


def new_trainer():
    """Return a trainer of a model with batch normalization and dropout, by AdamW with one cycle."""
    schedule = optim.schedules.OneCycle(0.01, EPOCHS * STEPS)
    return hg.Trainer(
        cnn(seed=1), losses.CrossEntropy(0.1), optim.AdamW(schedule, weight_decay=0.1), ["accuracy"], seed=2
    )


def fit(trainer, folder, first=(), last=()):
    """Train with augmentation until the early stop, which puts the first epoch's weights back."""
    x, y = images(120)
    early = EarlyStopping("loss", mode="max", patience=STOPS_AFTER - 1, restore_best_weights=True)
    kept = [early, HistoryWriter(folder), Checkpoint(folder, "loss")]
    trainer.fit(
        x[:88],
        y[:88],
        epochs=EPOCHS,
        batch_size=16,
        validation=(x[88:], y[88:]),
        transform=RandomCrop(1),
        callbacks=[*first, *kept, *last],
        initial_epoch=0,
    )
    return kept


def kill(*_):
    """End this process as a crash of the machine would."""
    os.kill(os.getpid(), signal.SIGKILL)


class Slow(Callback):
    """Takes a while for every step, so that a kill from outside comes in time."""

    def on_train_batch_begin(self, batch):
        time.sleep(0.02)


def main(folder, how, number):
    """Train and be killed after so many steps, or when so many files written and the next not renamed."""
    if how == "step":
        fit(new_trainer(), folder, first=[At(number, kill)])
    elif how == "write":
        replace, left = Path.replace, iter(range(number, -1, -1))
        Path.replace = lambda path, target: replace(path, target) if next(left) else kill()
        fit(new_trainer(), folder)
    else:
        fit(new_trainer(), folder, first=[Slow()])


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
