"""Initial values: variances by fan-in and fan-out, seeds, names and configurations."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.layers import Init
from handgrad.layers.initializers import BY_NAME, Initializer, get_initializer, initializer_config
from handgrad.rng import Stream

SHAPE, FANS = (3, 3, 64, 128), (3 * 3 * 64, 3 * 3 * 128)


@pytest.mark.parametrize(
    ("name", "variance"),
    [
        ("he_normal", 2 / FANS[0]),
        ("he_uniform", 2 / FANS[0]),
        ("glorot_normal", 2 / sum(FANS)),
        ("glorot_uniform", 2 / sum(FANS)),
        ("random_normal", 0.05**2),
    ],
)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_variance(name, variance, dtype):
    w = get_initializer(name)(Stream((1,)), SHAPE, FANS, np.dtype(dtype))
    assert w.dtype == dtype
    assert w.var(dtype=float) == pytest.approx(variance, rel=0.02)
    assert abs(w.mean(dtype=float)) < 0.02 * np.sqrt(variance)


@pytest.mark.parametrize(("name", "limit"), [("he_uniform", 6 / FANS[0]), ("glorot_uniform", 6 / sum(FANS))])
def test_uniform_stays_in_its_limits(name, limit):
    w = get_initializer(name)(Stream((1,)), SHAPE, FANS, np.dtype(np.float64))
    assert 0.99 * np.sqrt(limit) < np.abs(w).max() <= np.sqrt(limit)


@pytest.mark.parametrize(("name", "value"), [("zeros", 0), ("ones", 1)])
def test_constants(name, value):
    np.testing.assert_array_equal(
        get_initializer(name)(Stream(), (2, 3), (1, 1), np.dtype(np.float32)), value
    )


@pytest.mark.parametrize("shape", [(5, 5), (7, 3), (3, 7), (2, 2, 3)], ids=str)
@pytest.mark.parametrize("gain", [1.0, 2.0])
def test_orthogonal(shape, gain):
    q = layers.Orthogonal(gain)(Stream((1,)), shape, (1, 1), np.dtype(np.float64)).reshape(-1, shape[-1])
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, gain**2 * np.eye(len(product)), atol=1e-13)


@pytest.mark.parametrize(
    ("layer", "shape", "fan_in"),
    [
        (layers.Conv2D(256, 3), (8, 8, 64), 9 * 64),
        (layers.Conv2D(256, 3, groups=4), (8, 8, 64), 9 * 16),
        (layers.Conv2D(64, 5, groups=64), (8, 8, 64), 25),
    ],
    ids=["all channels", "groups", "depthwise"],
)
def test_convolutions_count_the_input_channels_they_see(layer, shape, fan_in):
    layer.build(shape)
    assert layer.weight.value.var(dtype=float) == pytest.approx(2 / fan_in, rel=0.05)
    np.testing.assert_array_equal(layer.bias.value, 0)


def test_a_deep_stack_neither_explodes_nor_vanishes():
    """He keeps the second moment through ReLU layers, which forgetting the input channels would not."""
    x = Stream((3,)).normal((64, 256))
    for k in range(20):
        dense = layers.Dense(256, kernel_initializer="he_normal")
        dense.build((256,), Init(Stream((k,))))
        x = np.maximum(x @ dense.weight.value, 0)
    assert 0.2 < float(np.mean(x * x)) < 5


def test_each_parameter_has_a_stream_of_its_own():
    init = Init(Stream((0,)))
    a = init.parameter("a", (50,), "random_normal").value
    np.testing.assert_array_equal(init.parameter("a", (50,), "random_normal").value, a)
    assert not np.array_equal(init.parameter("b", (50,), "random_normal").value, a)
    assert not np.array_equal(Init(Stream((1,))).parameter("a", (50,), "random_normal").value, a)


@pytest.mark.parametrize(
    "initializer", [*BY_NAME.values(), layers.Constant(3.0), layers.Orthogonal(2.0)], ids=repr
)
def test_configuration_round_trip(initializer):
    assert get_initializer(initializer_config(initializer)) == initializer


@pytest.mark.parametrize("name", BY_NAME)
def test_a_name_stays_a_name_in_the_configuration(name):
    assert initializer_config(name) == name
    assert isinstance(get_initializer(name), Initializer)


@pytest.mark.parametrize(
    "wrong", ["xavier", {"class": "Xavier"}, {"class": "Constant", "values": 1}, {"value": 1}], ids=str
)
def test_what_is_no_initializer(wrong):
    with pytest.raises(ArgumentError) as error:
        get_initializer(wrong)
    assert str(error.value) == (
        "initializer: expected one of zeros, ones, random_normal, he_normal, he_uniform, glorot_normal, "
        f"glorot_uniform, orthogonal, dirac or an Initializer, got {wrong!r}"
    )


@pytest.mark.parametrize("shape", [(3, 3, 2, 5), (3, 3, 5, 2), (1, 1, 4, 4), (2, 4, 3, 3)], ids=str)
def test_dirac_passes_channels_on(shape):
    w = layers.Dirac()(Stream((1,)), shape, (shape[0] * shape[1] * shape[2], 1), np.dtype(np.float32))
    c, k = shape[2:]
    n = min(c, k)
    identity = np.zeros(shape)
    for i in range(n):
        identity[shape[0] // 2, shape[1] // 2, i, i] = 1
    np.testing.assert_array_equal(w[..., :n], identity[..., :n])
    assert w.dtype == np.float32
    assert np.count_nonzero(w[..., n:]) == w[..., n:].size


def test_dirac_is_pytorchs_and_what_it_leaves_is_pytorchs_default():
    torch = pytest.importorskip("torch")
    shape = (3, 3, 4, 4)
    w = layers.Dirac()(Stream(), shape, (36, 1), np.dtype(np.float64))
    theirs = torch.nn.init.dirac_(torch.empty(4, 4, 3, 3, dtype=torch.float64)).numpy()
    np.testing.assert_array_equal(w.transpose(3, 2, 0, 1), theirs)
    rest = layers.Dirac()(Stream(), (3, 3, 16, 4096), (144, 1), np.dtype(np.float64))[..., 16:]
    conv = torch.nn.Conv2d(16, 4096, 3).weight.detach().numpy()
    assert rest.var() == pytest.approx(conv.var(), rel=0.01)
    assert np.abs(rest).max() == pytest.approx(np.abs(conv).max(), rel=1e-3)


def test_dirac_is_for_filters():
    with pytest.raises(ArgumentError) as error:
        layers.Dirac()(Stream(), (3, 3), (3, 3), np.dtype(np.float32))
    assert str(error.value) == "Dirac: expected filters (kh, kw, c, k), got shape (3, 3)"
