"""What comes from files reaches the terminal as text, and nothing but text."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.cli.printable import one_line, printable
from tests.cli.run import call, write_digits


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("\x1b[2Jcat", "\\x1b[2Jcat"),
        ("a\x07b\x00c\x7f\x9b", "a\\x07b\\x00c\\x7f\\x9b"),
        ("cat\r", "cat\\r"),
        ("a\u202eb", "a\\u202eb"),
        ("\ud800", "\\ud800"),
        ("two\nlines\tof", "two\nlines\tof"),
        ("Äpfel 猫 \u00a0 \u200d 🐈", "Äpfel 猫 \u00a0 \u200d 🐈"),
    ],
)
def test_control_characters_are_written_out_and_nothing_else(text, shown):
    assert printable(text) == shown


def test_a_name_stays_on_its_line():
    assert one_line("two\nlines\tof") == "two\\nlines\\tof"


def test_of_class_names_in_a_model_file(tmp_path):
    model = hg.Sequential([layers.Flatten(), layers.Dense(2)], input_shape=(8, 8, 1))
    model.info = hg.ModelInfo("classification")
    hg.save(model, tmp_path / "m", about={"classes": ["\x1b[31mcat", "dog\ud800"]})
    (path,) = write_digits(tmp_path, np.zeros((1, 8, 8, 1)), ["a.png"])
    result = call("predict", tmp_path / "m", path)
    assert result.code == 0
    assert "\\x1b[31mcat 50.0%" in result.out
    assert "dog\\ud800 50.0%" in result.out
    assert "\x1b" not in result.out


def test_of_names_in_errors(tmp_path):
    model = hg.Sequential([layers.Dense(2, name="a\x1b[2Jb")], input_shape=(3,))
    hg.save(model, tmp_path / "m")
    (path,) = write_digits(tmp_path, np.zeros((1, 8, 8, 1)), ["a\x1b[0m.png"])
    for arguments in (("predict", tmp_path / "m", path), ("predict", tmp_path / "no\x1b[2J", path)):
        result = call(*arguments)
        assert result.code == 1
        assert "\x1b" not in result.err
