from __future__ import annotations

import csv
import json

import numpy as np
import pytest

from handgrad.errors import CheckpointError
from handgrad.train import History

NAN, INF = float("nan"), float("inf")


def test_epochs_are_appended():
    history = History()
    assert history.epochs == 0
    history.append({"loss": np.float32(0.5)})
    history.append({"loss": 1})
    assert history == {"loss": [0.5, 1.0]}
    assert all(type(v) is float for v in history["loss"])
    assert history.epochs == 2


def test_what_was_not_measured_is_nan():
    history = History()
    history.append({"loss": 1.0})
    history.append({"loss": 2.0, "val_loss": 3.0})
    history.append({"loss": 4.0})
    np.testing.assert_array_equal(history["val_loss"], [NAN, 3.0, NAN])
    assert history.epochs == 3


def test_csv_is_exact():
    history = History({"loss": [0.1, 1 / 3], "val_accuracy": [NAN, INF]})
    assert history.to_csv() == "epoch,loss,val_accuracy\n1,0.1,nan\n2,0.3333333333333333,inf\n"
    rows = list(csv.DictReader(history.to_csv().splitlines()))
    assert [float(row["loss"]) for row in rows] == history["loss"]


def test_json_is_json():
    history = History({"loss": [0.1, NAN, INF, -INF], "a": [1 / 3, 2.0, 3.0, 4.0]})

    def refuse(name):
        raise AssertionError(f"{name} is not JSON")

    plain = json.loads(history.to_json(), parse_constant=refuse)
    assert plain == {"loss": [0.1, None, None, None], "a": [1 / 3, 2.0, 3.0, 4.0]}
    again = History.from_json(history.to_json())
    assert again["a"] == history["a"]
    np.testing.assert_array_equal(again["loss"], [0.1, NAN, NAN, NAN])


def test_both_files_are_written(tmp_path):
    history = History({"loss": [0.5]})
    history.save(tmp_path / "new")
    assert (tmp_path / "new/history.csv").read_text() == "epoch,loss\n1,0.5\n"
    assert History.from_json((tmp_path / "new/history.json").read_text()) == history


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected JSON, got Expecting value: line 1 column 1 (char 0)"),
        ("[1]", "expected lists of numbers by name, got [1]"),
        ('{"loss": 1}', "expected lists of numbers by name, got 1 for 'loss'"),
        ('{"loss": [1, "x"]}', "expected lists of numbers by name, got [1, 'x'] for 'loss'"),
        ('{"loss": [true]}', "expected lists of numbers by name, got [True] for 'loss'"),
    ],
)
def test_json_of_something_else_is_refused(text, message):
    with pytest.raises(CheckpointError) as error:
        History.from_json(text)
    assert str(error.value) == f"history: {message}"
