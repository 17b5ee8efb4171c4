"""Folded models: the same outputs, no normalization where a layer can hold it, and back bit for bit."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, models
from handgrad.errors import ArgumentError, BuildError
from handgrad.io import model_config
from handgrad.layers import BatchNormalization, Conv2D, Dense, Run
from tests.graph.models import data


def fitted(*chain, shape=(5, 4, 2), **options):
    """Return a chain whose normalizations have seen a batch, and have a gamma and a beta of their own."""
    return stirred(hg.Sequential(list(chain), input_shape=shape, **options))


def stirred(model, seed=3):
    rng = np.random.default_rng(seed)
    _, trace = model.forward(3 + 2 * data(model, 16, dtype=model.dtype), Run(training=True))
    model.commit(trace)
    for name, p in model.parameters().items():
        if name.endswith(("gamma", "beta", "bias")):
            p.assign(rng.uniform(-1.5, 1.5, p.shape).astype(p.value.dtype))
    return model


def kinds(model):
    return [type(node.layer).__name__ for node in model.nodes]


def assert_agree(folded, model, rtol=1e-12):
    """Raise unless outputs agree up to rounding, relative to the largest."""
    x = data(model, 7, seed=5, dtype=model.dtype)
    y = model.predict(x)
    np.testing.assert_allclose(folded.predict(x), y, rtol=0, atol=rtol * np.abs(y).max())


def assert_same(a, b):
    """Raise unless two models are the same bit for bit."""
    assert model_config(a) == model_config(b)
    x, y = a.state(), b.state()
    assert list(x) == list(y)
    for name in x:
        assert x[name].dtype == y[name].dtype
        assert x[name].tobytes() == y[name].tobytes(), name


@pytest.mark.parametrize("use_bias", [True, False])
@pytest.mark.parametrize("options", [{}, {"scale": False}, {"center": False}, {"debias": True}, {"axis": 3}])
def test_a_convolution_takes_up_its_normalization(use_bias, options):
    conv = Conv2D(3, 3, padding="same", use_bias=use_bias)
    model = fitted(conv, BatchNormalization(**options), layers.ReLU(), dtype=np.float64)
    folded = model.fold()
    assert kinds(folded) == ["Conv2D", "ReLU"]
    assert_agree(folded, model)


@pytest.mark.parametrize("shape", [(6,), (3, 6)])
def test_a_dense_layer_takes_up_its_normalization(shape):
    model = fitted(Dense(4), BatchNormalization(), layers.Tanh(), Dense(2), shape=shape, dtype=np.float64)
    folded = hg.fold(model)
    assert kinds(folded) == ["Dense", "Tanh", "Dense"]
    assert_agree(folded, model)


def test_groups_strides_and_dilation_stay():
    conv = Conv2D(6, (3, 2), (2, 1), 1, 2, 3, name="c", trainable=False)
    model = fitted(conv, BatchNormalization(epsilon=0.25), shape=(9, 8, 3), dtype=np.float64)
    folded = model.fold()
    assert_agree(folded, model)
    new = {"use_bias": True, "kernel_initializer": "zeros"}
    assert folded["c"].config() == conv.config() | new


def test_the_numbers():
    """By hand: gamma*s = 3/sqrt(3 + 1) = 1.5, so w = 2*1.5 and b = (5 - 4)*1.5 + 0.5."""
    model = hg.Sequential([Dense(1), BatchNormalization(epsilon=1.0)], input_shape=(1,))
    state = {
        "weight": [[2]],
        "bias": [5],
        "gamma": [3],
        "beta": [0.5],
        "running_mean": [4],
        "running_var": [3],
    }
    for name, own in (model.parameters() | model.buffers()).items():
        own.assign(np.array(state.get(name.partition(".")[2], 1)))
    folded = model.fold()
    assert folded["dense"].weight.value == 3
    assert folded["dense"].bias.value == 2


def test_products_are_rounded_once():
    """In float64 and then to the model's dtype."""
    model = fitted(Conv2D(3, 3), BatchNormalization(), shape=(5, 5, 2))
    conv, bn = model.layers
    folded = model.fold()["conv2d"]
    gamma_s = bn.gamma.value.astype(np.float64) / np.sqrt(bn.running_var.value + bn.epsilon)
    w = (conv.weight.value.astype(np.float64) * gamma_s).astype(np.float32)
    b = (conv.bias.value.astype(np.float64) - bn.running_mean.value) * gamma_s + bn.beta.value
    assert folded.weight.value.dtype == folded.bias.value.dtype == np.float32
    np.testing.assert_array_equal(folded.weight.value, w)
    np.testing.assert_array_equal(folded.bias.value, b.astype(np.float32))


@pytest.mark.parametrize("make", [models.small_cnn, models.lenet, models.resnet18, models.resnet20])
def test_the_networks_fold_whole(make):
    model = stirred(make((16, 16, 3), 10, width=4))
    folded = model.fold()
    assert "BatchNormalization" not in kinds(folded)
    assert len(folded.nodes) == len(model.nodes) - kinds(model).count("BatchNormalization")
    assert_agree(folded, model, rtol=2e-5)
    assert_same(folded.unfold(), model)


def test_a_layer_with_another_consumer_is_left_alone():
    i = hg.Input((4, 4, 2))
    h = Conv2D(3, 1)(i)
    model = stirred(hg.Graph(i, layers.Add()(BatchNormalization()(h), h), dtype=np.float64))
    folded = model.fold()
    assert kinds(folded) == kinds(model)
    assert folded.original is None
    assert_agree(folded, model)


@pytest.mark.parametrize(
    "chain",
    [
        (BatchNormalization(), Conv2D(3, 3)),
        (Conv2D(3, 3), layers.ReLU(), BatchNormalization()),
        (Conv2D(4, 1), BatchNormalization(axis=(1, 2, 3))),
        (Conv2D(5, 1), BatchNormalization(axis=1)),
        (Conv2D(4, 1), BatchNormalization(axis=2)),
    ],
)
def test_what_weights_cannot_hold_is_left_alone(chain):
    """The last two have as many rows and columns as channels."""
    model = fitted(*chain, dtype=np.float64)
    assert kinds(model.fold()) == kinds(model)
    assert_agree(model.fold(), model)


def test_a_layer_of_ones_own_is_left_alone():
    class Twice(Conv2D):
        def forward(self, x, run):
            y, saved = super().forward(x, run)
            return 2 * y, saved

    model = fitted(Twice(3, 3), BatchNormalization(), dtype=np.float64)
    assert kinds(model.fold()) == ["Twice", "BatchNormalization"]
    assert_agree(model.fold(), model)


def test_a_second_normalization_stays():
    model = fitted(Conv2D(3, 3), BatchNormalization(), BatchNormalization(), dtype=np.float64)
    assert kinds(model.fold()) == ["Conv2D", "BatchNormalization"]
    assert_agree(model.fold(), model)


def shared():
    """Return a convolution used three times: before one normalization twice, and before another."""
    i = hg.Input((4, 4, 2))
    conv = Conv2D(2, 3, padding="same", name="conv")
    one, two = BatchNormalization(), BatchNormalization(scale=False)
    h = layers.Tanh()(one(conv(i)))
    h = layers.Tanh()(one(conv(h)))
    h = layers.Add()(two(conv(h)), conv(h))
    return stirred(hg.Graph(i, h, dtype=np.float64, seed=2, name="net"))


def test_shared_layers_stay_shared_where_they_can():
    model = shared()
    folded = model.fold()
    assert kinds(folded) == ["Conv2D", "Tanh", "Conv2D", "Tanh", "Conv2D", "Conv2D", "Add"]
    a, b, c, d = (node.layer for node in folded.nodes if type(node.layer) is Conv2D)
    assert a is b
    assert len({id(a), id(c), id(d)}) == 3
    np.testing.assert_array_equal(d.weight.value, model["conv"].weight.value)
    assert_agree(folded, model)
    assert_same(folded.unfold(), model)


@pytest.mark.parametrize("make", [shared, lambda: stirred(models.resnet20((8, 8, 3), 5, width=2))])
def test_it_is_saved_and_loaded_with_its_original(make, tmp_path):
    model = make()
    folded = model.fold()
    hg.save(folded, tmp_path / "m.safetensors", about={"classes": ["a"]})
    again = hg.load(tmp_path / "m.safetensors")
    assert hg.io.load_about(tmp_path / "m.safetensors") == {"classes": ["a"]}
    assert_same(again, folded)
    assert_agree(again, folded, rtol=0)
    assert_same(again.unfold(), model)


def test_without_its_original_it_is_saved_as_any_model(tmp_path):
    model = shared()
    folded = model.fold(keep_original=False)
    assert_same(folded, model.fold())
    hg.save(folded, tmp_path / "m.safetensors")
    again = hg.load(tmp_path / "m.safetensors")
    assert_same(again, folded)
    with pytest.raises(BuildError) as error:
        again.unfold()
    assert str(error.value) == (
        "net unfold: expected a model from fold, which keeps its original, got one without; "
        "fold keeps none with keep_original=False, nor where there is no batch normalization that it can "
        "fold: such a model is its own original"
    )


def test_nothing_is_shared_with_the_original():
    model = fitted(Conv2D(3, 3), BatchNormalization(), layers.Flatten(), Dense(2))
    before = model.state()
    folded = model.fold()
    back = folded.unfold()
    for other in (folded, folded.original, back):
        for own in (other.parameters() | other.buffers()).values():
            own.assign(np.full_like(own.value, 7))
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_a_model_that_was_unfolded_trains_on_as_the_original():
    model = stirred(models.lenet((6, 6, 1), 3, width=2))
    back = model.fold().unfold()
    x, y = data(model, 12, dtype=np.float32), np.arange(12) % 3
    for m in (model, back):
        hg.Trainer(m, "cross_entropy", "adam").fit(x, y, epochs=2, batch_size=4)
    assert_same(back, model)


def test_gradients_are_not_copied():
    model = fitted(Conv2D(3, 3), layers.ReLU())
    for p in model.parameters().values():
        p.accumulate(np.ones_like(p.value))
    assert not any(p.grad.any() for p in model.fold().parameters().values())


def test_what_was_trained_after_folding_is_not_lost():
    folded = fitted(Conv2D(3, 3), BatchNormalization(), layers.Flatten(), Dense(2)).fold()
    folded["dense"].bias.assign(np.ones(2))
    folded["conv2d"].weight.assign(np.zeros((3, 3, 2, 3)))
    with pytest.raises(BuildError) as error:
        folded.unfold()
    assert str(error.value) == (
        "Graph unfold: expected the parameters that fold gave it, got others in conv2d.weight, dense.bias; "
        "the model from before is its attribute original"
    )


def test_nan_is_no_change():
    model = fitted(Conv2D(3, 3), BatchNormalization())
    model["conv2d"].weight.assign(np.full((3, 3, 2, 3), np.nan))
    assert_same(model.fold().unfold(), model)


def test_folding_again_changes_nothing():
    model = shared()
    folded = model.fold()
    again = folded.fold()
    assert_same(again, folded)
    assert_same(again.unfold(), model)
    assert folded.fold(keep_original=False).original is None


def test_a_model_without_normalization_is_copied():
    model = fitted(Conv2D(3, 3), layers.ReLU())
    folded = model.fold()
    assert_same(folded, model)
    with pytest.raises(BuildError, match="expected a model from fold"):
        folded.unfold()


def test_statistics_that_were_never_moved_are_told_of_once():
    i = hg.Input((4, 4, 2))
    conv, bn = Conv2D(2, 1), BatchNormalization(name="bn")
    model = hg.Graph(i, bn(conv(bn(conv(i)))))
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        folded = model.fold()
        folded.unfold()
    assert [str(w.message) for w in told] == [
        "bn (BatchNormalization): the running statistics are still mean 0 and variance 1: "
        "they move in training, by commit(saved)"
    ]


def test_what_is_no_model_is_refused():
    with pytest.raises(ArgumentError) as error:
        hg.fold(Conv2D(3, 3))
    assert str(error.value) == "fold: expected a Graph or Sequential, got Conv2D"
