"""Ctrl-C at any line leaves a trainer that goes on bit for bit."""

from __future__ import annotations

import signal
import sys

import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.rng import Stream
from tests.train.parts import assert_same, everything, points

X, Y = points(24)
EPOCHS, RUNS = 3, 12


def trainer():
    hidden = [layers.Dense(5), layers.BatchNormalization(), layers.Dropout(0.2), layers.ReLU()]
    model = hg.Sequential([*hidden, layers.Dense(3)], input_shape=(4,))
    optimizer = optim.MultiOptimizer({"*.weight": optim.Adam(0.05), "*": optim.SGD(0.1, momentum=0.9)})
    return hg.Trainer(model, "cross_entropy", optimizer, ["accuracy"])


def fit(trained):
    trained.fit(X, Y, epochs=EPOCHS, batch_size=4, validation=(X, Y), initial_epoch=0, prefetch=0)


class After:
    """A trace function that presses Ctrl-C after so many lines of handgrad."""

    def __init__(self, lines):
        self.left = lines

    def __call__(self, frame, event, argument):
        if "handgrad" not in frame.f_code.co_filename:
            return None
        if event == "line":
            self.left -= 1
            if self.left == 0:
                signal.raise_signal(signal.SIGINT)
        return self


def until_it_ends(trained, lines):
    """Train, interrupted after so many lines and again after the next number of them; return how often."""
    interruptions = 0
    while trained.progress.epoch < EPOCHS:
        traced = sys.gettrace()
        try:
            sys.settrace(After(next(lines)))
            fit(trained)
        except KeyboardInterrupt:
            interruptions += 1
        finally:
            sys.settrace(traced)
    return interruptions


@pytest.fixture(autouse=True)
def handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.slow
def test_a_run_that_was_interrupted_again_and_again_ends_as_the_unbroken_one():
    unbroken = trainer()
    fit(unbroken)
    lines = iter(Stream((1,)).integers(1, 8000, (10_000,)).tolist())
    for _ in range(RUNS):
        trained = trainer()
        assert until_it_ends(trained, lines) > 2
        assert_same(everything(trained), everything(unbroken))
