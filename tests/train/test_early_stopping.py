from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import optim
from handgrad.errors import ArgumentError
from handgrad.train import Callback, EarlyStopping
from tests.train.parts import At, Recorder, Script, cnn, dense, images, points

NAN = float("nan")


def run(values, epochs=None, **options):
    trainer, early = hg.Trainer(dense(), "cross_entropy"), EarlyStopping("score", **options)
    trainer.fit(*points(), epochs=epochs or len(values), callbacks=[Script(values), early])
    return trainer, early


@pytest.mark.parametrize(
    ("values", "options", "epochs", "best"),
    [
        ([3, 2, 2.5, 1], {}, 3, 1),
        ([3, 2, 2.5, 1], {"patience": 1}, 3, 1),
        ([3, 2, 2.5, 1], {"patience": 2}, 4, 3),
        ([3, 2, 2.5, 2.6, 1], {"patience": 2}, 4, 1),
        ([3, 3, 3, 3], {"patience": 2}, 3, 0),
        ([3, 2, 2.5, 1, 1.5, 1.6, 0], {"patience": 2}, 6, 3),
        ([3, 2.9, 2.8, 2.7], {"min_delta": 0.5, "patience": 2}, 3, 0),
        ([3, 2.9, 2.4, 2.3], {"min_delta": 0.5, "patience": 2}, 4, 2),
        ([3, 2.5, 2.5], {"min_delta": 0.5, "patience": 1}, 2, 0),
        ([1, 2, 3, 2], {"mode": "max"}, 4, 2),
        ([1, 2, 3], {"mode": "min"}, 2, 0),
        ([NAN, 2, 1, NAN, 3], {"patience": 2}, 5, 2),
        ([NAN, NAN, 1], {"patience": 2}, 2, None),
        ([5, 4, 3, 2], {"patience": 1}, 4, 3),
    ],
)
def test_when_it_stops(values, options, epochs, best):
    trainer, early = run(values, **options)
    assert trainer.history.epochs == epochs
    assert early.best_epoch == best
    assert early.best == (None if best is None else values[best])


@pytest.mark.parametrize(
    ("name", "epochs"), [("val_accuracy", 2), ("accuracy", 2), ("val_loss", 3), ("score", 3)]
)
def test_more_of_an_accuracy_is_better_and_less_of_all_else(name, epochs):
    class Falling(Callback):
        def on_epoch_end(self, epoch, logs):
            logs[name] = -float(epoch)

    trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"])
    trainer.fit(*points(), epochs=3, validation=points(), callbacks=[Falling(), EarlyStopping(name)])
    assert trainer.history.epochs == epochs


def test_the_validation_loss_is_the_default():
    trainer = hg.Trainer(dense(), "cross_entropy", optim.SGD(0.0))
    trainer.fit(*points(), epochs=9, validation=points(), callbacks=[EarlyStopping(patience=3)])
    assert trainer.history.epochs == 4


class Weights(Callback):
    """Keeps the state of the model after every epoch."""

    def __init__(self):
        self.states = []

    def on_epoch_end(self, epoch, logs):
        self.states.append(self.trainer.model.state())


@pytest.mark.parametrize(
    ("values", "best"),
    [([3, 1, 2, 4], 1), ([3, 2, 1], 2), ([1, 2], 0)],
    ids=["stopped", "best at the end", "ended before it stopped"],
)
def test_the_best_weights_and_statistics_are_put_back(values, best):
    x, y = images(32)
    trainer, weights = hg.Trainer(cnn(), "cross_entropy"), Weights()
    early = EarlyStopping("score", patience=2, restore_best_weights=True)
    trainer.fit(x, y, epochs=len(values), batch_size=16, callbacks=[Script(values), weights, early])
    for name, value in trainer.model.state().items():
        np.testing.assert_array_equal(value, weights.states[best][name])
    if best != len(values) - 1:
        last = weights.states[-1]
        assert not np.array_equal(last["bn.running_mean"], weights.states[best]["bn.running_mean"])


def test_without_it_the_last_weights_stay():
    trainer, weights = hg.Trainer(dense(), "cross_entropy"), Weights()
    trainer.fit(
        *points(), epochs=3, callbacks=[Script([1, 2, 3]), weights, EarlyStopping("score", patience=2)]
    )
    for name, value in trainer.model.state().items():
        np.testing.assert_array_equal(value, weights.states[-1][name])


def test_there_is_nothing_to_put_back_when_nothing_was_good():
    trainer, weights = hg.Trainer(dense(), "cross_entropy"), Weights()
    early = EarlyStopping("score", restore_best_weights=True)
    trainer.fit(*points(), callbacks=[Script([NAN]), weights, early])
    for name, value in trainer.model.state().items():
        np.testing.assert_array_equal(value, weights.states[-1][name])


def test_a_fit_after_one_that_it_ended_waits_anew():
    early = EarlyStopping("score", patience=2)
    trainer = hg.Trainer(dense(), "cross_entropy")
    script = Script([1, 2, 3, 4, 5, 6, 7])
    trainer.fit(*points(), epochs=7, callbacks=[script, early])
    assert trainer.history.epochs == 3
    trainer.fit(*points(), epochs=4, callbacks=[script, early])
    assert trainer.history.epochs == 5


def test_a_fit_after_one_that_ended_goes_on_waiting():
    early = EarlyStopping("score", patience=3)
    trainer = hg.Trainer(dense(), "cross_entropy")
    script = Script([1, 2, 3, 4, 5, 6, 7])
    trainer.fit(*points(), epochs=3, callbacks=[script, early])
    trainer.fit(*points(), epochs=4, callbacks=[script, early])
    assert trainer.history.epochs == 4


def test_a_fit_that_is_resumed_before_it_was_to_stop_is_not_stopped(tmp_path):
    early = EarlyStopping("score")
    trainer = hg.Trainer(dense(), "cross_entropy")
    stop = At(2, lambda t: setattr(t, "stop_training", True))
    trainer.fit(*points(), epochs=3, callbacks=[stop, Script([2, 1, 3]), early])
    trainer.save(tmp_path / "c")
    again = hg.Trainer(dense(), "cross_entropy")
    again.load(tmp_path / "c")
    again.fit(*points(), epochs=3, initial_epoch=0, callbacks=[Script([2, 1, 3]), EarlyStopping("score")])
    assert again.history.epochs == 3


def test_a_quantity_that_is_not_there_is_an_error():
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"])
    with pytest.raises(ArgumentError) as error:
        trainer.fit(*points(), callbacks=[EarlyStopping()])
    assert (
        str(error.value) == "monitor: expected one of loss, accuracy, got 'val_loss'; pass validation= to fit"
    )
    with pytest.raises(ArgumentError) as error:
        trainer.fit(*points(), callbacks=[EarlyStopping("acc")])
    assert str(error.value) == "monitor: expected one of loss, accuracy, got 'acc'"


def test_another_mode_is_refused():
    with pytest.raises(ArgumentError) as error:
        EarlyStopping(mode="most")
    assert str(error.value) == 'mode: expected "auto", "min" or "max", got \'most\''


def test_others_are_told_of_the_last_epoch():
    recorder = Recorder()
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(*points(), epochs=5, callbacks=[Script([1, 2]), EarlyStopping("score"), recorder])
    assert [call[2] for call in recorder.calls if call[1] == "epoch_end"] == [0, 1]
