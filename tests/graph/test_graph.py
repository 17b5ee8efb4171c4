"""Graphs: names, paths, nesting, sharing, and what they say to what does not fit."""

# ruff: noqa: E501 (whole messages)

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, BuildError, HandgradError, ShapeError
from handgrad.layers import Run
from tests.graph import models
from tests.graph.models import data, gradients

TRAINING = Run(training=True)

# --- names --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "arguments", "name"),
    [
        ("Conv2D", (2, 1), "conv2d"),
        ("BatchNormalization", (), "batch_normalization"),
        ("ReLU", (), "relu"),
        ("LeakyReLU", (), "leaky_relu"),
        ("SiLU", (), "silu"),
        ("ELU", (), "elu"),
        ("MaxPooling2D", (1,), "max_pooling2d"),
        ("GlobalAveragePooling2D", (), "global_average_pooling2d"),
        ("UpSampling2D", (), "up_sampling2d"),
        ("ZeroPadding2D", (), "zero_padding2d"),
        ("Flatten", (), "flatten"),
    ],
)
def test_a_layer_is_named_after_its_class(kind, arguments, name):
    model = hg.Sequential([getattr(layers, kind)(*arguments)], input_shape=(3, 3, 2))
    assert [node.name for node in model.nodes] == [name]


def test_names_are_numbered_and_given_names_kept():
    model = hg.Sequential(
        [layers.Dense(3), layers.Dense(3), layers.Dense(3, name="head"), layers.Dense(3)], input_shape=(3,)
    )
    assert [node.name for node in model.nodes] == ["dense", "dense_1", "head", "dense_2"]
    assert list(model.parameters())[:3] == ["dense.weight", "dense.bias", "dense_1.weight"]
    assert model["head"] is model.layers[2]
    assert model["head"].weight.name == "head.weight"


def test_numbers_leave_out_names_that_were_given():
    chain = [layers.Dense(3), layers.Dense(3), layers.Dense(3, name="dense_1")]
    model = hg.Sequential(chain, input_shape=(3,))
    assert [node.name for node in model.nodes] == ["dense", "dense_2", "dense_1"]


@pytest.mark.parametrize("seed", [None, -1, 1.5, True], ids=str)
def test_seeds_that_mean_nothing(seed):
    with pytest.raises(ArgumentError) as error:
        hg.Sequential([layers.Dense(3)], input_shape=(3,), seed=seed)
    assert str(error.value) == f"Graph seed: expected an int, at least 0, got {seed!r}"


def test_an_unknown_name_is_an_error_with_all_names():
    with pytest.raises(ArgumentError) as error:
        models.chain()["conv"]
    assert str(error.value) == (
        "layer: expected one of conv2d, batch_normalization, relu, max_pooling2d, flatten, dense, got 'conv'"
    )


def test_a_shared_layer_has_several_nodes_and_one_set_of_parameters():
    model = models.shared()
    assert [n.name for n in model.nodes] == ["dense", "tanh", "dense_1", "tanh_1", "dense_2", "add"]
    assert len(model.layers) == 4
    assert list(model.parameters()) == ["dense.weight", "dense.bias"]


def test_a_nested_model_gives_its_layers_paths():
    model = models.nested(dtype=np.float64)
    assert [n.name for n in model.nodes] == [
        "block.dense",
        "block.tanh",
        "block.dense_1",
        "block.tanh_1",
        "dense",
    ]
    assert list(model.parameters()) == [
        "block.dense.weight",
        "block.dense.bias",
        "dense.weight",
        "dense.bias",
    ]


def test_models_in_models_in_models():
    def block(name, inner=None):
        return hg.Sequential([inner or layers.ReLU(), layers.Dense(3)], input_shape=(3,), name=name)

    model = hg.Sequential(
        [block("outer", block("middle", block("inner"))), layers.Dense(2)], input_shape=(3,)
    )
    assert [n.name for n in model.nodes] == [
        "outer.middle.inner.relu",
        "outer.middle.inner.dense",
        "outer.middle.dense",
        "outer.dense",
        "dense",
    ]
    x = np.ones((2, 3), np.float32)
    h = np.maximum(x, 0)
    for node in model.nodes[1:]:
        h = h @ node.layer.weight.value + node.layer.bias.value
    np.testing.assert_allclose(model.predict(x), h, rtol=1e-6)


def test_a_nested_model_without_a_name_leaves_names_as_they_are():
    inner = hg.Sequential([layers.Dense(3)], input_shape=(3,))
    model = hg.Sequential([inner, layers.Dense(3)], input_shape=(3,))
    assert [n.name for n in model.nodes] == ["dense", "dense_1"]
    assert inner["dense"] is model["dense"]


# --- order --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", models.MODELS.values(), ids=models.MODELS)
def test_every_node_comes_after_those_it_needs(make):
    for k, node in enumerate(make().nodes):
        assert all(i <= k for i in node.inputs)


def test_a_very_deep_graph_needs_no_recursion():
    h = i = hg.Input((2,))
    for _ in range(1500):
        h = layers.ReLU()(h)
    model = hg.Graph(i, h)
    assert model.predict(np.ones((1, 2))).tolist() == [[1.0, 1.0]]


def test_what_the_output_does_not_need_is_not_in_the_model():
    i = hg.Input((3,))
    layers.Dense(1000)(i)
    assert [n.name for n in hg.Graph(i, layers.Dense(2)(i)).nodes] == ["dense"]


# --- building -----------------------------------------------------------------------------------------


def test_initial_values_follow_from_the_seed_and_the_name_alone():
    a, b, c = models.chain(seed=1), models.chain(seed=1), models.chain(seed=2)
    for name, p in a.parameters().items():
        np.testing.assert_array_equal(p.value, b.parameters()[name].value)
    assert not np.array_equal(a["dense"].weight.value, c["dense"].weight.value)
    longer = hg.Sequential([layers.Flatten(), layers.ReLU(), layers.Dense(4)], input_shape=(2, 2, 6), seed=1)
    shorter = hg.Sequential([layers.Dense(4)], input_shape=(24,), seed=1)
    np.testing.assert_array_equal(longer["dense"].weight.value, shorter["dense"].weight.value)


def test_layers_of_one_kind_begin_with_different_values():
    model = hg.Sequential([layers.Dense(3), layers.Dense(3)], input_shape=(3,))
    assert not np.array_equal(model["dense"].weight.value, model["dense_1"].weight.value)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, "float64"])
def test_dtype_is_that_of_parameters_gradients_and_outputs(dtype):
    model = models.chain(dtype=dtype)
    y, trace = model.forward(data(model), TRAINING)
    dx = model.backward(np.ones_like(y), trace, TRAINING, need_dx=True)
    arrays = [y, dx, *(a for p in model.parameters().values() for a in (p.value, p.grad))]
    assert {a.dtype for a in arrays} == {np.dtype(dtype)}


def test_values_and_gradients_are_views_of_two_vectors_decayed_ones_first():
    model = models.residual()
    parameters = model.parameters().values()
    for kind in ("value", "grad"):
        bases = {id(getattr(p, kind).base) for p in parameters}
        assert len(bases) == 1
    flat = next(iter(parameters)).value.base
    assert flat.ndim == 1
    assert flat.size == sum(p.size for p in parameters)
    end = sum(p.size for p in parameters if p.decay)
    flat[:end] = 1
    flat[end:] = 2
    for p in parameters:
        np.testing.assert_array_equal(p.value, 1 if p.decay else 2)


def test_a_layer_built_by_hand_keeps_its_values_in_a_model_and_gets_a_path():
    dense = layers.Dense(3)
    dense.build((4,), layers.Init(hg.rng.Stream((7,))))
    weight = dense.weight.value.copy()
    model = hg.Sequential([dense, layers.Dense(2)], input_shape=(4,))
    np.testing.assert_array_equal(model["dense"].weight.value, weight)
    assert dense.where == "dense (Dense)"


def test_a_layer_in_two_models_keeps_working_in_both():
    body = layers.Dense(4, kernel_initializer="random_normal")
    i, j = hg.Input((3,)), hg.Input((3,))
    a = hg.Graph(i, layers.Dense(2)(body(i)), dtype=np.float64)
    place = body.weight.value
    b = hg.Graph(j, layers.Dense(5)(layers.Tanh()(body(j))), seed=1, dtype=np.float64)
    assert body.weight.value is place  # an optimizer of the first model may hold its vector
    x = data(a)
    a_before, b_before = a.predict(x), b.predict(x)
    body.weight.value[...] += 1
    assert not np.allclose(a.predict(x), a_before)
    assert not np.allclose(b.predict(x), b_before)
    found, _ = gradients(b, x, np.ones((6, 5)), TRAINING)
    assert np.any(found["dense.weight"])
    np.testing.assert_array_equal(a["dense"].weight.grad, found["dense.weight"])
    for model in (a, b):
        assert hg.testing.gradcheck(model, x).ok


def test_freezing_a_model_freezes_its_layers():
    model = models.chain()
    model.freeze()
    assert model.trainable_parameters() == {}
    assert len(model.parameters()) == 6
    model.unfreeze()
    assert model.trainable_parameters().keys() == model.parameters().keys()
    model["conv2d"].freeze()
    assert next(iter(model.trainable_parameters())) == "batch_normalization.gamma"


# --- messages -----------------------------------------------------------------------------------------


def another_input():
    return hg.Graph(hg.Input((3,)), layers.Dense(2)(hg.Input((3,))))


def wrong_channels():
    i, j = hg.Input((5, 5, 3)), hg.Input((5, 5, 4))
    conv = layers.Conv2D(4, 3, name="conv")
    hg.Graph(i, conv(i))
    return hg.Graph(j, conv(layers.ReLU(name="relu1")(j)))


def shared_before_it_is_built():
    i = hg.Input((3,))
    dense = layers.Dense(4, name="shared")
    return hg.Graph(i, dense(layers.Tanh()(dense(i))))


MESSAGES = {
    "another input": (another_input, BuildError, "Graph: expected outputs that follow from the given input "
                                                 "alone, got "
                      "another Input of shape (3,); a model has one input; merge several arrays before it"),
    "an array for a symbol": (lambda: hg.Graph(np.zeros(3), hg.Input((3,))), BuildError, "Graph inputs: "
                                                                                         "expected one "
                              "symbol, got ndarray; begin with handgrad.Input(shape)"),
    "a list of one symbol": (lambda: hg.Graph(hg.Input((3,)), [hg.Input((3,))]), BuildError, "Graph "
                                                                                             "outputs: "
                                                                                             "expected "
                             "one symbol, got 1 in a list; give the symbol itself"),
    "several outputs": (
        lambda: hg.Graph(i := hg.Input((3,)), [layers.ReLU()(i), layers.Tanh()(i)]), BuildError,
        "Graph outputs: expected one symbol, got 2 in a list; a model has one output: join them with "
        "handgrad.layers.Concatenate, or make a model for each"),
    "several inputs": (
        lambda: hg.Graph([a := hg.Input((3,)), b := hg.Input((3,))], layers.Add()(a, b)), BuildError,
        "Graph inputs: expected one symbol, got 2 in a list; a model has one input: merge several arrays "
        "into one "
        "before the model"),
    "a layer for a symbol": (
        lambda: hg.Graph(hg.Input((3,)), layers.ReLU()), BuildError, "Graph outputs: expected one symbol, "
                                                                     "got a layer, "
        "ReLU, that was not called on a symbol; give what the last layer returned when it was called on a "
        "symbol"),
    "outputs before inputs": (
        lambda: hg.Graph(layers.ReLU()(i := hg.Input((3,))), i), BuildError, "Graph: expected inputs, then "
                                                                             "outputs, got "
        "an Input as outputs; exchange the two arguments"),
    "no layer between": (lambda: hg.Graph(i := hg.Input((3,)), i), BuildError, "Graph outputs: expected "
                                                                               "what layers make "
                         "of the input, got the input itself"),
    "a name that is none": (lambda: hg.Graph(i := hg.Input((3,)), layers.ReLU()(i), name=3), ArgumentError,
                            "Graph name: expected a string or None, got 3"),
    "integers for a dtype": (lambda: hg.Sequential([layers.ReLU()], input_shape=(3,), dtype="int32"), ArgumentError,
                             "Graph dtype: expected a floating-point dtype, such as \"float32\" or "
                             "\"float64\", got "
                             "'int32'"),
    "no dtype at all": (lambda: hg.Sequential([layers.ReLU()], input_shape=(3,), dtype="double32"), ArgumentError,
                        "Graph dtype: expected a floating-point dtype, such as \"float32\" or \"float64\", "
                        "got "
                        "'double32'"),
    "two layers of one name": (
        lambda: hg.Sequential([layers.ReLU(name="a"), layers.ReLU(name="a")], input_shape=(3,)), ArgumentError,
        "Graph: expected layers of different names, got two named 'a'"),
    "a batch axis in Input": (lambda: hg.Input((None, 8, 8)), ArgumentError, "Input shape: expected a tuple "
                                                                             "of positive "
                              "ints without the batch axis, such as (32, 32, 3), got (None, 8, 8)"),
    "a number for Input": (lambda: hg.Input(3), ArgumentError, "Input shape: expected a tuple of positive "
                                                               "ints without "
                           "the batch axis, such as (32, 32, 3), got 3; write (3,)"),
    "no layers": (lambda: hg.Sequential([], input_shape=(3,)), ArgumentError, "Sequential: expected at "
                                                                              "least one layer, "
                  "got none"),
    "no input shape": (lambda: hg.Sequential([layers.ReLU()]), ArgumentError, "Sequential: expected "
                                                                              "input_shape, such "
                       "as (32, 32, 3), without the batch axis, got none"),
    "a class for a layer": (lambda: hg.Sequential([layers.ReLU], input_shape=(3,)), BuildError, "Sequential, layer 0: "
                            "expected a layer or a model, got <class 'handgrad.layers.activation.ReLU'>; "
                            "create it: "
                            "ReLU(...)"),
    "a name for a layer": (
        lambda: hg.Sequential([layers.Dense(3), "relu"], input_shape=(3,)), BuildError, "Sequential, layer "
                                                                                        "1: expected "
        "a layer or a model, got 'relu'; handgrad.layers.Activation('relu') is an activation by its name"),
    "nothing for a layer": (lambda: hg.Sequential([None], input_shape=(3,)), BuildError, "Sequential, layer "
                                                                                         "0: expected "
                            "a layer or a model, got None"),
    "a list for a layer": (
        lambda: hg.Sequential([layers.Dense(3), []], input_shape=(3,)), BuildError, "Sequential, layer 1: "
                                                                                    "expected a "
        "layer or a model, got []; write its layers into the list itself: [*layers, ...]"),
    "a symbol for a layer": (
        lambda: hg.Sequential([layers.ReLU()(hg.Input((3,)))], input_shape=(3,)), BuildError, "Sequential, "
                                                                                              "layer 0: "
        "expected a layer or a model, got a Symbol; a list holds layers that were not called; of symbols "
        "make a "
        "Graph(inputs, outputs)"),
    "a function for a layer": (
        lambda: hg.Sequential([abs], input_shape=(3,)), BuildError, "Sequential, layer 0: expected a layer "
                                                                    "or a model, "
        "got <built-in function abs>; wrap a function in a class of layers, which has its gradient"),
    "layers without a list": (
        lambda: hg.Sequential(layers.Dense(3), layers.ReLU(), input_shape=(3,)), ArgumentError, "Sequential: expected a "
        "list of layers, got 2 arguments; write Sequential([layer, layer, ...], input_shape=...)"),
    "one layer without a list": (
        lambda: hg.Sequential(layers.Dense(3), input_shape=(3,)), ArgumentError, "Sequential: expected a "
                                                                                 "list of layers, "
        "got a Dense; write Sequential([layer, layer, ...], input_shape=...)"),
    "an input shape by its position": (
        lambda: hg.Sequential([layers.Dense(3)], (3,)), ArgumentError, "Sequential: expected a list of "
                                                                       "layers, got (3,) "
        "after it; give what follows the list by name, as input_shape=(32, 32, 3)"),
    "an image after a Flatten": (
        lambda: hg.Sequential([layers.Conv2D(2, 3), layers.Flatten(), layers.Conv2D(2, 3)], input_shape=(8, 8, 1)),
        ShapeError, "layer 2 (Conv2D): expected images (height, width, channels), got shape (72,) from "
                    "layer 1; reshape "
        "to (height, width, channels); grey images have one channel"),
    "an argument that means nothing": (
        lambda: hg.Sequential([layers.Flatten(), layers.Dense(0)], input_shape=(3, 3, 1)), ArgumentError,
        "layer 1 (Dense) units: expected an int, at least 1, got 0"),
    "a small image in a graph": (
        lambda: layers.Conv2D(2, 5, name="c2")(layers.MaxPooling2D(2, name="p1")(hg.Input((8, 8, 1)))), ShapeError,
        "c2 (Conv2D): expected an image of at least 5x5 (what the kernel covers), got 4x4 from p1; use "
        'padding="same" or a smaller kernel'),
    "a small input": (
        lambda: layers.Conv2D(2, 5)(hg.Input((4, 4, 1))), ShapeError,
        "Conv2D: expected an image of at least 5x5 (what the kernel covers), got 4x4 from the input; use "
        'padding="same" or a smaller kernel'),
    "other channels for a built layer": (wrong_channels, ShapeError, "conv (Conv2D): expected 3 input "
                                                                     "channels, got 4 "
                                         "from relu1"),
    "other channels for a shared layer": (shared_before_it_is_built, ShapeError, "shared (Dense): expected "
                                                                                 "3 input "
                                          "features, got 4 (shape (4,)) from tanh"),
    "inputs that do not add up": (
        lambda: layers.Add()(hg.Input((3,)), hg.Input((4,))), ShapeError, "Add: expected inputs of one "
                                                                          "shape, (3,), got "
        "(4,) as input 1"),
    "a model on another shape": (
        lambda: models.chain(name="net")(hg.Input((3,))), ShapeError, "net: expected a symbol of shape (5, "
                                                                      "4, 2), got "
        "shape (3,)"),
    "a model on an array": (
        lambda: models.chain()(np.zeros((1, 5, 4, 2))), ShapeError, "Sequential: expected a symbol of shape "
                                                                    "(5, 4, 2), "
        "got ndarray; predict(x) computes outputs; forward(x, handgrad.Run()) keeps what backward needs, "
        "too"),
    "a run that is none": (
        lambda: models.chain().predict(np.zeros((1, 5, 4, 2)), run="x"), ArgumentError, "Sequential run: "
                                                                                        "expected a "
        "handgrad.Run, got 'x'; create it: handgrad.Run()"),
    "a mode that is none": (
        lambda: models.chain().forward(np.zeros((1, 5, 4, 2)), hg.Run(training="no")), ArgumentError, "Run: "
                                                                                                      "expected "
        "training to be True or False, got 'no'"),
    "a batch of another shape": (
        lambda: models.chain().predict(np.zeros((2, 5, 4, 3))), ShapeError, "Sequential: expected a batch "
                                                                            "of shape "
        "(n, 5, 4, 2), got shape (2, 5, 4, 3)"),
    "no batch axis": (
        lambda: models.chain(name="net").forward(np.zeros((5, 4, 2)), Run()), ShapeError, "net: expected a "
                                                                                          "batch of "
        "shape (n, 5, 4, 2), got shape (5, 4, 2); add the batch axis with x[None]"),
    "no channel axis": (
        lambda: hg.Sequential([layers.Flatten()], input_shape=(8, 8, 1)).predict(np.zeros((3, 8, 8))), ShapeError,
        "Sequential: expected a batch of shape (n, 8, 8, 1), got shape (3, 8, 8); add the channel axis with "
        "x[..., None]"),
    "a layer built in another dtype": (
        lambda: hg.Sequential([models.chain(name="net", dtype=np.float64)], input_shape=(5, 4, 2)), BuildError,
        "net.conv2d (Conv2D): expected parameters of the model's dtype, float32, got float64, as they were "
        "built; give "
        "the model dtype='float64'"),
    "batches of nothing": (
        lambda: models.chain().predict(np.zeros((2, 5, 4, 2)), batch_size=0), ArgumentError, "predict "
                                                                                             "batch_size: "
        "expected an int, at least 1, got 0"),
}  # fmt: skip


@pytest.mark.parametrize(("call", "kind", "message"), MESSAGES.values(), ids=MESSAGES)
def test_message(call, kind, message):
    with pytest.raises(HandgradError) as error:
        call()
    assert type(error.value) is kind
    assert str(error.value) == message


def test_a_layer_is_named_by_its_path_in_the_model_it_is_in():
    model = models.nested(dtype=np.float64)
    with pytest.raises(ShapeError) as error:
        model["block.dense"].forward(np.zeros((2, 4)), Run())
    assert str(error.value) == "block.dense (Dense): expected 3 input features, got 4 (shape (4,))"
    with pytest.raises(ShapeError) as error:
        model["dense"].forward(np.zeros((2, 4)), Run())
    assert str(error.value) == "dense (Dense): expected 3 input features, got 4 (shape (4,))"
    assert {p.name for p in model.parameters().values()} == set(model.parameters())


FIXED = {"dtype": "float64", "input_shape": (3,), "output_shape": (3,), "nodes": ()}


@pytest.mark.parametrize("name", FIXED)
def test_what_a_model_was_made_with_stays(name):
    model = models.chain()
    before = getattr(model, name)
    with pytest.raises(ArgumentError) as error:
        setattr(model, name, FIXED[name])
    assert str(error.value) == (
        f"Sequential {name}: expected {name} to stay as it was made, got {FIXED[name]!r}; make a new model"
    )
    assert getattr(model, name) is before


def test_trainable_is_not_an_attribute_of_a_model():
    with pytest.raises(ArgumentError) as error:
        models.chain().trainable = False
    assert str(error.value) == (
        "Sequential trainable: expected not to be set, got False; call freeze() or unfreeze(), of the model "
        "or a layer"
    )


@pytest.mark.parametrize(
    ("name", "elsewhere"),
    [
        ("fit", "; handgrad.Trainer(model, loss, optimizer) has it"),
        ("save", "; handgrad.save(model, path)"),
        ("state_dict", "; state() has copies by name"),
        ("colour", ""),
    ],
)
def test_what_a_model_has_not_is_said_to_be_elsewhere(name, elsewhere):
    model = models.chain()
    with pytest.raises(AttributeError) as error:
        getattr(model, name)
    assert str(error.value) == f"'Sequential' object has no attribute {name!r}{elsewhere}"
    assert not hasattr(model, name)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda m: m.load_state(m),
            "load_state: expected a dict of arrays by name, got Sequential; give it what state() of the "
            "other model "
            "returns",
        ),
        (
            lambda m: m.load_state("m.safetensors"),
            "load_state: expected a dict of arrays by name, got str; handgrad.load(path) makes the model "
            "that a file "
            "holds",
        ),
        (
            lambda m: m.backward(np.zeros(3), None, hg.Run()),
            "Sequential trace: expected the trace that forward returned, got NoneType; y, trace = "
            "model.forward(x, run)",
        ),
        (
            lambda m: m.commit(m.forward(np.ones((2, 5, 4, 2)), hg.Run(training=True))),
            "Sequential trace: expected the trace that forward returned, got tuple; y, trace = "
            "model.forward(x, run)",
        ),
        (
            lambda m: m.predict(np.zeros((1, 2, 5, 4))),
            "Sequential: expected a batch of shape (n, 5, 4, 2), got shape (1, 2, 5, 4); channels come last: "
            "x.transpose(0, 2, 3, 1)",
        ),
        (lambda m: hg.Input(np.zeros((2, 3))), "Input shape: expected a tuple of positive ints without the "
                                               "batch axis, "
         "such as (32, 32, 3), got an array of shape (2, 3)"),
        (lambda m: m.predict(np.zeros((1, 5, 4, 2)), run=hg.Run(kernels="reference")), "Run kernels: "
                                                                                       "expected a table "
         "of kernels, got 'reference'; write kernels=handgrad.kernels.select_kernels('reference')"),
        (lambda m: m.predict(np.zeros((1, 5, 4, 2)), run=hg.Run(rng=3)), "Run rng: expected a "
                                                                         "handgrad.rng.Stream, got "
         "3; write rng=handgrad.rng.Stream((3,))"),
        (lambda m: hg.fold(m, keep_original="no"), "fold: expected keep_original to be True or False, got "
                                                   "'no'"),
        (lambda m: hg.Predictor(m, precision=16), 'Predictor precision: expected "float32", "strict" or "bfloat16", '
         "got 16"),
    ],
)  # fmt: skip
def test_more_messages(call, message):
    with pytest.raises(HandgradError) as error:
        call(models.chain())
    assert str(error.value) == message


def test_a_layer_by_its_number_is_told_where_it_is():
    model = models.chain()
    names = ", ".join(node.name for node in model.nodes)
    with pytest.raises(ArgumentError) as error:
        model[0]
    assert str(error.value) == f"layer: expected one of {names}, got 0; layers by number are in model.layers"
