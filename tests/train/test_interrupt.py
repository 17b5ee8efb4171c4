from __future__ import annotations

import os
import signal
import threading

import pytest

import handgrad as hg
from handgrad.io import load_checkpoint
from handgrad.train import Callback, Checkpoint, StopOnInterrupt
from tests.train.parts import At, Recorder, assert_same, dense, everything, points

X, Y = points()


def interrupt(trainer=None):
    os.kill(os.getpid(), signal.SIGINT)


@pytest.fixture(autouse=True)
def handler():
    pythons = signal.default_int_handler  # a shell that starts the tests behind its back ignores the signal
    before = signal.signal(signal.SIGINT, pythons)
    yield
    assert signal.getsignal(signal.SIGINT) is pythons
    signal.signal(signal.SIGINT, before)


def test_the_step_that_runs_is_finished(tmp_path):
    trainer, stop, recorder = hg.Trainer(dense(), "cross_entropy"), StopOnInterrupt(), Recorder()
    trainer.fit(
        X, Y, epochs=3, batch_size=4, callbacks=[stop, At(4, interrupt), recorder, Checkpoint(tmp_path)]
    )
    assert stop.interrupted
    assert recorder.names().count("batch_end") == 4
    where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
    assert (where["epoch"], where["batch"], where["step"]) == (1, 1, 4)
    trainer.fit(X, Y, epochs=3, batch_size=4, initial_epoch=0, callbacks=[stop])
    assert not stop.interrupted
    unbroken = hg.Trainer(dense(), "cross_entropy")
    unbroken.fit(X, Y, epochs=3, batch_size=4)
    assert_same(everything(trainer), everything(unbroken))


def test_without_it_python_raises():
    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, batch_size=4, callbacks=[At(1, interrupt)])


def test_a_second_one_raises_at_once_and_leaves_the_last_good_state(tmp_path):
    class Impatient(Callback):
        def on_train_batch_begin(self, batch):
            if self.trainer.progress.step == 4:
                interrupt()
                interrupt()

    trainer = hg.Trainer(dense(), "cross_entropy")
    callbacks = [StopOnInterrupt(), Impatient(), Checkpoint(tmp_path)]
    with pytest.raises(KeyboardInterrupt):
        trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=callbacks)
    where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
    assert (where["epoch"], where["batch"], where["step"]) == (1, 0, 3)


def test_the_signal_is_given_back_when_training_fails():
    def fail(trainer):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[StopOnInterrupt(), At(1, fail)])


def test_the_signal_is_given_back_when_another_callback_cannot_begin():
    class Broken(Callback):
        def on_train_begin(self):
            raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[StopOnInterrupt(), Broken()])


def test_in_another_thread_it_does_nothing():
    trainer, stop = hg.Trainer(dense(), "cross_entropy"), StopOnInterrupt()
    thread = threading.Thread(target=trainer.fit, args=(X, Y), kwargs={"callbacks": [stop]})
    thread.start()
    thread.join()
    assert trainer.history.epochs == 1
    assert not stop.interrupted
