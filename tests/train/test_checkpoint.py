from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.io import load_about, load_checkpoint
from handgrad.train import Callback, Checkpoint, EarlyStopping
from tests.train.parts import At, Script, assert_same, cnn, dense, everything, images, points


def test_the_last_state_is_saved_after_every_epoch(tmp_path):
    class Look(Callback):
        def on_epoch_end(self, epoch, logs):
            saved = load_checkpoint(tmp_path / "run/last.safetensors")
            assert saved.progress["where"]["epoch"] == epoch + 1
            assert saved.progress["where"]["batch"] == 0
            for name, value in self.trainer.model.state().items():
                np.testing.assert_array_equal(saved.state[name], value)

    trainer = hg.Trainer(dense(), "cross_entropy", "adam")
    trainer.fit(*points(), epochs=3, batch_size=4, callbacks=[Checkpoint(tmp_path / "run"), Look()])
    assert [p.name for p in (tmp_path / "run").iterdir()] == ["last.safetensors"]


def test_the_best_model_is_kept(tmp_path):
    class Weights(Callback):
        states = ()

        def on_epoch_end(self, epoch, logs):
            self.states = (*self.states, self.trainer.model.state())

    x, y = images(32)
    weights, checkpoint = Weights(), Checkpoint(tmp_path, "score", "max", about={"classes": ["0", "1"]})
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam")
    trainer.fit(
        x, y, epochs=5, batch_size=16, callbacks=[Script([1, 3, float("nan"), 2, 3]), weights, checkpoint]
    )
    assert (checkpoint.best, checkpoint.best_epoch) == (3, 1)
    best = hg.load(checkpoint.best_path)
    for name, value in best.state().items():
        np.testing.assert_array_equal(value, weights.states[1][name])
    assert load_about(checkpoint.best_path) == {"classes": ["0", "1"]}
    assert checkpoint.best_path == tmp_path / "best.safetensors"
    assert checkpoint.last_path == tmp_path / "last.safetensors"


def test_the_best_so_far_is_known_after_a_break(tmp_path):
    def resumed(values, **options):
        trainer = hg.Trainer(dense(), "cross_entropy")
        checkpoint = Checkpoint(tmp_path, "score")
        if checkpoint.last_path.exists():
            trainer.load(checkpoint.last_path)
        trainer.fit(*points(), callbacks=[Script(values), checkpoint], **options)
        return checkpoint

    first = resumed([5, 1], epochs=2)
    content = first.best_path.read_bytes()
    second = resumed([0, 0, 3, 2], epochs=2)
    assert (second.best, second.best_epoch) == (1, 1)
    assert second.best_path.read_bytes() == content
    third = resumed([0, 0, 0, 0, 0.5], epochs=1)
    assert (third.best, third.best_epoch) == (0.5, 4)
    assert third.best_path.read_bytes() != content


def test_the_state_is_saved_when_training_is_stopped_within_an_epoch(tmp_path):
    trainer = hg.Trainer(dense(), "cross_entropy")
    stop = At(4, lambda t: setattr(t, "stop_training", True))
    trainer.fit(*points(), epochs=3, batch_size=4, callbacks=[stop, Checkpoint(tmp_path)])
    again = hg.Trainer(dense(), "cross_entropy")
    again.load(tmp_path / "last.safetensors")
    assert_same(everything(again), everything(trainer))
    assert (again.progress.epoch, again.progress.batch) == (1, 1)


def test_the_state_before_an_error_is_kept(tmp_path):
    """An error may come in the middle of a step."""

    def fail(trainer):
        raise RuntimeError("no")

    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(RuntimeError):
        trainer.fit(*points(), epochs=3, batch_size=4, callbacks=[Checkpoint(tmp_path), At(5, fail)])
    where = load_checkpoint(tmp_path / "last.safetensors").progress["where"]
    assert (where["epoch"], where["batch"], where["step"]) == (1, 0, 3)


def test_what_is_saved_is_the_state_before_the_best_weights_are_put_back(tmp_path):
    """Or a run that is broken off would go on from other weights."""
    trainer = hg.Trainer(dense(), "cross_entropy", "adam")
    early = EarlyStopping("score", patience=9, restore_best_weights=True)
    now = {}

    def stop(trainer):
        now.update(trainer.model.state())
        trainer.stop_training = True

    trainer.fit(
        *points(),
        epochs=3,
        batch_size=4,
        callbacks=[Script([1, 2, 3]), At(7, stop), early, Checkpoint(tmp_path)],
    )
    saved = load_checkpoint(tmp_path / "last.safetensors")
    for name, value in now.items():
        np.testing.assert_array_equal(saved.state[name], value)
    assert not np.array_equal(trainer.model["a"].weight.value, now["a.weight"])


def test_its_model_can_be_loaded(tmp_path):
    x, y = images(32)
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam")
    trainer.fit(x, y, batch_size=16, callbacks=[Checkpoint(tmp_path)])
    model = hg.load(tmp_path / "last.safetensors")
    np.testing.assert_array_equal(model.predict(x), trainer.model.predict(x))
