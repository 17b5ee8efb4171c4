"""Checkpoints of strangers: gone on from, or refused before anything has changed."""

from __future__ import annotations

import copy
import random

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import CheckpointError, HandgradError
from handgrad.io import read_tensors, write_tensors
from handgrad.train import Callback, Checkpoint, EarlyStopping, HistoryWriter, Lookahead, NonFinite, Stopwatch
from tests.io.mutate import mutated

X, Y = np.random.default_rng(0).normal(size=(8, 3, 3, 1)), np.arange(8) % 2


def trainer(optimizer="adam", metrics=("accuracy",)):
    chain = [layers.Conv2D(2, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    model = hg.Sequential(chain, input_shape=(3, 3, 1))
    return hg.Trainer(model, "cross_entropy", optimizer, metrics)


def callbacks(folder):
    kept = [EarlyStopping("loss", patience=5, restore_best_weights=True), Checkpoint(folder, "loss")]
    return [*kept, Stopwatch(), NonFinite(), Lookahead(2), HistoryWriter(folder)]


def everything(trainer):
    optimizer = {f"optimizer/{name}": np.asarray(v) for name, v in trainer.optimizer.state().items()}
    return {**trainer.model.state(), **optimizer}, repr(trainer.progress), dict(trainer.history)


def same(a, b):
    return (
        a[1:] == b[1:] and a[0].keys() == b[0].keys() and all(np.array_equal(a[0][n], b[0][n]) for n in a[0])
    )


@pytest.fixture
def path(tmp_path):
    saved = trainer()
    saved.fit(X, Y, epochs=2, batch_size=4, callbacks=callbacks(tmp_path))
    saved.save(tmp_path / "c")
    return tmp_path / "c"


def rewrite(path, part, **changes):
    tensors, header = read_tensors(path)
    progress = header["progress"]
    (progress if part is None else progress[part]).update(changes)
    write_tensors(path, tensors, header)


@pytest.mark.parametrize(
    ("part", "changes", "message"),
    [
        ("where", {"step": 1.5}, "step: expected a whole number of at least 0, got 1.5"),
        ("where", {"epoch": -1}, "epoch: expected a whole number of at least 0, got -1"),
        ("where", {"batch": True}, "batch: expected a whole number of at least 0, got True"),
        (
            "where",
            {"last": "x" * 99},
            "last: expected a whole number of at least 0, got 'xxxxxxxxxxxx...xxxxxxxxxxxxx'",
        ),
        (None, {"where": []}, "where: expected an object, got []"),
        (None, {"rng": 0}, "rng: expected a list, got 0"),
        (None, {"rng": [None]}, "rng: expected the name of a random stream, got [None]"),
        (None, {"history": 5}, "history: expected an object, got 5"),
        ("history", {"loss": "x"}, "history of loss: expected a list, got 'x'"),
        ("history", {"loss": [1.0, "x"]}, "history of loss: expected a number, got 'x'"),
        ("totals", {"samples": -1}, "samples: expected a whole number of at least 0, got -1"),
        ("totals", {"sums": {"loss": None}}, "the sum of loss: expected a number, got None"),
        (
            "totals",
            {"samples": 4, "sums": {"loss": 1}},
            "totals: expected sums of loss, accuracy, got of loss",
        ),
        ("callbacks", {"EarlyStopping.0": 5}, "callback EarlyStopping.0: expected an object, got 5"),
    ],
)
def test_a_damaged_state_is_refused_and_changes_nothing(part, changes, message, path):
    rewrite(path, part, **changes)
    again = trainer()
    again.fit(X, Y, batch_size=8)
    before = everything(again)
    with pytest.raises(CheckpointError) as error:
        again.load(path)
    assert str(error.value) == f"{path}: {message}"
    assert same(everything(again), before)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("optimizer/step", np.array(1.5), "Adam: expected step to be a number of steps, got array(1.5)"),
        ("optimizer/step", np.array(-1), "Adam: expected step to be a number of steps, got array(-1)"),
        (
            "optimizer/m/dense.bias",
            np.zeros(2),
            "Adam: expected one shape and dtype for all state of dense.bias, got m of (2,) and float64, "
            "v of (2,) and float32",
        ),
        (
            "model/batch_normalization.updates",
            np.array(-(2**63)),
            "expected the parameters of this model, got batch_normalization.updates with values that it "
            "cannot have",
        ),
    ],
)
def test_a_damaged_array_is_refused_and_changes_nothing(name, value, message, path):
    tensors, header = read_tensors(path)
    write_tensors(path, tensors | {name: value}, header)
    again = trainer()
    before = everything(again)
    with pytest.raises(CheckpointError) as error:
        again.load(path)
    assert str(error.value) == f"{path}: {message}"
    assert same(everything(again), before)


@pytest.mark.parametrize(
    ("name", "changes", "message"),
    [
        ("EarlyStopping", {"best": "x"}, "best: expected a number, got 'x'"),
        ("EarlyStopping", {"waited": None}, "waited: expected a whole number of at least 0, got None"),
        ("EarlyStopping", {"last": 0.5}, "last: expected a whole number of at least 0, got 0.5"),
        ("Checkpoint", {"best_epoch": -1}, "best_epoch: expected a whole number of at least 0, got -1"),
        ("NonFinite", {"in_a_row": []}, "in_a_row: expected a whole number of at least 0, got []"),
        ("Stopwatch", {"seconds": "1"}, "seconds: expected a number, got '1'"),
    ],
)
def test_a_damaged_state_of_a_callback_is_refused_before_the_first_step(
    name, changes, message, path, tmp_path
):
    tensors, header = read_tensors(path)
    header["progress"]["callbacks"][f"{name}.0"].update(changes)
    write_tensors(path, tensors, header)
    again = trainer()
    again.load(path)
    before = everything(again)
    with pytest.raises(CheckpointError) as error:
        again.fit(X, Y, batch_size=4, callbacks=callbacks(tmp_path))
    assert str(error.value) == f"{name}.0 {message}"
    assert same((everything(again)[0],), (before[0],))
    assert again.progress.step == 4


def test_weights_that_early_stopping_kept_of_another_model_are_refused_before_the_first_step(path, tmp_path):
    tensors, header = read_tensors(path)
    kept = "callbacks/EarlyStopping.0/dense.bias"
    write_tensors(path, tensors | {kept: np.zeros(3, np.float32)}, header)
    again = trainer()
    again.load(path)
    with pytest.raises(CheckpointError) as error:
        again.fit(X, Y, batch_size=4, callbacks=callbacks(tmp_path))
    assert str(error.value) == (
        "EarlyStopping.0 load_state: expected the parameters of this model, got dense.bias of shape (3,), "
        "not (2,)"
    )
    assert again.progress.step == 4


def test_an_error_of_a_users_callback_names_it_and_keeps_its_cause(tmp_path):
    class Counter(Callback):
        def state(self):
            return {"count": 1}

        def load_state(self, state, arrays):
            self.count = state["counter"]

    saved = trainer()
    saved.fit(X, Y, callbacks=[Counter()])
    saved.save(tmp_path / "c")
    again = trainer()
    again.load(tmp_path / "c")
    with pytest.raises(CheckpointError) as error:
        again.fit(X, Y, callbacks=[Counter()])
    assert str(error.value) == (
        "Counter.0: expected the state of this callback, got another (KeyError('counter'))"
    )
    assert isinstance(error.value.__cause__, KeyError)


def test_sums_of_an_epoch_that_has_ended_are_not_asked_for(path):
    rewrite(path, "totals", sums={})
    again = trainer(metrics=())
    with pytest.warns(UserWarning, match="the metrics were accuracy and are none from here on$"):
        again.load(path)
    again.fit(X, Y, batch_size=4)
    assert len(again.history["loss"]) == 3


OPTIMIZERS = [
    lambda: "adam",
    lambda: optim.SGD(0.1, momentum=0.9),
    lambda: optim.MultiOptimizer({"*.weight": optim.Muon(0.01), "*": optim.Adam()}),
]
NAMES = ["x", "optimizer/", "optimizer/step/x", "optimizer/0/m/x", "callbacks/x/y", "model/x"]


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_mutated_checkpoints_are_gone_on_from_or_refused(tmp_path):
    path, rng, saved, refused = tmp_path / "c", random.Random(0), [], 0
    for make in OPTIMIZERS:
        first = trainer(make())
        first.fit(X, Y, epochs=2, batch_size=4, callbacks=callbacks(tmp_path))
        first.save(path)
        saved.append((make, read_tensors(path)))
    for _ in range(100):
        make, (tensors, header) = copy.deepcopy(rng.choice(saved))
        if rng.random() < 0.6:
            header["progress"] = mutated(header["progress"], rng)
        else:
            name = rng.choice(list(tensors))
            a = tensors.pop(name)
            other = [a.astype(np.float16), a.astype(np.int64), np.zeros((3, 1)), np.full_like(a, -1)]
            tensors[rng.choice([name, name, *NAMES])] = rng.choice(other)
        write_tensors(path, tensors, header)
        again = trainer(make())
        before = everything(again)
        try:
            again.load(path)
        except CheckpointError:
            refused += 1
            assert same(everything(again), before)
            continue
        try:
            again.fit(X, Y, batch_size=8, callbacks=callbacks(tmp_path))
        except HandgradError:
            refused += 1
    assert 30 < refused < 95
