from __future__ import annotations

import copy
import math
import os
from dataclasses import dataclass

import numpy as np
import pytest
from safetensors.numpy import load_file

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.io import load_about, model_config, model_from_config, read_tensors, write_tensors
from handgrad.layers import Layer, Merge, NothingSaved, Parameter
from handgrad.layers.layer import owned
from tests.layers.cases import CASES, names


def of(case, **options):
    """Return a model of the layer of a case; for a merge each input is made from the model's one."""
    layer = copy.deepcopy(case.layer)
    if not isinstance(layer, Merge):
        return hg.Sequential([layer], input_shape=case.shape, **options)
    i = hg.Input((5,))
    inputs = [layers.Reshape(s)(layers.Dense(math.prod(s))(i)) for s in case.shape]
    return hg.Graph(i, layer(*inputs), **options)


def stirred(model, seed=3):
    """Return the model with other values in all that it owns."""
    rng = np.random.default_rng(seed)
    for own in (model.parameters() | model.buffers()).values():
        value = rng.uniform(0.5, 1.5, own.shape) if own.value.dtype.kind == "f" else np.full(own.shape, 7)
        own.assign(value.astype(own.value.dtype))
    return model


def assert_same(a, b):
    assert model_config(a) == model_config(b)
    assert (a.name, a.seed, a.dtype, a.input_shape, a.output_shape) == (
        b.name,
        b.seed,
        b.dtype,
        b.input_shape,
        b.output_shape,
    )
    assert list(a.parameters()) == list(b.parameters())
    x, y = a.state(), b.state()
    assert list(x) == list(y)
    for name in x:
        assert x[name].dtype == y[name].dtype
        np.testing.assert_array_equal(x[name], y[name], err_msg=name)
    inputs = np.random.default_rng(0).normal(size=(3, *a.input_shape)).astype(a.dtype)
    np.testing.assert_array_equal(a.predict(inputs), b.predict(inputs))


@pytest.mark.parametrize("case", CASES, ids=names)
def test_every_layer_round_trips(case, tmp_path):
    model = stirred(of(case, seed=5))
    hg.save(model, tmp_path / "m.safetensors")
    assert_same(hg.load(tmp_path / "m.safetensors"), model)


def test_every_layer_is_among_the_cases():
    public = {getattr(layers, name) for name in layers.__all__}
    kinds = {k for k in public if isinstance(k, type) and issubclass(k, Layer)} - {Layer, Merge}
    assert {type(case.layer) for case in CASES} >= kinds


def residual(**options):
    i = hg.Input((6, 6, 2))
    h = layers.Conv2D(3, 3, padding="same")(i)
    h = layers.Add()(h, layers.Conv2D(3, 1)(i))
    h = layers.BatchNormalization()(h)
    return hg.Graph(i, layers.Concatenate()(h, layers.ReLU()(h), h), **options)


def shared(**options):
    i = hg.Input((4,))
    dense = layers.Dense(4, name="twice")
    return hg.Graph(i, layers.Add()(dense(layers.Tanh()(dense(i))), i), **options)


def nested(dtype="float32", **options):
    chain = [layers.Dense(4), layers.BatchNormalization()]
    inner = hg.Sequential(chain, input_shape=(4,), name="block", dtype=dtype)
    i = hg.Input((4,))
    return hg.Graph(i, layers.Add()(inner(inner(i)), i), dtype=dtype, **options)


def nameless(dtype="float32", **options):
    inner = hg.Sequential([layers.Dense(3), layers.ReLU()], input_shape=(4,), dtype=dtype)
    return hg.Sequential([inner, layers.Dense(2), layers.ReLU()], input_shape=(4,), dtype=dtype, **options)


def deep(dtype="float32", **options):
    inner = hg.Sequential([layers.Dense(4)], input_shape=(4,), name="inner", dtype=dtype)
    outer = hg.Sequential([inner, layers.Tanh()], input_shape=(4,), name="outer", dtype=dtype)
    return hg.Sequential([outer, layers.Dense(2)], input_shape=(4,), dtype=dtype, **options)


SHAPES = [residual, shared, nested, nameless, deep]


@pytest.mark.parametrize("make", SHAPES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_every_graph_round_trips(make, dtype, tmp_path):
    model = stirred(make(dtype=dtype, seed=2, name="net"))
    hg.save(model, tmp_path / "m")
    again = hg.load(tmp_path / "m")
    assert_same(again, model)
    assert len(again.layers) == len(model.layers)


def test_a_shared_layer_is_shared_again(tmp_path):
    hg.save(shared(), tmp_path / "m")
    model = hg.load(tmp_path / "m")
    assert model["twice"] is model["twice_1"]
    assert list(model.parameters()) == ["twice.weight", "twice.bias"]


def test_a_model_that_was_loaded_trains_like_the_one_that_was_saved(tmp_path):
    model = nested(seed=4)
    hg.save(model, tmp_path / "m")
    again = hg.load(tmp_path / "m")
    x, y = np.random.default_rng(0).normal(size=(8, 4)).astype(np.float32), np.arange(8) % 4
    for each in (model, again):
        hg.Trainer(each, "cross_entropy", "adam").fit(x, y, epochs=3, batch_size=4)
    assert_same(again, model)


def test_frozen_layers_are_frozen_again(tmp_path):
    model = residual()
    model["conv2d"].freeze()
    hg.save(model, tmp_path / "m")
    again = hg.load(tmp_path / "m")
    assert not again["conv2d"].trainable
    assert list(again.trainable_parameters()) == list(model.trainable_parameters())


def test_initializers_and_all_other_arguments_come_back(tmp_path):
    layer = layers.Conv2D(
        4,
        (2, 3),
        strides=(1, 2),
        padding=((0, 1), (2, 0)),
        groups=2,
        kernel_initializer=layers.RandomNormal(0.3),
        bias_initializer="ones",
        name="c",
    )
    model = hg.Sequential([layer], input_shape=(5, 6, 2))
    hg.save(model, tmp_path / "m")
    again = hg.load(tmp_path / "m")
    assert again["c"].config() == layer.config()
    new = model_from_config(model_config(model))
    np.testing.assert_array_equal(new["c"].weight.value, layer.weight.value)


def test_a_config_makes_the_model_anew_with_its_first_values():
    model = stirred(residual(seed=6))
    assert_same(stirred(model_from_config(model_config(model))), model)
    fresh = residual(seed=6)
    for name, value in model_from_config(model_config(model)).state().items():
        np.testing.assert_array_equal(value, fresh.state()[name])


def test_numpy_numbers_in_a_model_are_no_hindrance(tmp_path):
    model = hg.Sequential([layers.Dense(np.int64(3))], input_shape=(np.int64(4),), seed=np.int64(2))
    hg.save(model, tmp_path / "m")
    assert_same(hg.load(tmp_path / "m"), model)


class TestTheFile:
    def test_is_read_by_safetensors_alone(self, tmp_path):
        model = stirred(residual())
        hg.save(model, tmp_path / "m.safetensors")
        tensors = load_file(tmp_path / "m.safetensors")
        names = ["conv2d.weight", "conv2d.bias", "conv2d_1.weight", "conv2d_1.bias"]
        norm = ["gamma", "beta", "running_mean", "running_var", "updates"]
        assert sorted(tensors) == sorted([*names, *(f"batch_normalization.{n}" for n in norm)])
        for name, value in model.state().items():
            np.testing.assert_array_equal(tensors[name], value)
            assert tensors[name].dtype == value.dtype

    def test_is_the_same_for_the_same_model(self, tmp_path):
        for name in ("a", "b"):
            hg.save(residual(), tmp_path / name, about={"x": 1})
        assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()

    def test_may_have_any_name_in_any_folder(self, tmp_path):
        path = os.fspath(tmp_path / "a/b/ü model [1].bin")
        hg.save(shared(), path)
        assert_same(hg.load(path), shared())
        assert [p.name for p in (tmp_path / "a/b").iterdir()] == ["ü model [1].bin"]

    def test_of_a_model_without_parameters(self, tmp_path):
        model = hg.Sequential([layers.ReLU()], input_shape=(3,))
        hg.save(model, tmp_path / "m")
        assert_same(hg.load(tmp_path / "m"), model)

    def test_replaces_an_older_one(self, tmp_path):
        hg.save(shared(), tmp_path / "m")
        hg.save(nameless(), tmp_path / "m")
        assert_same(hg.load(tmp_path / "m"), nameless())

    def test_can_be_replaced_while_it_is_loaded(self, tmp_path):
        """What was loaded is in memory, not a map of the file."""
        hg.save(stirred(shared(), 1), tmp_path / "m")
        model = hg.load(tmp_path / "m")
        tensors, _ = read_tensors(tmp_path / "m")
        hg.save(stirred(shared(), 2), tmp_path / "m")
        assert_same(model, stirred(shared(), 1))
        np.testing.assert_array_equal(tensors["twice.bias"], stirred(shared(), 1).state()["twice.bias"])


class TestAbout:
    def test_comes_back(self, tmp_path):
        about = {"classes": ["a", "ü"], "nested": {"x": [1, 2.5, None, True]}}
        hg.save(shared(), tmp_path / "m", about=about)
        assert load_about(tmp_path / "m") == about
        assert_same(hg.load(tmp_path / "m"), shared())

    def test_is_empty_when_nothing_was_given(self, tmp_path):
        hg.save(shared(), tmp_path / "m")
        assert load_about(tmp_path / "m") == {}

    def test_that_json_cannot_hold_is_refused_and_nothing_written(self, tmp_path):
        with pytest.raises(ArgumentError) as error:
            hg.save(shared(), tmp_path / "m", about={"x": np.float32(1)})
        assert str(error.value) == (
            f"{tmp_path / 'm'}: expected a header that JSON can hold, got Object of type float32 is "
            "not JSON serializable"
        )
        assert list(tmp_path.iterdir()) == []


@dataclass(eq=False)
class Scale(Layer):
    """y = factor*a*x, with a trained."""

    factor: float = 2.0
    a: Parameter = owned()

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        self.a = init.parameter("a", (), "ones")

    def forward(self, x, run):
        return x * (self.factor * self.a.value), NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        return dy * (self.factor * self.a.value)


class TestCustomObjects:
    @pytest.fixture
    def path(self, tmp_path):
        hg.save(stirred(hg.Sequential([Scale(3.0), layers.Dense(2)], input_shape=(4,))), tmp_path / "m")
        return tmp_path / "m"

    def test_are_passed_by_name(self, path):
        model = hg.load(path, custom_objects={"Scale": Scale})
        assert (type(model["scale"]), model["scale"].factor) == (Scale, 3.0)
        assert_same(model, stirred(hg.Sequential([Scale(3.0), layers.Dense(2)], input_shape=(4,))))

    def test_may_stand_in_for_handgrads_own(self, path):
        class Dense(layers.Dense):
            pass

        assert type(hg.load(path, {"Scale": Scale, "Dense": Dense})["dense"]) is Dense

    def test_that_are_missing_are_named(self, path):
        with pytest.raises(CheckpointError) as error:
            hg.load(path)
        assert str(error.value) == (
            f"{path}: scale: expected a layer of handgrad, got class Scale of {Scale.__module__}; "
            'pass custom_objects={"Scale": Scale}'
        )

    @pytest.mark.parametrize("name", ["Run", "Activation", "owned", "__doc__"])
    def test_other_names_of_the_module_are_no_layers(self, name, tmp_path):
        config = model_config(shared())
        config["nodes"][0]["class"] = name
        write_tensors(tmp_path / "m", {}, {"model": config})
        with pytest.raises(CheckpointError):
            hg.load(tmp_path / "m")


def changed(path, change):
    tensors, header = read_tensors(path)
    change(tensors, header)
    write_tensors(path, tensors, header)


class TestLoadRefuses:
    @pytest.fixture
    def path(self, tmp_path):
        hg.save(shared(), tmp_path / "m")
        return tmp_path / "m"

    def message(self, path):
        with pytest.raises(CheckpointError) as error:
            hg.load(path)
        return str(error.value)

    def test_a_newer_format(self, path):
        changed(path, lambda tensors, header: header["model"].update(version=2))
        assert self.message(path) == (
            f"{path}: expected format 1 or older, got format 2; update handgrad: python -m pip install "
            "-U handgrad"
        )

    def test_a_file_without_a_model(self, path):
        changed(path, lambda tensors, header: header.pop("model"))
        assert self.message(path) == f"{path}: expected a model, got a file without one"
        with pytest.raises(CheckpointError):
            load_about(path)

    def test_a_model_that_is_described_otherwise(self, path):
        changed(path, lambda tensors, header: header["model"].pop("nodes"))
        assert self.message(path) == f"{path}: expected nodes to be a list of layers, got nothing"

    def test_a_layer_with_other_arguments(self, path):
        changed(path, lambda tensors, header: header["model"]["nodes"][0]["config"].update(depth=1))
        assert self.message(path) == (
            f"{path}: Dense: expected arguments among name, trainable, units, use_bias, kernel_initializer, "
            "bias_initializer, got 'depth'"
        )

    def test_missing_tensors(self, path):
        changed(path, lambda tensors, header: tensors.pop("twice.bias"))
        assert self.message(path) == f"{path}: expected the parameters of this model, got missing twice.bias"

    def test_tensors_of_another_shape(self, path):
        changed(path, lambda tensors, header: tensors.update({"twice.bias": np.zeros(5, np.float32)}))
        assert self.message(path) == (
            f"{path}: expected the parameters of this model, got twice.bias of shape (5,), not (4,)"
        )


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_model_with_values_that_are_not_finite_is_said_to_be_so(value, tmp_path):
    model = residual()
    for name in ("conv2d.bias", "conv2d_1.weight"):
        model.parameters()[name].value[..., 0] = value
    hg.save(model, tmp_path / "m")
    with pytest.warns(UserWarning, match="NaN or infinity") as said:
        again = hg.load(tmp_path / "m")
    assert [str(w.message) for w in said] == [
        f"{tmp_path / 'm'}: conv2d.bias and 1 more with NaN or infinity, and so will be what it predicts"
    ]
    assert said[0].filename == __file__
    np.testing.assert_array_equal(again["conv2d"].bias.value, model["conv2d"].bias.value)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_the_largest_numbers_are_finite(dtype, tmp_path):
    model = nested(dtype=dtype)
    for parameter in model.parameters().values():
        parameter.value[...] = np.finfo(dtype).max
    hg.save(model, tmp_path / "m")
    hg.load(tmp_path / "m")


class TestLoadState:
    """Of a model: all or nothing."""

    @pytest.mark.parametrize(
        ("change", "got"),
        [
            (lambda s: s.pop("conv2d.bias"), "missing conv2d.bias"),
            (lambda s: s.update(extra=np.zeros(1)), "unknown extra"),
            (
                lambda s: s.update({"conv2d_1.bias": np.zeros((3, 1))}),
                "conv2d_1.bias of shape (3, 1), not (3,)",
            ),
            (
                lambda s: s.update({"conv2d_1.bias": np.zeros(3, complex)}),
                "conv2d_1.bias of complex128, not float32",
            ),
        ],
    )
    def test_changes_nothing_when_something_does_not_fit(self, change, got):
        model, state = residual(), stirred(residual()).state()
        before = model.state()
        change(state)
        with pytest.raises(CheckpointError) as error:
            model.load_state(state)
        assert str(error.value) == f"load_state: expected the parameters of this model, got {got}"
        for name, value in model.state().items():
            np.testing.assert_array_equal(value, before[name])

    def test_copies(self):
        model, state = residual(), stirred(residual()).state()
        model.load_state(state)
        state["conv2d.bias"][...] = 99
        assert not (model["conv2d"].bias.value == 99).any()
