from __future__ import annotations

import pytest

import handgrad as hg
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.train import (
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    HistoryWriter,
    JsonLines,
    NonFinite,
    Progress,
)
from tests.train.parts import At, Recorder, dense, points

X, Y = points(8)


def test_every_call_comes_in_its_order_with_its_arguments():
    recorder = Recorder()
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"])
    history = trainer.fit(X, Y, epochs=2, batch_size=4, validation=(X, Y), callbacks=[recorder])
    calls = [call[1:3] if call[1] != "set_trainer" else (call[1],) for call in recorder.calls]
    epoch = ["epoch_begin", "batch_begin", "batch_end", "batch_begin", "batch_end", "epoch_end"]
    assert recorder.names() == ["set_trainer", "train_begin", *epoch, *epoch, "train_end"]
    assert [c[1] for c in calls if c[0] in ("epoch_begin", "epoch_end")] == [0, 0, 1, 1]
    assert [c[1] for c in calls if c[0] in ("batch_begin", "batch_end")] == [0, 0, 1, 1] * 2
    ends = [call for call in recorder.calls if call[1] == "epoch_end"]
    for i, (*_, logs) in enumerate(ends):
        assert logs == {name: values[i] for name, values in history.items()}
        assert list(logs) == ["loss", "accuracy", "val_loss", "val_accuracy"]
    last_batch = [call[3] for call in recorder.calls if call[1] == "batch_end"][-1]
    assert last_batch == {"loss": history["loss"][1], "accuracy": history["accuracy"][1]}


def test_the_first_is_told_first_and_of_the_end_last():
    calls = []
    callbacks = [Recorder(calls, "1"), Recorder(calls, "2")]
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, batch_size=8, callbacks=callbacks)
    order = [(name, call) for name, call, *_ in calls]
    pairs = ["train_begin", "epoch_begin", "batch_begin", "batch_end", "epoch_end"]
    told = [(name, call) for call in pairs for name in ("1", "2")]
    assert order == [
        ("1", "set_trainer"),
        ("2", "set_trainer"),
        *told,
        ("2", "train_end"),
        ("1", "train_end"),
    ]


def test_a_callback_that_does_nothing_changes_nothing():
    a, b = (hg.Trainer(dense(), "cross_entropy") for _ in range(2))
    assert a.fit(X, Y, callbacks=[Callback()]) == b.fit(X, Y)
    assert Callback().on_nonfinite(NonFiniteError("a", expected="b", got="c")) is False
    assert (Callback().state(), Callback().arrays()) == ({}, {})


def test_training_can_be_stopped_after_a_step():
    trainer, recorder = hg.Trainer(dense(), "cross_entropy"), Recorder()
    trainer.fit(
        X, Y, epochs=3, batch_size=2, callbacks=[At(6, lambda t: setattr(t, "stop_training", True)), recorder]
    )
    assert recorder.names().count("batch_end") == 6
    assert recorder.names()[-1] == "train_end"
    assert (trainer.progress.epoch, trainer.progress.batch) == (1, 2)
    assert trainer.history.epochs == 1
    assert not trainer.failed


def test_the_end_is_told_when_training_fails():
    def fail(trainer):
        raise RuntimeError("no")

    trainer, recorder = hg.Trainer(dense(), "cross_entropy"), Recorder()
    with pytest.raises(RuntimeError):
        trainer.fit(X, Y, batch_size=2, callbacks=[recorder, At(3, fail)])
    assert recorder.names()[-1] == "train_end"
    assert trainer.failed
    trainer.fit(X, Y)
    assert not trainer.failed


def test_one_whose_end_fails_does_not_keep_the_others_from_theirs():
    class Broken(Callback):
        def on_train_end(self):
            raise RuntimeError("no")

    recorder = Recorder()
    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[recorder, Broken()])
    assert recorder.names()[-1] == "train_end"


def test_the_history_is_on_disk_after_every_epoch(tmp_path):
    class Look(Callback):
        def on_epoch_end(self, epoch, logs):
            rows = (tmp_path / "run/history.csv").read_text().splitlines()
            assert rows[0] == "epoch," + ",".join(logs)
            assert len(rows) == epoch + 2
            assert History.from_json((tmp_path / "run/history.json").read_text()) == self.trainer.history

    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(X, Y, epochs=3, validation=(X, Y), callbacks=[HistoryWriter(tmp_path / "run"), Look()])
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == ["history.csv", "history.json"]


REFUSED = {
    "patience": (
        lambda: EarlyStopping("loss", patience="3"),
        "EarlyStopping: expected patience to be a whole number of at least 0, got '3'",
    ),
    "min_delta": (
        lambda: EarlyStopping("loss", min_delta=None),
        "EarlyStopping: expected min_delta to be a number, got None",
    ),
    "restore_best_weights": (
        lambda: EarlyStopping("loss", restore_best_weights="no"),
        "EarlyStopping: expected restore_best_weights to be True or False, got 'no'",
    ),
    "monitor": (
        lambda: EarlyStopping(["loss"]),
        "monitor: expected a quantity by name, such as \"loss\", got ['loss']",
    ),
    "limit": (
        lambda: NonFinite(limit=1.5),
        "NonFinite: expected limit to be a whole number of at least 0, got 1.5",
    ),
    "a folder": (lambda: HistoryWriter(None), "HistoryWriter folder: expected a path, got None"),
    "a checkpoint's folder": (lambda: Checkpoint(3), "Checkpoint folder: expected a path, got 3"),
    "about": (
        lambda: Checkpoint("folder", about="a model"),
        "Checkpoint about: expected a dict, or None, got 'a model'",
    ),
    "mode": (
        lambda: Checkpoint("folder", mode="most"),
        'mode: expected "auto", "min" or "max", got \'most\'',
    ),
    "a file": (
        lambda: Progress("log.txt"),
        "Progress file: expected an open text file, got 'log.txt'; open it: open(path, 'w')",
    ),
    "a file for lines": (lambda: JsonLines(3), "JsonLines file: expected an open text file, got 3"),
}


@pytest.mark.parametrize(("make", "message"), REFUSED.values(), ids=REFUSED)
def test_arguments_that_mean_nothing(make, message):
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == message
