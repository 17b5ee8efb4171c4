"""What a fit would fail on later is found before the first step, when nothing has been changed."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import ArgumentError, ShapeError
from handgrad.train import Checkpoint, EarlyStopping


def trainer(optimizer=None):
    model = hg.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)], input_shape=(3,))
    return hg.Trainer(model, "cross_entropy", optimizer or optim.Adam(0.01), metrics=["accuracy"])


def points(n):
    x = hg.rng.Stream((n,)).normal((n, 3))
    return x, (x[:, 0] > 0).astype(int)


def unchanged(trained, fit, kind):
    before = trained.model.state()
    with pytest.raises(kind) as error:
        fit()
    after = trained.model.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (trained.progress.step, trained.optimizer.iterations, dict(trained.history)) == (0, 0, {})
    return str(error.value)


def test_a_last_batch_of_one_sample():
    t = trainer()
    message = unchanged(t, lambda: t.fit(*points(65), batch_size=32), ShapeError)
    assert message.startswith(
        "batch_normalization (BatchNormalization): expected at least 2 values per channel"
    )
    assert t.fit(*points(65), batch_size=32, drop_last=True).epochs == 1


@pytest.mark.parametrize("callback", [EarlyStopping, lambda name: Checkpoint("unused", name)])
def test_a_validation_that_is_monitored_but_missing(callback):
    t = trainer()
    message = unchanged(t, lambda: t.fit(*points(64), callbacks=[callback("val_accuracy")]), ArgumentError)
    assert message == "monitor: expected one of loss, accuracy, got 'val_accuracy'; pass validation= to fit"


def test_an_optimizer_that_has_moved_another_model():
    adam = optim.Adam(0.01)
    trainer(adam).fit(*points(64))
    t = trainer(adam)
    before = t.model.state()
    with pytest.raises(ArgumentError) as error:
        t.train_step(*points(64))
    assert str(error.value) == (
        "Adam: expected the parameters that it moved before, got another dense.weight; "
        "make an optimizer for each model; load_state(other.state()) goes on from another's"
    )
    parameters = t.model.parameters()
    assert all(np.array_equal(before[name], parameters[name].value) for name in parameters)


def test_an_optimizer_goes_on_from_the_state_of_another():
    first = trainer()
    first.fit(*points(64))
    adam = optim.Adam(0.01)
    adam.load_state(first.optimizer.state())
    trainer(adam).fit(*points(64))
    assert adam.iterations == 2 * first.optimizer.iterations
