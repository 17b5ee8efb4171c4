"""Models made ready for inference: the same outputs, in fewer passes, from memory of their own."""

from __future__ import annotations

import threading
import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, models
from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.kernels import default_kernels, select_kernels, tables
from tests.graph.models import MODELS, data
from tests.graph.test_fold import fitted, stirred


def kinds(predictor):
    return [type(node.layer).__name__ for node in predictor._graph.nodes]


def agree(model, rtol=1e-6, n=5, **options):
    """Raise unless outputs agree up to rounding, relative to the largest; return the predictor."""
    predictor = hg.Predictor(model, **options)
    x = data(model, n, seed=5, dtype=model.dtype)
    y = model.predict(x)
    found = predictor.predict(x)
    assert (found.dtype, found.shape) == (y.dtype, y.shape)
    np.testing.assert_allclose(found, y, rtol=0, atol=rtol * np.abs(y).max())
    return predictor


def ready(name, **options):
    """Return a model of that name, its normalizations fitted."""
    model = MODELS[name](**options)
    return stirred(model) if model.buffers() else model


@pytest.mark.parametrize("batch_size", [1, 3, 64])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_predicted_as_before(name, dtype, batch_size):
    agree(ready(name, dtype=dtype), 1e-12 if dtype == np.float64 else 1e-5, batch_size=batch_size)


@pytest.mark.parametrize("name", ["resnet20", "lenet", "small_cnn"])
def test_ready_made_models_are_predicted_as_before(name):
    agree(stirred(models.get(name)((28, 28, 1), 10)), 1e-4)


def test_a_residual_network_runs_in_one_pass_for_each_convolution():
    predictor = agree(stirred(models.resnet20((32, 32, 3), 10)), 1e-4)
    assert kinds(predictor) == ["PackedConv2D"] * 21 + ["GlobalAveragePooling2D", "PackedDense"]
    with_sum = [node.name for node in predictor._graph.nodes if len(node.inputs) == 2]
    last = {(2, 1): "projection.conv", (3, 1): "projection.conv"}  # what runs last takes the sum
    blocks = [(s, b) for s in (1, 2, 3) for b in (1, 2, 3)]
    assert with_sum == [f"stage{s}.block{b}.{last.get((s, b), 'conv2')}" for s, b in blocks]
    plain = [n.name for n in predictor._graph.nodes if not getattr(n.layer, "relu", True)]
    assert plain == ["stage2.block1.conv2", "stage3.block1.conv2", "logits"]


@pytest.mark.parametrize(
    ("chain", "expected"),
    [
        ([layers.Conv2D(3, 3), layers.ReLU()], ["PackedConv2D"]),
        ([layers.Conv2D(3, 3), layers.Tanh()], ["PackedConv2D", "Tanh"]),
        ([layers.Conv2D(4, 3, groups=2), layers.BatchNormalization(), layers.ReLU()], ["PackedConv2D"]),
        ([layers.Conv2D(2, 3, groups=2), layers.ReLU()], ["PackedConv2D"]),
        ([layers.Flatten(), layers.Dense(3), layers.ReLU()], ["Flatten", "PackedDense"]),
        ([layers.Dense(3), layers.ReLU()], ["PackedDense"]),
        ([layers.ReLU(), layers.Conv2D(3, 3, use_bias=False)], ["ReLU", "PackedConv2D"]),
        ([layers.BatchNormalization(), layers.ReLU()], ["BatchNormalizationReLU"]),
        ([layers.BatchNormalization(axis=(1, 2, 3)), layers.Dense(3)], ["BatchNormalization", "PackedDense"]),
    ],
    ids=lambda v: " ".join(v) if isinstance(v[0], str) else "",
)
def test_what_is_packed(chain, expected):
    model = fitted(*chain) if any(isinstance(c, layers.BatchNormalization) for c in chain) else None
    model = model or hg.Sequential(chain, input_shape=(5, 4, 2))
    assert kinds(agree(model)) == expected


def test_a_value_that_others_take_is_not_changed():
    """The convolution's own output is concatenated, too: ReLU and sum cannot be computed in its place."""
    i = hg.Input((4, 4, 2))
    h = layers.Conv2D(3, 3, padding="same")(i)
    r = layers.ReLU()(h)
    s = layers.Add()(h, r)
    model = hg.Graph(i, layers.Concatenate()(h, r, s, layers.ReLU()(s)))
    assert kinds(agree(model)) == ["PackedConv2D", "ReLU", "Add", "ReLU", "Concatenate"]


@pytest.mark.parametrize("order", [0, 1])
def test_of_two_convolutions_that_are_added_the_last_takes_the_sum(order):
    i = hg.Input((4, 4, 2))
    a, b = layers.Conv2D(3, 3, padding="same", name="a")(i), layers.Conv2D(3, 1, name="b")(i)
    model = hg.Graph(i, layers.ReLU()(layers.Add()(*((a, b) if order else (b, a)))))
    predictor = agree(model)
    assert kinds(predictor) == ["PackedConv2D", "PackedConv2D"]
    assert [len(node.inputs) for node in predictor._graph.nodes] == [1, 2]


def test_sums_of_three_and_classes_of_ones_own_stay():
    class Mine(layers.Conv2D):
        pass

    i = hg.Input((4, 4, 2))
    h = Mine(2, 1)(i)
    model = hg.Graph(i, layers.Add()(h, layers.Conv2D(2, 1)(i), i))
    assert kinds(agree(model)) == ["Mine", "PackedConv2D", "Add"]


def test_a_layer_that_is_used_twice_is_packed_twice():
    conv, i = layers.Conv2D(2, 3, padding="same"), hg.Input((4, 4, 2))
    model = hg.Graph(i, layers.ReLU()(conv(layers.Tanh()(conv(i)))))
    assert kinds(agree(model)) == ["PackedConv2D", "Tanh", "PackedConv2D"]


def test_a_layer_that_takes_images_of_two_sizes_pads_each_as_it_must():
    """Of 7 pixels one is added on both sides, of 4 pixels one behind them."""
    conv, i = layers.Conv2D(2, 3, strides=2, padding="same"), hg.Input((7, 7, 2))
    model = hg.Graph(i, layers.Flatten()(layers.ReLU()(conv(layers.Tanh()(conv(i))))))
    assert kinds(agree(model)) == ["PackedConv2D", "Tanh", "PackedConv2D", "Flatten"]


def test_training_on_does_not_change_it():
    model = fitted(layers.Conv2D(3, 3), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2))
    predictor, x = hg.Predictor(model), data(model)
    before = predictor.predict(x)
    for p in (model.parameters() | model.buffers()).values():
        p.assign(np.ones_like(p.value))
    np.testing.assert_array_equal(predictor.predict(x), before)


def test_the_model_stays_as_it_is():
    model = ready("residual")
    before = model.state()
    hg.Predictor(model).predict(data(model))
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("batch_size", [1, 4])
def test_an_input_has_the_same_bits_among_others(batch_size):
    if default_kernels() is select_kernels("reference"):
        pytest.skip("of compiled kernels: BLAS adds in an order that depends on sizes")
    model = stirred(models.resnet20((32, 32, 3), 10))
    predictor = hg.Predictor(model, batch_size)
    x = data(model, 9, dtype=np.float32)
    y = predictor.predict(x)
    for n in (1, 3):
        np.testing.assert_array_equal(predictor.predict(x[:n]), y[:n])


def test_an_output_can_be_written_without_changing_the_input():
    model = hg.Sequential([layers.Dropout(0.5), layers.Flatten()], input_shape=(2, 2))
    x = np.ones((3, 2, 2), np.float32)
    hg.Predictor(model, 4).predict(x)[...] = 5
    np.testing.assert_array_equal(x, 1)


def test_no_inputs_give_no_outputs():
    y = hg.Predictor(ready("chain"), 4).predict(np.zeros((0, 5, 4, 2)))
    assert (y.shape, y.dtype) == ((0, 4), np.float32)


def test_bytes_are_numbers_in_0_to_1():
    predictor = hg.Predictor(ready("chain"))
    x = np.arange(3 * 40, dtype=np.uint8).reshape(3, 5, 4, 2)
    np.testing.assert_array_equal(predictor.predict(x), predictor.predict(x.astype(np.float32) / 255))


@pytest.mark.parametrize("precision", ["strict", "bfloat16"])
def test_other_precisions(precision):
    if precision == "bfloat16":
        pytest.importorskip("ml_dtypes")
    model = stirred(models.lenet((28, 28, 1), 10))
    x = data(model, 3, dtype=np.float32)
    exact = hg.Predictor(model).predict(x)
    found = hg.Predictor(model, precision=precision).predict(x).astype(np.float32)
    assert np.abs(found - exact).max() <= {"strict": 1e-5, "bfloat16": 0.03}[precision] * np.abs(exact).max()


def test_strict_precision_uses_no_winograd():
    model = models.resnet20((32, 32, 3), 10)
    if default_kernels() is select_kernels("reference"):
        pytest.skip("of compiled kernels")
    for precision, expected in {"strict": {0}, "float32": {0, 2, 4}}.items():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # normalizations that have seen nothing
            predictor = hg.Predictor(model, precision=precision)
        tiles = {n.layer.filters.tile for n in predictor._graph.nodes if hasattr(n.layer, "filters")}
        assert tiles <= expected
        assert len(tiles) > 1 or precision == "strict"


@pytest.mark.parametrize("table", ["reference", *tables()])
def test_every_table(table, monkeypatch):
    monkeypatch.setenv("HANDGRAD_KERNELS", table)
    assert select_kernels(table)
    agree(ready("residual"), 1e-5)


def test_threads_can_share_it():
    predictor = hg.Predictor(stirred(models.lenet((28, 28, 1), 10)))
    xs = [np.random.default_rng(k).random((4, 28, 28, 1), np.float32) for k in range(4)]
    alone = [predictor.predict(x) for x in xs]
    wrong, barrier = [], threading.Barrier(4)

    def work(k):
        barrier.wait()
        wrong.extend(k for _ in range(10) if not np.array_equal(predictor.predict(xs[k]), alone[k]))

    workers = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in workers:
        t.start()
    for t in workers:
        t.join()
    assert not wrong


def test_unfitted_statistics_are_told_where_it_is_made():
    model = MODELS["chain"]()
    with pytest.warns(UserWarning, match="batch_normalization .* still mean 0 and variance 1") as warned:
        hg.Predictor(model)
    assert warned[0].filename == __file__


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("model",), "Predictor model: expected a Graph or Sequential, got str"),
        ((MODELS["shared"](), 0), "Predictor batch_size: expected an int, at least 1, got 0"),
        ((MODELS["shared"](), 2.0), "Predictor batch_size: expected an int, at least 1, got 2.0"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(ArgumentError) as error:
        hg.Predictor(*arguments)
    assert str(error.value) == message


def test_an_unknown_precision_is_refused():
    with pytest.raises(
        ArgumentError, match="precision: expected one of float32, strict, bfloat16, got 'half'"
    ):
        hg.Predictor(MODELS["shared"](), precision="half")


def test_inputs_that_do_not_fit():
    predictor = hg.Predictor(MODELS["shared"]())
    with pytest.raises(ShapeError) as error:
        predictor.predict(np.zeros(4))
    assert "add the batch axis with x[None]" in str(error.value)
    with pytest.raises(DataError) as error:
        predictor.predict(np.zeros((2, 4), complex))
    assert str(error.value) == "Predictor: expected real inputs, got dtype complex128"
