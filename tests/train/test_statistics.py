"""Statistics of a whole data set: exact, layer by layer, and how far running ones are from them."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import data, layers
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.layers import BatchNormalization, Run
from tests.layers.cases import normal

X = 3 + 2 * normal(37, 6, 5, 2)


def network(dtype="float64", **options):
    """Return a model whose statistics have moved a little, and with dropout."""
    i = hg.Input((6, 5, 2))
    h = BatchNormalization(name="first", **options)(i)
    h = layers.Conv2D(4, 3, padding="same")(h)
    z = layers.ReLU()(BatchNormalization(name="second", **options)(h))
    z = layers.Dropout(0.5)(z)
    z = layers.Add()(z, h)
    z = BatchNormalization(name="third", axis=(1, 3), **options)(z)
    model = hg.Graph(i, layers.Dense(3)(layers.Flatten()(z)), dtype=dtype)
    model.commit(model.forward(X[:8], Run(training=True))[1])
    return model


def inputs(model, x):
    """Return what every normalization gets in inference."""
    outputs = model.intermediates(x)
    names = [node.name for node in model.nodes]
    return {
        node.name: outputs[names[node.inputs[0] - 1]] if node.inputs[0] else x
        for node in model.nodes
        if isinstance(node.layer, BatchNormalization)
    }


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"running_variance": "biased"},
        {"debias": True},
        {"momentum": None},
        {"debias": True, "momentum": 1.0},
    ],
    ids=str,
)
@pytest.mark.parametrize("batch_size", [1, 8, 36, 256])
def test_every_layer_is_given_the_statistics_of_what_it_then_gets(options, batch_size):
    model = network(**options)
    hg.precise_statistics(model, X, batch_size)
    for name, h in inputs(model, X).items():
        bn = model[name]
        rows = bn.rows(h)
        mean, var = bn.inference_statistics()
        np.testing.assert_allclose(mean, rows.mean(axis=0), rtol=1e-10, atol=1e-12)
        ddof = int(bn.running_variance == "unbiased")
        np.testing.assert_allclose(var, rows.var(axis=0, ddof=ddof), rtol=1e-10)


def test_nothing_else_changes():
    model = network()
    model["second"].use_batch_statistics = False
    before, configs = model.state(), [layer.config() for layer in model.layers]
    hg.precise_statistics(model, X)
    assert [layer.config() for layer in model.layers] == configs
    for name, value in model.state().items():
        if "running" in name:
            assert not np.array_equal(value, before[name]), name
        else:
            np.testing.assert_array_equal(value, before[name])


def test_a_layer_that_does_not_update_its_statistics_keeps_them():
    model = network()
    model["first"].freeze()
    model["third"].update_running_statistics = False
    before = model.state()
    hg.precise_statistics(model, X)
    moved = [n for n, value in model.state().items() if not np.array_equal(value, before[n])]
    assert moved == ["second.running_mean", "second.running_var"]


def test_training_goes_on_from_them():
    model = network(momentum=0.9)
    hg.precise_statistics(model, X)
    mean = model["first"].running_mean.value.copy()
    model.commit(model.forward(X[:8], Run(training=True))[1])
    expected = 0.9 * mean + 0.1 * X[:8].mean(axis=(0, 1, 2))
    np.testing.assert_allclose(model["first"].running_mean.value, expected, rtol=1e-12)
    assert model["first"].updates.value == 2


def test_of_a_model_that_was_never_trained():
    model = hg.Sequential([BatchNormalization(momentum=0.9, debias=True)], input_shape=(2,), dtype="float64")
    x = 5 + normal(30, 2)
    hg.precise_statistics(model, x)
    assert model["batch_normalization"].updates.value == 1
    np.testing.assert_allclose(model.predict(x).mean(axis=0), 0, atol=1e-14)


@pytest.mark.parametrize("kind", ["pair", "dataset"])
def test_labels_may_be_there(kind):
    one, two = network(), network()
    hg.precise_statistics(one, X)
    labels = np.zeros(len(X), int)
    hg.precise_statistics(
        two, (X, labels) if kind == "pair" else data.ArrayDataset(X, labels, dtype="float64")
    )
    for name, value in one.state().items():
        np.testing.assert_array_equal(two.state()[name], value)


def test_a_shared_layer_gets_those_of_all_its_places():
    bn = BatchNormalization(name="bn", running_variance="biased")
    i = hg.Input((3,))
    model = hg.Graph(i, bn(layers.ReLU()(bn(i))), dtype="float64")
    x = 2 + normal(40, 3)
    hg.precise_statistics(model, x)
    first = (x - x.mean(axis=0)) / np.sqrt(
        x.var(axis=0) + bn.epsilon
    )  # at the second place, when it was measured
    both = np.concatenate([x, np.maximum(first, 0)])
    np.testing.assert_allclose(bn.running_mean.value, both.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(bn.running_var.value, both.var(axis=0), rtol=1e-12)


def test_float32_far_from_zero():
    model = hg.Sequential([BatchNormalization()], input_shape=(2,))
    x = (1e6 + normal(500, 2)).astype(np.float32)
    hg.precise_statistics(model, x, batch_size=33)
    bn = model["batch_normalization"]
    np.testing.assert_allclose(bn.running_mean.value, x.astype(float).mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(bn.running_var.value, x.astype(float).var(axis=0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("frozen", [True, False])
def test_a_model_with_nothing_to_set(frozen):
    model = network() if frozen else hg.Sequential([layers.Dense(2)], input_shape=(3,))
    model.freeze()
    with pytest.raises(ArgumentError) as error:
        hg.precise_statistics(model, X)
    kind = "Graph" if frozen else "Sequential"
    assert str(error.value) == (
        f"{kind} precise_statistics: expected a BatchNormalization that updates running statistics, got "
        "none; unfreeze() those that are to be set"
    )


def test_one_value_per_channel():
    model = hg.Sequential([BatchNormalization()], input_shape=(3,))
    with pytest.raises(ArgumentError) as error:
        hg.precise_statistics(model, np.ones((1, 3)))
    assert str(error.value) == "precise_statistics x: expected at least 2 values per channel, got 1"
    assert model["batch_normalization"].updates.value == 0


def test_after_an_error_the_statistics_are_as_before():
    model = network()
    model["conv2d"].bias.value[1] = np.inf
    before = model.state()
    with pytest.raises(NonFiniteError) as error, np.errstate(invalid="ignore"):
        hg.precise_statistics(model, X)
    assert str(error.value) == (
        "precise_statistics: expected inputs of second (BatchNormalization) with finite mean and variance, "
        "got others in channel 1; look at the data and the parameters before it"
    )
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


def test_the_gap_is_what_lies_between_running_statistics_and_the_data():
    model = network()
    model["second"].running_mean.value[:] = 7
    before = model.state()
    gap = hg.statistics_gap(model, X, batch_size=10)
    assert list(gap) == ["first", "second", "third"]
    for name, h in inputs(model, X).items():
        bn = model[name]
        rows = bn.rows(h)
        sigma = np.sqrt(rows.var(axis=0) + bn.epsilon)
        mean, var = bn.inference_statistics()
        np.testing.assert_allclose(gap[name].mean, (mean - rows.mean(axis=0)) / sigma, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(gap[name].std, np.sqrt(var + bn.epsilon) / sigma, rtol=1e-9)
        worst = max(np.abs(gap[name].mean).max(), np.abs(np.log(gap[name].std)).max())
        assert gap[name].largest == worst
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])
    assert gap["second"].largest > 1
    hg.precise_statistics(model, X)
    assert max(g.largest for g in hg.statistics_gap(model, X).values()) < 0.01


@pytest.mark.parametrize("function", [hg.precise_statistics, hg.statistics_gap])
def test_a_run_in_training_mode_is_refused(function):
    model = hg.Sequential([hg.layers.BatchNormalization()], input_shape=(4,))
    with pytest.raises(ArgumentError) as error:
        function(model, np.zeros((5, 4), np.float32), run=Run(training=True))
    assert str(error.value) == (
        f"{function.__name__} run: expected one in inference mode, got training=True; leave it out: "
        "of a batch in training mode, running statistics are not looked at"
    )
