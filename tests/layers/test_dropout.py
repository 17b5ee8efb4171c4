"""Dropout: inverted, seeded, the same in forward and backward, and nothing at all in inference."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.layers import Dropout, Run
from handgrad.rng import Stream


def built(rate, shape=(1000,)):
    layer = Dropout(rate)
    layer.build(shape)
    return layer


def run(*key):
    return Run(training=True, rng=Stream(("test", *key)))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_what_is_kept_is_scaled_so_that_the_mean_stays(rate):
    x = np.ones((100, 1000), np.float32)
    y, _ = built(rate).forward(x, run())
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / (1 - rate))}
    assert abs(float((y == 0).mean()) - rate) < 0.01
    assert abs(float(y.mean(dtype=float)) - 1) < 0.03


def test_backward_uses_the_mask_of_its_forward():
    layer, x = built(0.5), np.ones((3, 1000), np.float32)
    y, saved = layer.forward(x, run(1))
    layer.forward(x, run(2))
    np.testing.assert_array_equal(layer.backward(x, saved, run(2)), y)


def test_inference_is_the_identity_forward_and_backward():
    layer, x = built(0.5), np.ones((3, 1000), np.float32)
    layer.forward(x, run())
    y, saved = layer.forward(x, Run())
    np.testing.assert_array_equal(y, x)
    np.testing.assert_array_equal(layer.backward(2 * x, saved, Run()), 2 * x)


def test_rate_0_drops_nothing():
    x = np.ones((3, 1000), np.float32)
    np.testing.assert_array_equal(built(0).forward(x, run())[0], x)


def test_the_same_stream_drops_the_same_and_another_drops_others():
    layer, x = built(0.5), np.ones((3, 1000), np.float32)
    a, b, c = (layer.forward(x, run(k))[0] for k in (1, 1, 2))
    np.testing.assert_array_equal(a, b)
    assert not np.array_equal(a, c)


def test_two_dropouts_of_a_model_drop_apart():
    i = hg.Input((1000,))
    shared = Dropout(0.5)
    model = hg.Graph(i, hg.layers.Concatenate()(shared(i), shared(i), Dropout(0.5)(i)))
    y, _ = model.forward(np.ones((1, 1000), np.float32), run())
    parts = np.split(y[0] == 0, 3)
    for a, b in ((0, 1), (0, 2), (1, 2)):
        assert 0.2 < float((parts[a] & parts[b]).mean()) < 0.3


@pytest.mark.parametrize("rate", [-0.1, 1.0, 1, 2, float("nan"), "half"], ids=str)
def test_rates_that_mean_nothing(rate):
    with pytest.raises(ArgumentError) as error:
        built(rate)
    assert str(error.value) == f"Dropout: expected rate of at least 0 and less than 1, got {rate!r}"
