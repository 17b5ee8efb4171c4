"""What is known about a model's outputs and inputs, in files."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import CheckpointError
from handgrad.io import load_about, read_tensors, write_tensors

INFO = hg.ModelInfo(
    "classification",
    classes=("cat", "dög"),
    preprocessing=[{"class": "Normalize", "mean": [0.5], "std": [2.0]}],
    loss={"class": "CrossEntropy", "label_smoothing": 0.1},
)


def model():
    chain = [hg.layers.Conv2D(2, 3, use_bias=False), hg.layers.BatchNormalization(), hg.layers.Flatten()]
    return hg.Sequential([*chain, hg.layers.Dense(2)], input_shape=(4, 4, 1))


def changed(path, **fields):
    """Write a model's file anew, with nothing known about it, or what is given."""
    tensors, header = read_tensors(path)
    del header["model"]["info"]
    header["model"] |= fields
    write_tensors(path, tensors, header)


def test_it_comes_back_beside_what_else_is_known(tmp_path):
    saved = model()
    saved.info = INFO
    hg.save(saved, tmp_path / "m", about={"classes": ["a"]})
    assert hg.load(tmp_path / "m").info == INFO
    assert load_about(tmp_path / "m") == {"classes": ["a"]}


def test_a_folded_model_and_its_original_have_it(tmp_path):
    saved = model()
    saved["batch_normalization"].commit(
        saved["batch_normalization"].forward(np.ones((2, 2, 2, 2)), hg.Run(True))[1]
    )
    saved.info = INFO
    hg.save(hg.fold(saved), tmp_path / "m")
    again = hg.load(tmp_path / "m")
    assert again.info == again.original.info == again.unfold().info == INFO


def test_a_file_from_before_says_nothing(tmp_path):
    hg.save(model(), tmp_path / "m", about={"classes": ["a", "b"]})
    changed(tmp_path / "m")
    assert hg.load(tmp_path / "m").info == hg.ModelInfo()


@pytest.mark.parametrize(
    "info", [7, [], {"kind": "fish"}, {"fish": 1}, {"classes": [1]}, {"preprocessing": [1]}]
)
def test_something_else_in_its_place_is_refused(tmp_path, info):
    hg.save(model(), tmp_path / "m")
    changed(tmp_path / "m", info=info)
    with pytest.raises(CheckpointError) as error:
        hg.load(tmp_path / "m")
    assert str(error.value).startswith(str(tmp_path / "m"))
