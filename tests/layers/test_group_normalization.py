"""Normalizations of each sample by itself: what they are to each other, and far means."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad import layers
from handgrad.kernels import tables
from handgrad.layers import Init, Run
from tests.layers.cases import SAMPLE_NORMALIZATIONS, names, normal

TRAINING = Run(training=True)
IMAGES = (4, 5, 6)


def built(layer, shape, dtype=np.float64):
    """Return the layer, built, with a gamma and a beta that are not 1 and 0."""
    layer.build(shape, Init(dtype=dtype))
    for seed, p in enumerate(layer.parameters().values()):
        p.assign(p.value + normal(*p.shape, seed=50 + seed, dtype=dtype) / 2)
    return layer


def results(layer, x, dy, run=TRAINING):
    """Return y, dx and the gradients of the parameters, flat."""
    y, saved = layer.forward(x, run)
    dx = layer.backward(dy, saved, run)
    return {"y": y, "dx": dx} | {name: p.grad.reshape(-1) for name, p in layer.parameters().items()}


def same(found, expected, **tolerance):
    assert found.keys() == expected.keys()
    for name in found:
        a, b = (v[name].reshape(-1) for v in (found, expected))
        np.testing.assert_allclose(a, b, **{"rtol": 1e-12, "atol": 1e-12} | tolerance, err_msg=name)


def test_each_channel_a_group_is_instance_normalization():
    x, dy = normal(3, *IMAGES), normal(3, *IMAGES, seed=1)
    expected = results(built(layers.InstanceNormalization(), IMAGES), x, dy)
    for groups in (6, -1):
        same(results(built(layers.GroupNormalization(groups), IMAGES), x, dy), expected)


def test_instance_normalization_of_one_image_is_batch_normalization():
    x, dy = normal(1, *IMAGES), normal(1, *IMAGES, seed=1)
    expected = results(built(layers.BatchNormalization(), IMAGES), x, dy)
    same(results(built(layers.InstanceNormalization(), IMAGES), x, dy), expected)


def test_one_group_of_a_vector_is_layer_normalization():
    x, dy = normal(3, 6), normal(3, 6, seed=1)
    expected = results(built(layers.LayerNormalization(), (6,)), x, dy)
    same(results(built(layers.GroupNormalization(1), (6,)), x, dy), expected)


def test_one_group_of_an_image_is_layer_normalization_but_for_gamma_and_beta():
    x, dy, without = normal(3, *IMAGES), normal(3, *IMAGES, seed=1), {"center": False, "scale": False}
    expected = results(built(layers.LayerNormalization((1, 2, 3), **without), IMAGES), x, dy)
    same(results(built(layers.GroupNormalization(1, **without), IMAGES), x, dy), expected)


def test_by_the_root_mean_square_is_by_the_variance_where_the_mean_is_zero():
    x = normal(3, 6)
    x -= x.mean(axis=1, keepdims=True)
    y, _ = built(layers.RMSNormalization(epsilon=0.1), (6,)).forward(x, TRAINING)
    expected, _ = built(layers.LayerNormalization(epsilon=0.1, center=False), (6,)).forward(x, TRAINING)
    np.testing.assert_allclose(y, expected, rtol=1e-12)


@pytest.mark.parametrize("case", SAMPLE_NORMALIZATIONS, ids=names)
def test_a_sample_does_not_see_the_others_nor_the_mode(case):
    layer, x = case.new(), case.input(batch=4)
    together, _ = layer.forward(x, TRAINING)
    for i in range(4):
        alone, _ = layer.forward(x[i : i + 1], Run())
        np.testing.assert_allclose(alone[0], together[i], rtol=1e-13, atol=1e-14)


FAR = {
    "layer": (layers.LayerNormalization, (7, 40)),
    "layer, images": (lambda: layers.LayerNormalization((1, 2, 3)), (6, 6, 3)),
    "group": (lambda: layers.GroupNormalization(2), (6, 6, 6)),
    "instance": (layers.InstanceNormalization, (6, 6, 5)),
}


@pytest.mark.parametrize("name", [name for name in tables() if name != "cpu"])
@pytest.mark.parametrize("mean", [1e4, 1e6, -1e6, 1e7], ids=lambda m: f"{m:g}")
@pytest.mark.parametrize("kind", FAR)
def test_float32_stays_within_1e_6_of_float64_far_from_zero(kind, mean, name):
    """At a mean of 1e6 one float32 step is 0.06; PyTorch's outputs are off by as much."""
    make, shape = FAR[kind]
    x = (mean + normal(9, *shape)).astype(np.float32)
    dy = normal(9, *shape, seed=1, dtype=np.float32)
    run = Run(training=True, kernels=tables()[name])
    narrow = results(built(make(), shape, np.float32), x, dy, run)
    wide = results(built(make(), shape), x.astype(float), dy.astype(float))
    for what in wide:
        assert narrow[what].dtype == np.float32
    same(narrow, wide, rtol=3e-6, atol=3e-6)


@pytest.mark.parametrize("case", SAMPLE_NORMALIZATIONS, ids=names)
def test_gamma_and_beta_are_not_decayed(case):
    parameters = case.new().parameters()
    assert not any(p.decay for p in parameters.values())
    assert ("gamma" in parameters, "beta" in parameters) == (
        case.layer.scale,
        getattr(case.layer, "center", False),
    )


def test_images_of_another_size_are_taken_once_built():
    x = normal(2, 3, 7, 6)
    y, _ = built(layers.GroupNormalization(2), IMAGES).forward(x, TRAINING)
    assert y.shape == x.shape
