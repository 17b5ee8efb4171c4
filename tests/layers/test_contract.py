"""Every layer keeps the contract that users' layers are held to."""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.layers import Run
from handgrad.rng import Stream
from tests.layers.cases import CASES, names


@pytest.mark.parametrize("case", CASES, ids=names)
def test_contract(case):
    assert len(hg.testing.check_layer(case.layer, case.shape, batch=case.batch)) == 11


@pytest.mark.parametrize("case", CASES, ids=names)
def test_multiply_adds_are_counted(case):
    layer = case.new()
    assert isinstance(layer.multiply_adds(case.shape), int)
    assert layer.multiply_adds(case.shape) >= 0


@pytest.mark.parametrize(
    ("layer", "shape", "count"),
    [
        (layers.Conv2D(4, 3, padding="same"), (5, 6, 2), 5 * 6 * 4 * 9 * 2),
        (layers.Conv2D(4, 3, groups=2), (5, 6, 2), 3 * 4 * 4 * 9 * 1),
        (layers.Dense(7), (3, 5), 3 * 5 * 7),
        (layers.SimpleRNN(4), (5, 3), 5 * (3 + 4) * 4),
        (layers.BatchNormalization(), (5, 6, 2), 60),
        (layers.GroupNormalization(2), (5, 6, 2), 60),
        (layers.MaxPooling2D(2), (5, 6, 2), 2 * 3 * 2 * 4),
        (layers.GlobalAveragePooling2D(), (5, 6, 2), 60),
        (layers.Add(), ((5, 2),) * 3, 20),
        (layers.ReLU(), (5,), 0),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, layers.Layer) else "",
)
def test_multiply_adds(layer, shape, count):
    layer.build(shape)
    assert layer.multiply_adds(shape) == count


@pytest.mark.parametrize("case", CASES, ids=names)
def test_a_layer_takes_batches_of_another_size(case):
    layer = case.new(np.float32)
    y, _ = layer.forward(case.input(dtype=np.float32, batch=7), Run())
    assert y.shape == (7, *layer.output_shape(case.shape))


def test_convolution_and_pooling_take_images_of_another_size_once_built():
    conv, pool = layers.Conv2D(3, 3, strides=2, padding="same"), layers.MaxPooling2D(2)
    conv.build((8, 8, 2))
    pool.build((8, 8, 3))
    y, saved = conv.forward(np.ones((1, 5, 9, 2), np.float32), Run())
    assert y.shape == (1, 3, 5, 3)
    assert conv.backward(y, saved, Run()).shape == (1, 5, 9, 2)
    assert pool.forward(y, Run())[0].shape == (1, 1, 2, 3)


def test_numpy_integers_are_integers():
    three = np.int64(3)
    conv = layers.Conv2D(three, (three, three), np.int64(2), np.int64(1), (np.int64(1), np.int64(2)))
    assert conv.build((9, 9, 2)) == (5, 4, 3)
    assert conv.config() == layers.Conv2D(3, (3, 3), 2, 1, (1, 2)).config()
    assert layers.Conv2D(3, 3, padding=(np.int64(1), np.int64(2))).build((9, 9, 2)) == (9, 11, 3)


def test_an_initializer_survives_its_configuration():
    dense = layers.Dense(3, kernel_initializer=layers.Constant(0.25))
    again = layers.Dense.from_config(dense.config())
    again.build((2,))
    assert np.all(again.weight.value == 0.25)
    assert again.config() == dense.config()


def test_a_node_sees_the_run_with_a_stream_of_its_own():
    """And with all else that a run has: a field that is added later must come along."""
    given = {f.name: object() for f in fields(Run)} | {"rng": Stream((7,))}
    of_node = Run(**given).of("conv")
    assert of_node.rng == Stream((7, "conv"))
    assert all(getattr(of_node, name) is value for name, value in given.items() if name not in "rng node")
    assert of_node.node == "conv"
