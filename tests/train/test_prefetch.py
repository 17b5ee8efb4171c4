"""Batches made ahead while the trainer trains: the same run, bit for bit, and no thread that stays."""

from __future__ import annotations

import threading
import time
import traceback
from types import SimpleNamespace

import numpy as np
import pytest

import handgrad as hg
from handgrad.data import AlternatingFlip, Compose, RandomCrop
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.train import Callback, EarlyStopping
from handgrad.train import loop as module
from tests.train.parts import At, assert_same, cnn, dense, everything, images, points

X, Y = points()
AUGMENT = Compose([RandomCrop(1, "reflect"), AlternatingFlip()])


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def trained(prefetch, **options):
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy"])
    options = {"epochs": 3, "batch_size": 40, "transform": AUGMENT, "validation": images(20), **options}
    trainer.fit(*images(), prefetch=prefetch, **options)
    return trainer


def test_a_run_is_the_same_however_far_ahead_its_batches_are_made():
    unbroken = everything(trained(0))
    for prefetch in (1, 2, 9):
        assert_same(everything(trained(prefetch)), unbroken)


def test_a_run_that_was_stopped_ends_where_an_unbroken_one_does(tmp_path):
    stop = At(4, lambda trainer: setattr(trainer, "stop_training", True))
    trained(1, callbacks=[stop]).save(tmp_path / "c")
    again = hg.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy"])
    again.load(tmp_path / "c")
    again.fit(*images(), epochs=3, batch_size=40, transform=AUGMENT, validation=images(20), initial_epoch=0)
    assert_same(everything(again), everything(trained(0)))


class Threads(Callback):
    """Writes down how many threads there are, and how many at the end of an epoch."""

    def __init__(self):
        self.within, self.between = [], []

    def on_train_batch_end(self, batch, logs):
        self.within.append(threading.active_count())

    def on_epoch_begin(self, epoch):
        self.between.append(threading.active_count())

    on_epoch_end = lambda self, epoch, logs: self.on_epoch_begin(epoch)  # noqa: E731


@pytest.mark.parametrize(("prefetch", "more"), [(None, 1), (0, 0), (3, 1)])
def test_there_is_one_thread_within_an_epoch_and_none_between(prefetch, more):
    before, threads = threading.active_count(), Threads()
    options = {} if prefetch is None else {"prefetch": prefetch}
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, epochs=2, batch_size=4, callbacks=[threads], **options)
    assert threads.within == [before + more] * 6
    assert threads.between == [before] * 4


def stopped(trainer):
    trainer.stop_training = True


def fails(trainer):
    raise RuntimeError("no")


@pytest.mark.parametrize(
    ("callbacks", "error"),
    [
        ([At(2, stopped)], None),
        ([At(2, fails)], RuntimeError),
        ([EarlyStopping("loss", min_delta=9)], None),
    ],
    ids=["stopped", "failed", "early"],
)
def test_the_thread_ends_however_the_fit_does(callbacks, error):
    before, trainer = threading.active_count(), hg.Trainer(dense(), "cross_entropy")

    def fit():
        trainer.fit(X, Y, epochs=9, batch_size=4, callbacks=callbacks)

    if error is None:
        fit()
    else:
        with pytest.raises(error):
            fit()
    assert threading.active_count() == before
    assert trainer.progress.epoch < 9


def test_a_loss_that_is_not_finite_ends_it_too():
    x = X.copy()
    x[5] = np.nan
    before = threading.active_count()
    with pytest.raises(NonFiniteError):
        hg.Trainer(dense(), "cross_entropy").fit(x, Y, batch_size=2)
    assert threading.active_count() == before


@pytest.mark.parametrize("prefetch", [0, 1])
def test_what_a_transform_raises_comes_out_of_fit_after_the_steps_before(prefetch):
    def transform(x, rng):
        if rng.key[-2:] == (1, 2):
            raise LookupError("a bad image")
        return x

    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(LookupError, match=r"^a bad image$") as error:
        trainer.fit(X, Y, epochs=3, batch_size=3, transform=transform, prefetch=prefetch)
    assert traceback.extract_tb(error.value.__traceback__)[-1].name == "transform"
    assert trainer.progress.step == 4 + 2
    assert trainer.failed


def test_data_are_not_read_while_they_are_for_validation():
    class Data(hg.data.ArrayDataset):
        asked = ()
        running = 0

        def batch(self, indices):
            assert self.running == 0
            self.running += 1
            time.sleep(0.001)
            self.running -= 1
            self.asked = (*self.asked, threading.current_thread() is threading.main_thread())
            return super().batch(indices)

    data = Data(X, Y)
    hg.Trainer(dense(), "cross_entropy").fit(data, epochs=2, batch_size=4, validation=data)
    assert data.asked == (False, False, False, True) * 2


def test_the_time_waited_for_batches_is_measured(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.time))

    def slow(x, rng):
        now.time += 0.25
        return x

    def step(trainer):
        now.time += 10

    trainer = hg.Trainer(dense(), "cross_entropy")
    assert trainer.waited == 0
    seen = []
    callbacks = [At(n, step) for n in range(1, 7)] + [At(4, lambda t: seen.append(t.waited))]
    trainer.fit(X, Y, epochs=2, batch_size=4, transform=slow, prefetch=0, callbacks=callbacks)
    assert seen == [1.0]
    assert trainer.waited == 6 * 0.25
    trainer.fit(X, Y, batch_size=4, prefetch=0)
    assert trainer.waited == 0


def test_batches_made_ahead_are_not_waited_for():
    def slow(x, rng):
        time.sleep(0.02)
        return x

    class Slow(Callback):
        def on_train_batch_end(self, batch, logs):
            time.sleep(0.06)

    trainer, waited = hg.Trainer(dense(), "cross_entropy"), []
    for prefetch in (0, 1):
        trainer.fit(X, Y, batch_size=1, transform=slow, callbacks=[Slow()], prefetch=prefetch)
        waited.append(trainer.waited)
    assert waited[0] > 12 * 0.02
    assert waited[1] < waited[0] / 3


def test_a_prefetch_that_means_nothing_is_refused():
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, prefetch=-1)
    assert str(error.value) == "prefetch: expected an int of at least 0, got -1"
