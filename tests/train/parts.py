"""Small models and data that train in milliseconds, and what two runs are compared by."""

from __future__ import annotations

import numpy as np

import handgrad as hg
from handgrad import data, layers
from handgrad.train import Callback


def points(n=12, seed=0, dtype=np.float32):
    """Return points (n, 4) of three classes, and their classes."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 4)) + 2 * np.eye(4)[y]).astype(dtype), y


def dense(**options):
    """Return two dense layers for `points`."""
    return hg.Sequential(
        [layers.Dense(5, name="a"), layers.Tanh(name="t"), layers.Dense(3, name="b")],
        input_shape=(4,),
        **options,
    )


def images(n=96):
    """Return the first of the embedded digits, and their classes."""
    digits = data.digits()
    return digits.x_train[:n], digits.y_train[:n]


def cnn(**options):
    """Return a small network with batch normalization and dropout for `images`."""
    return hg.Sequential(
        [
            layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv"),
            layers.BatchNormalization(momentum=0.8, name="bn"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Dropout(0.2, name="dropout"),
            layers.Flatten(name="flatten"),
            layers.Dense(10, name="logits"),
        ],
        input_shape=(8, 8, 1),
        **options,
    )


def everything(trainer):
    """Return copies of all that a trainer holds."""
    return {
        **{f"model/{name}": a for name, a in trainer.model.state().items()},
        **{f"optimizer/{name}": np.array(a) for name, a in trainer.optimizer.state().items()},
        "progress": np.array([getattr(trainer.progress, k) for k in ("epoch", "batch", "step")]),
        "history": {name: list(values) for name, values in trainer.history.items()},
    }


def assert_same(a, b):
    """Raise unless `a` and `b` are bit for bit the same."""
    assert a.keys() == b.keys()
    for name in a:
        if name == "history":
            assert a[name].keys() == b[name].keys()
            for quantity in a[name]:
                np.testing.assert_array_equal(a[name][quantity], b[name][quantity], err_msg=quantity)
        else:
            assert a[name].dtype == b[name].dtype, name
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)


class Recorder(Callback):
    """Writes down every call, with the arguments."""

    def __init__(self, calls=None, name="r"):
        self.calls = [] if calls is None else calls
        self.name = name

    def _note(self, *call):
        self.calls.append((self.name, *call))

    def set_trainer(self, trainer):
        super().set_trainer(trainer)
        self._note("set_trainer")

    def on_train_begin(self):
        self._note("train_begin")

    def on_epoch_begin(self, epoch):
        self._note("epoch_begin", epoch)

    def on_train_batch_begin(self, batch):
        self._note("batch_begin", batch)

    def on_train_batch_end(self, batch, logs):
        self._note("batch_end", batch, dict(logs))

    def on_epoch_end(self, epoch, logs):
        self._note("epoch_end", epoch, dict(logs))

    def on_train_end(self):
        self._note("train_end")

    def names(self):
        return [call[1] for call in self.calls]


class Script(Callback):
    """Gives every epoch a value under the name "score", before the callbacks that come after it."""

    def __init__(self, values):
        self.values = values

    def on_epoch_end(self, epoch, logs):
        logs["score"] = self.values[epoch]


class At(Callback):
    """Calls a function after a number of steps."""

    def __init__(self, steps, function):
        self.left, self.function = steps, function

    def on_train_batch_end(self, batch, logs):
        self.left -= 1
        if self.left == 0:
            self.function(self.trainer)
