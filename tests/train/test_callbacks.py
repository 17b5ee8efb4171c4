from __future__ import annotations

import numpy as np
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
    Stopwatch,
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


class Scores(Callback):
    """Measures a score of its own after each epoch."""

    def __init__(self, values, name="val_f1"):
        self.values, self.name = values, name

    def on_epoch_end(self, epoch, logs):
        logs[self.name] = self.values[epoch]


def test_what_a_callback_measures_enters_the_history_and_can_be_monitored(tmp_path):
    trainer = hg.Trainer(dense(), "cross_entropy")
    scores, recorder = Scores([0.1, np.float32(0.5), 0.25, 0.125, 1]), Recorder()
    early, checkpoint = EarlyStopping("val_f1", mode="max", patience=2), Checkpoint(tmp_path, "val_f1", "max")
    history = trainer.fit(
        X, Y, epochs=5, callbacks=[scores, early, HistoryWriter(tmp_path), checkpoint, recorder]
    )
    assert history["val_f1"] == [0.1, 0.5, 0.25, 0.125]
    assert (early.best, early.best_epoch) == (checkpoint.best, checkpoint.best_epoch) == (0.5, 1)
    assert History.from_json((tmp_path / "history.json").read_text()) == history
    assert [call[3]["val_f1"] for call in recorder.calls if call[1] == "epoch_end"] == history["val_f1"]
    again = hg.Trainer(dense(), "cross_entropy")
    again.load(checkpoint.last_path)
    assert again.history == history


def test_what_a_callback_begins_to_measure_is_nan_before():
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(X, Y, epochs=2)
    history = trainer.fit(X, Y, callbacks=[Scores([0, 0, 0.5], "score")])
    np.testing.assert_array_equal(history["score"], [np.nan, np.nan, 0.5])


def test_what_a_callback_changes_is_changed_in_the_history():
    history = hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[Scores([7.0], "loss")])
    assert history["loss"] == [7.0]


@pytest.mark.parametrize("value", ["high", None, np.zeros(2), [1.0]])
def test_what_is_no_number_is_refused_by_the_callbacks_name(value):
    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(ArgumentError) as error:
        trainer.fit(X, Y, callbacks=[Scores([value])])
    assert str(error.value) == f"callback Scores: expected logs of numbers by name, got 'val_f1': {value!r}"
    assert trainer.history.epochs == 1


@pytest.mark.parametrize("make", [EarlyStopping, lambda name: Checkpoint("unused", name)])
def test_what_nothing_measures_is_refused_before_the_first_step(make):
    trainer = hg.Trainer(dense(), "cross_entropy")
    for callbacks in ([make("val_f1")], [make("val_f1"), Scores([1])], [Stopwatch(), make("val_f1")]):
        with pytest.raises(ArgumentError) as error:
            trainer.fit(X, Y, validation=(X, Y), callbacks=callbacks)
        assert str(error.value) == (
            "monitor: expected one of loss, val_loss, got 'val_f1'; "
            "put the callback that sets it in its logs before this one"
        )
    assert trainer.progress.step == 0
    with pytest.raises(ArgumentError, match="put the callback that sets it in its logs before this one"):
        trainer.fit(X, Y, callbacks=[Scores([1], "val_f2"), EarlyStopping("val_f1")])


NAMES = {
    "on_batch_end": "on_train_batch_end",
    "on_batch_begin": "on_train_batch_begin",
    "on_epoch_ends": "on_epoch_end",
    "on_train_ends": "on_train_end",
    "on_non_finite": "on_nonfinite",
    "on_epoch_start": "on_epoch_begin",
}


@pytest.mark.parametrize("name", NAMES)
def test_a_method_that_nobody_calls_is_refused(name):
    class Own(Callback):
        pass

    setattr(Own, name, lambda self, epoch, logs: None)
    trainer, recorder = hg.Trainer(dense(), "cross_entropy"), Recorder()
    with pytest.raises(ArgumentError) as error:
        trainer.fit(X, Y, callbacks=[recorder, Own()])
    assert str(error.value) == (
        "callback Own: expected methods among on_train_begin, on_epoch_begin, on_train_batch_begin, "
        "on_train_batch_end, on_epoch_trained, on_epoch_end, on_train_end, on_nonfinite, "
        f"got {name}; call it {NAMES[name]}, "
        "or, if training is not to call it, by a name without on_"
    )
    assert recorder.calls == []


def test_a_method_of_other_arguments_is_refused():
    class Own(Callback):
        def on_epoch_end(self, epoch):
            pass

    class Fits(Callback):
        def on_epoch_end(self, *args, **options):
            pass

        def on_train_batch_end(self, number, logs=None):
            pass

    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(ArgumentError) as error:
        trainer.fit(X, Y, callbacks=[Own()])
    assert str(error.value) == (
        "callback Own: expected on_epoch_end as a method with the arguments self, epoch, logs, "
        "got another (too many positional arguments)"
    )
    trainer.fit(X, Y, callbacks=[Fits()])
