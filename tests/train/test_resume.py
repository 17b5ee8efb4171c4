"""A run that was broken off and goes on ends bit for bit where an unbroken one ends."""

from __future__ import annotations

import subprocess
import sys
import time

import numpy as np
import pytest

import handgrad as hg
from handgrad import optim
from handgrad.errors import CheckpointError
from handgrad.io import load_checkpoint
from handgrad.train import Callback, EarlyStopping
from tests.process import environment
from tests.train import resumable
from tests.train.parts import At, Script, assert_same, cnn, dense, everything, points
from tests.train.resumable import STEPS, STOPS_AFTER, fit, new_trainer


def outcome(trainer, kept, folder):
    """Return all that a run leaves behind."""
    early, _, checkpoint = kept
    assert trainer.history.epochs == STOPS_AFTER
    return everything(trainer) | {
        **{f"early/{name}": np.array(value) for name, value in early.state().items()},
        **{f"early/{name}": value for name, value in early.arrays().items()},
        **{f"best/{name}": value for name, value in hg.load(checkpoint.best_path).state().items()},
        "best": np.array([checkpoint.best, checkpoint.best_epoch]),
        "csv": np.array((folder / "history.csv").read_text()),
        "json": np.array((folder / "history.json").read_text()),
    }


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken")
    trainer = new_trainer()
    kept = fit(trainer, folder)
    first = np.array(trainer.history["loss"])
    assert (np.diff(first) < 0).all()  # so that the early stop comes when it should
    assert trainer.progress.step == STEPS * STOPS_AFTER
    return outcome(trainer, kept, folder)


def resumed(folder):
    trainer = new_trainer()
    if (folder / "last.safetensors").exists():
        trainer.load(folder / "last.safetensors")
    return outcome(trainer, fit(trainer, folder), folder)


def stop(trainer):
    trainer.stop_training = True


def crash(trainer):
    raise RuntimeError("crash")


WITHIN = [1, 3, 6, 7, 12, 17, 23, 24]


@pytest.mark.parametrize("step", WITHIN)
def test_stopped_after_a_step(unbroken, tmp_path, step):
    fit(new_trainer(), tmp_path, first=[At(step, stop)])
    where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
    assert where["step"] == step
    assert_same(resumed(tmp_path), unbroken)


@pytest.mark.parametrize("step", WITHIN)
def test_failed_after_a_step(unbroken, tmp_path, step):
    with pytest.raises(RuntimeError):
        fit(new_trainer(), tmp_path, last=[At(step, crash)])
    if step > STEPS:
        where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
        assert where["step"] == (step - 1) // STEPS * STEPS
    assert_same(resumed(tmp_path), unbroken)


class Other(hg.losses.CrossEntropy):
    """Another loss of the same kind."""


class StopAt(Callback):
    def __init__(self, epoch):
        self.epoch = epoch

    def on_epoch_end(self, epoch, logs):
        self.trainer.stop_training |= epoch == self.epoch


@pytest.mark.parametrize("epoch", range(STOPS_AFTER))
def test_stopped_at_an_epochs_end(unbroken, tmp_path, epoch):
    """After the last of them the run has ended, and nothing more is trained."""
    fit(new_trainer(), tmp_path, first=[StopAt(epoch)])
    where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
    assert (where["epoch"], where["batch"]) == (epoch + 1, 0)
    assert_same(resumed(tmp_path), unbroken)


def test_broken_off_again_and_again(unbroken, tmp_path):
    for step in (2, 2, 5, 4, 1, 7):
        trainer = new_trainer()
        if (tmp_path / "last.safetensors").exists():
            trainer.load(tmp_path / "last.safetensors")
        fit(trainer, tmp_path, first=[At(step, stop)])
    assert load_checkpoint(tmp_path / "last.safetensors").progress["where"]["step"] == 21
    assert_same(resumed(tmp_path), unbroken)


def start(folder, *arguments):
    return subprocess.Popen(
        [sys.executable, resumable.__file__, str(folder), *map(str, arguments)],
        env=environment(),
        stderr=subprocess.PIPE,
    )


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
class TestKilled:
    @pytest.mark.parametrize(
        ("how", "number", "at"),
        [
            ("step", 2, None),
            ("step", 16, (2, 0)),
            # an epoch writes last, and after its validation history.csv, history.json, best and last again
            ("write", 0, None),
            ("write", 3, (0, STEPS)),
            ("write", 5, (1, 0)),
            ("write", 9, (1, STEPS)),
        ],
    )
    def test_by_itself(self, unbroken, tmp_path, how, number, at):
        process = start(tmp_path, how, number)
        _, err = process.communicate(timeout=60)
        assert process.returncode == -9, err
        last = tmp_path / "last.safetensors"
        assert last.exists() == (at is not None)
        if at is not None:
            where = load_checkpoint(last).progress["where"]
            assert (where["epoch"], where["batch"]) == at
        if how == "write":
            assert [p for p in tmp_path.iterdir() if p.name.startswith(".")]
        assert_same(resumed(tmp_path), unbroken)

    def test_from_outside(self, unbroken, tmp_path):
        process = start(tmp_path, "outside", 0)
        deadline = time.monotonic() + 60
        while not (tmp_path / "last.safetensors").exists():
            assert time.monotonic() < deadline
            assert process.poll() is None
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -9
        assert_same(resumed(tmp_path), unbroken)


class TestLoad:
    @staticmethod
    def saved(path, trainer=None):
        trainer = trainer or hg.Trainer(dense(), "cross_entropy", "adam")
        trainer.fit(*points(), batch_size=4)
        trainer.save(path)
        return path

    def test_puts_everything_where_it_was(self, tmp_path):
        trainer = hg.Trainer(dense(), "cross_entropy", "adam")
        self.saved(tmp_path / "c", trainer)
        again = hg.Trainer(dense(seed=9), "cross_entropy", "adam")
        again.load(tmp_path / "c")
        assert_same(everything(again), everything(trainer))
        assert repr(again.progress) == repr(trainer.progress)

    def test_what_is_saved_again_is_the_same(self, tmp_path):
        early = EarlyStopping("score", patience=9, restore_best_weights=True)
        trainer = hg.Trainer(dense(), "cross_entropy")
        trainer.fit(*points(), epochs=2, callbacks=[Script([1, 2]), early])
        trainer.save(tmp_path / "a")
        again = hg.Trainer(dense(), "cross_entropy")
        again.load(tmp_path / "a")
        again.save(tmp_path / "b")
        a, b = load_checkpoint(tmp_path / "a"), load_checkpoint(tmp_path / "b")
        assert a.progress == b.progress
        assert (
            a.callbacks.keys()
            == b.callbacks.keys()
            == {f"EarlyStopping.0/{n}" for n in trainer.model.state()}
        )
        for name, value in a.callbacks.items():
            np.testing.assert_array_equal(value, b.callbacks[name])

    def test_callbacks_find_their_state_by_class_and_number(self, tmp_path):
        class Counter(Callback):
            def __init__(self):
                self.count = 0

            def on_train_batch_end(self, batch, logs):
                self.count += 1

            def state(self):
                return {"count": self.count}

            def load_state(self, state, arrays):
                self.count = state["count"]

        a, b = Counter(), Counter()
        a.count = 100
        trainer = hg.Trainer(dense(), "cross_entropy")
        trainer.fit(*points(), callbacks=[a, b])
        trainer.save(tmp_path / "c")
        again = hg.Trainer(dense(), "cross_entropy")
        again.load(tmp_path / "c")
        c, d = Counter(), Counter()
        again.fit(*points(), callbacks=[c, EarlyStopping("loss"), d])
        assert (c.count, d.count) == (102, 2)

    @pytest.mark.parametrize(
        ("trainer", "message"),
        [
            (
                lambda: hg.Trainer(dense(), "cross_entropy", "adam", seed=4),
                "{path}: expected a run of seed 4, got one of seed 0",
            ),
            (
                lambda: hg.Trainer(dense(), "cross_entropy", "sgd"),
                "{path}: expected a run with the optimizer SGD, got one with Adam",
            ),
            (
                lambda: hg.Trainer(dense(), "cross_entropy", "adamw"),
                "{path}: expected a run with the optimizer AdamW, got one with Adam",
            ),
            (
                lambda: hg.Trainer(dense(), Other(), "adam"),
                "{path}: expected a run with the loss Other, got one with CrossEntropy",
            ),
            (
                lambda: hg.Trainer(
                    hg.Sequential([hg.layers.Dense(3, name="a")], input_shape=(4,)), "cross_entropy", "adam"
                ),
                "{path}: expected the parameters of this model, got unknown b.bias, b.weight; "
                "a.bias of shape (5,), not (3,); a.weight of shape (4, 5), not (4, 3)",
            ),
        ],
        ids=["seed", "optimizer", "optimizer of the same state", "loss", "model"],
    )
    def test_refuses_another_run_and_changes_nothing(self, tmp_path, trainer, message):
        path, trainer = self.saved(tmp_path / "c"), trainer()
        trainer.fit(*points(), epochs=2)
        before, progress = everything(trainer), repr(trainer.progress)
        with pytest.raises(CheckpointError) as error:
            trainer.load(path)
        assert str(error.value) == message.format(path=path)
        assert_same(everything(trainer), before)
        assert repr(trainer.progress) == progress

    def test_refuses_a_model_without_the_state_of_its_training(self, tmp_path):
        hg.save(dense(), tmp_path / "m")
        with pytest.raises(CheckpointError) as error:
            hg.Trainer(dense(), "cross_entropy").load(tmp_path / "m")
        assert str(error.value) == (
            f"{tmp_path / 'm'}: expected a checkpoint, got a model without the state of its training"
        )

    def test_refuses_a_state_that_is_not_whole(self, tmp_path):
        from handgrad.io import read_tensors, write_tensors

        tensors, header = read_tensors(self.saved(tmp_path / "c"))
        del header["progress"]["where"]
        write_tensors(tmp_path / "c", tensors, header)
        trainer = hg.Trainer(dense(), "cross_entropy", "adam")
        before = everything(trainer)
        with pytest.raises(CheckpointError) as error:
            trainer.load(tmp_path / "c")
        assert (
            str(error.value)
            == f"{tmp_path / 'c'}: expected the state of a training run, got another (KeyError('where'))"
        )
        assert_same(everything(trainer), before)

    def test_a_model_that_was_partly_frozen(self, tmp_path):
        def partly():
            model = cnn()
            model["conv"].freeze()
            return hg.Trainer(model, "cross_entropy", optim.AdamW(0.01))

        x, y = resumable.images(32)
        whole, first, second = partly(), partly(), partly()
        whole.fit(x, y, epochs=4, batch_size=16)
        first.fit(x, y, epochs=2, batch_size=16)
        first.save(tmp_path / "c")
        second.load(tmp_path / "c")
        second.fit(x, y, epochs=2, batch_size=16)
        assert_same(everything(second), everything(whole))


def test_a_layer_that_was_frozen_is_said_to_be_so_no_longer(tmp_path):
    def trainer():
        bn = hg.layers.BatchNormalization(renorm=(3.0, 5.0), name="bn")
        chain = [hg.layers.Dense(3, name="dense"), bn, hg.layers.Dense(2)]
        return hg.Trainer(hg.Sequential(chain, input_shape=(4,)), "cross_entropy")

    path = tmp_path / "run.safetensors"
    saved = trainer()
    saved.save(path)
    saved.load(path)
    saved.model["bn"].freeze()
    saved.save(path)
    saved.load(path)
    again = trainer()
    again.model["bn"].renorm = (1.0, 0.0)
    with pytest.warns(UserWarning, match="was saved with") as said:
        again.load(path)
    switches = "trainable={0}, use_batch_statistics={0}, update_running_statistics={0}, renorm="
    assert [str(w.message) for w in said] == [
        f"{path}: bn (BatchNormalization) was saved with {switches.format(False)}[3.0, 5.0] and has "
        f"{switches.format(True)}(1.0, 0.0), which it keeps"
    ]
    assert again.model["bn"].trainable
