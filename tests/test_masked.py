"""Masked arrays: an element that is not to count counts nowhere, and is refused wherever arrays come in."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.data import ArrayDataset, NpyDataset, as_dataset
from handgrad.errors import DataError
from handgrad.layers import Buffer, Parameter, Run

X = np.zeros((4, 3), np.float32)
MASKED = np.ma.masked_array(X, mask=np.eye(4, 3))
LABELS = np.ma.masked_array(np.arange(4) % 2, mask=[0, 0, 1, 0])
DO = "fill them with x.filled(value), or leave those samples out"


def model():
    return hg.Sequential([layers.Dense(2)], input_shape=(3,))


def trainer():
    return hg.Trainer(model(), "cross_entropy", "adam")


def built():
    layer = layers.Dense(2)
    layer.build((3,))
    return layer


def stepped():
    optimizer = optim.Adam()
    optimizer.step({"p": Parameter(X)})
    return optimizer


DOORS = {
    "predict": lambda x, y, folder: model().predict(x),
    "forward": lambda x, y, folder: model().forward(x, Run()),
    "intermediates": lambda x, y, folder: model().intermediates(x),
    "Predictor": lambda x, y, folder: hg.Predictor(model()).predict(x),
    "layer": lambda x, y, folder: built().forward(x, Run()),
    "fit x": lambda x, y, folder: trainer().fit(x, np.zeros(4, int)),
    "fit y": lambda x, y, folder: trainer().fit(X, y),
    "fit validation": lambda x, y, folder: trainer().fit(
        X, np.zeros(4, int), validation=(x, np.zeros(4, int))
    ),
    "evaluate": lambda x, y, folder: trainer().evaluate(X, y),
    "train_step x": lambda x, y, folder: trainer().train_step(x, np.zeros(4, int)),
    "train_step y": lambda x, y, folder: trainer().train_step(X, y),
    "as_dataset": lambda x, y, folder: as_dataset(x, np.zeros(4)),
    "labels of a dataset": lambda x, y, folder: ArrayDataset(X, y),
    "labels of a file": lambda x, y, folder: NpyDataset(saved(folder), y),
    "loss": lambda x, y, folder: losses.CrossEntropy()(X, y),
    "mean squared error": lambda x, y, folder: losses.MeanSquaredError()(X, x),
    "Parameter": lambda x, y, folder: Parameter(x),
    "assign": lambda x, y, folder: Parameter(X).assign(x),
    "accumulate": lambda x, y, folder: Parameter(X).accumulate(x),
    "Buffer": lambda x, y, folder: Buffer(X).assign(x),
    "load_state": lambda x, y, folder: model().load_state(
        {"dense.weight": x[:3, :2], "dense.bias": X[0, :2]}
    ),
    "optimizer": lambda x, y, folder: optim.Adam().load_state(stepped().state() | {"m/p": x}),
    "write_tensors": lambda x, y, folder: hg.io.write_tensors(folder / "t", {"x": x}, {}),
    "batch_norm_from_torch": lambda x, y, folder: hg.io.batch_norm_from_torch({"weight": x[0], "bias": X[0]}),
    "batch_norm_from_keras": lambda x, y, folder: hg.io.batch_norm_from_keras([x[0], X[0], X[0], X[0]]),
    "batch_norm_from_flax": lambda x, y, folder: hg.io.batch_norm_from_flax({"scale": x[0]}, {}),
}


def saved(folder):
    np.save(folder / "x.npy", X)
    return folder / "x.npy"


@pytest.mark.parametrize("door", DOORS)
def test_masked_elements_are_refused(door, tmp_path):
    with pytest.raises(
        DataError, match=r"expected an array without a mask, got one with \d masked element"
    ) as e:
        DOORS[door](MASKED, LABELS, tmp_path)
    assert str(e.value).endswith(f"; {DO}")


@pytest.mark.parametrize("door", [d for d in DOORS if d not in ("layer", "optimizer")])
@pytest.mark.parametrize("mask", [False, np.ma.nomask])
def test_a_mask_that_covers_nothing_is_none(door, mask, tmp_path):
    x = np.ma.masked_array(X, mask=mask)
    DOORS[door](x, np.ma.masked_array(np.arange(4) % 2, mask=mask), tmp_path)


def test_the_message_counts_them(tmp_path):
    with pytest.raises(DataError) as error:
        model().predict(MASKED)
    assert (
        str(error.value)
        == f"Sequential: expected an array without a mask, got one with 3 masked elements; {DO}"
    )
