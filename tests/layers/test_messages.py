"""What layers say to input and arguments that do not fit: the whole text."""

# ruff: noqa: E501 (whole messages)

from __future__ import annotations

import re

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, BuildError, HandgradError, ShapeError

# layer, shape to build with, kind of error, message
BUILDS = [
    (layers.Conv2D(4, 3), (28, 28), ShapeError, "Conv2D: expected images (height, width, channels), got "
                                                "shape (28, 28); "
     "reshape to (height, width, channels); grey images have one channel"),
    (layers.Conv2D(4, 3), (2, 5, 1), ShapeError, "Conv2D: expected an image of at least 3x3 (what the "
                                                 "kernel covers), "
     'got 2x5; use padding="same" or a smaller kernel'),
    (layers.Conv2D(0, 3), (5, 5, 1), ArgumentError, "Conv2D filters: expected an int, at least 1, got 0"),
    (layers.Conv2D(4, 0), (5, 5, 1), ArgumentError, "Conv2D kernel_size: expected an int or a pair of ints, "
                                                    "at least 1, "
     "got 0"),
    (layers.Conv2D(4, 3, 0), (5, 5, 1), ArgumentError, "Conv2D strides: expected an int or a pair of ints, "
                                                       "at least 1, "
     "got 0"),
    (layers.Conv2D(4, 3, dilation_rate=(1, 0)), (5, 5, 1), ArgumentError, "Conv2D dilation_rate: expected "
                                                                          "an int or a "
     "pair of ints, at least 1, got (1, 0)"),
    (layers.Conv2D(4, 3, padding="full"), (5, 5, 1), ArgumentError, 'Conv2D padding: expected padding "valid", "same", '
     "an int, (rows, columns) or ((top, bottom), (left, right)), got 'full'"),
    (layers.Conv2D(4, 3, groups=3), (5, 5, 3), ArgumentError, "Conv2D: expected filters that groups=3 "
                                                              "divides, got "
     "filters=4"),
    (layers.Conv2D(4, 3, groups=2), (5, 5, 3), ShapeError, "Conv2D: expected input channels that groups=2 "
                                                           "divides, "
     "got 3"),
    (layers.Conv2D(4, 3, groups=1.0), (5, 5, 3), ArgumentError, "Conv2D groups: expected an int, at least "
                                                                "1, got 1.0"),
    (layers.Conv2D(4, 3, kernel_initializer="xavier"), (5, 5, 3), ArgumentError, "initializer: expected one "
                                                                                 "of zeros, "
     "ones, random_normal, he_normal, he_uniform, glorot_normal, glorot_uniform, orthogonal, dirac or an "
     "Initializer, "
     "got 'xavier'"),
    (layers.Dense(0), (5,), ArgumentError, "Dense units: expected an int, at least 1, got 0"),
    (layers.Dense(True), (5,), ArgumentError, "Dense units: expected an int, at least 1, got True"),
    (layers.Dense(3), (), ShapeError, "Dense: expected inputs with at least one axis, got single numbers"),
    (layers.MaxPooling2D(3), (2, 2, 1), ShapeError, "MaxPooling2D: expected an image of at least 3x3 (what "
                                                    "the kernel "
     'covers), got 2x2; use padding="same" or a smaller kernel'),
    (layers.MaxPooling2D(2, padding=2), (5, 5, 1), ArgumentError, "MaxPooling2D padding: expected less than "
     "pool_size=(2, 2) on each side, got ((2, 2), (2, 2)); a window wholly on padding has no maximum and no "
     "mean"),
    (layers.AveragePooling2D("2"), (5, 5, 1), ArgumentError, "AveragePooling2D pool_size: expected an int "
                                                             "or a pair of "
     "ints, at least 1, got '2'"),
    (layers.GlobalAveragePooling2D(), (5,), ShapeError, "GlobalAveragePooling2D: expected images (height, "
                                                        "width, "
     "channels), got shape (5,); reshape to (height, width, channels); grey images have one channel"),
    (layers.SimpleRNN(3), (5,), ShapeError, "SimpleRNN: expected sequences (steps, channels), at least one "
                                            "step, "
     "got shape (5,)"),
    (layers.SimpleRNN(3), (0, 5), ShapeError, "SimpleRNN: expected sequences (steps, channels), at least "
                                              "one step, "
     "got shape (0, 5)"),
    (layers.SimpleRNN(0), (5, 2), ArgumentError, "SimpleRNN units: expected an int, at least 1, got 0"),
    (layers.SimpleRNN(3, "gelu"), (5, 2), ArgumentError, "SimpleRNN activation: expected one of tanh, relu, "
                                                         "sigmoid, "
     "got 'gelu'"),
    (layers.SimpleRNN(3, truncate=-1), (5, 2), ArgumentError, "SimpleRNN truncate: expected a number of "
                                                              "steps, at least "
     "0, or None, got -1"),
    (layers.Reshape((4, 4)), (3, 5), ShapeError, "Reshape: expected 16 numbers for (4, 4), got 15 (shape "
                                                 "(3, 5))"),
    (layers.Reshape((4, -1)), (3, 5), ShapeError, "Reshape: expected 4 numbers for (4, -1), got 15 (shape "
                                                  "(3, 5))"),
    (layers.Reshape((-1, -1)), (3, 5), ArgumentError, "Reshape target_shape: expected positive ints, at "
                                                      "most one -1, "
     "got (-1, -1)"),
    (layers.Reshape((0, 15)), (3, 5), ArgumentError, "Reshape target_shape: expected positive ints, at most "
                                                     "one -1, "
     "got (0, 15)"),
    (layers.ZeroPadding2D("same"), (3, 5, 1), ArgumentError, "ZeroPadding2D padding: expected a number of "
                                                             "pixels, "
     "got 'same'"),
    (layers.ConstantPadding2D(-1), (3, 5, 1), ArgumentError, 'ConstantPadding2D padding: expected padding "valid", '
     '"same", an int, (rows, columns) or ((top, bottom), (left, right)), got -1'),
    (layers.UpSampling2D(0), (3, 5, 1), ArgumentError, "UpSampling2D size: expected an int or a pair of "
                                                       "ints, at least "
     "1, got 0"),
    (layers.LayerNormalization(0), (3, 5), ArgumentError, "LayerNormalization axis: expected an axis or "
                                                          "several "
     "different ones in 1..2, or negative, got 0; axis 0 is the batch"),
    (layers.LayerNormalization(epsilon=0.0), (3, 5), ArgumentError, "LayerNormalization: expected epsilon "
                                                                    "greater than "
     "0, got 0.0"),
    (layers.LayerNormalization(), (3, 1), ShapeError, "LayerNormalization: expected at least 2 values to "
                                                      "take mean and "
     "variance of, got 1 (shape (3, 1)); its variance is 0 and the output would not depend on the input: "
     "normalize over "
     "more axes"),
    (layers.GroupNormalization(), (4, 4, 48), ShapeError, "GroupNormalization: expected channels that "
                                                          "groups=32 "
     "divides, got 48 (shape (4, 4, 48))"),
    (layers.GroupNormalization(0), (4, 4, 6), ArgumentError, "GroupNormalization groups: expected an int, "
                                                             "at least 1, "
     "or -1 for as many as there are channels, got 0"),
    (layers.GroupNormalization(2, (1, 2)), (4, 4, 6), ArgumentError, "GroupNormalization axis: expected one "
                                                                     "axis, the "
     "channels, got (1, 2)"),
    (layers.GroupNormalization(6), (6,), ShapeError, "GroupNormalization: expected at least 2 values to "
                                                     "take mean and "
     "variance of, got 1 (shape (6,)); its variance is 0 and the output would not depend on the input: use "
     "fewer groups"),
    (layers.InstanceNormalization(name="in"), (1, 1, 6), ShapeError, "in (InstanceNormalization): expected "
                                                                     "at least 2 "
     "values to take mean and variance of, got 1 (shape (1, 1, 6)); its variance is 0 and the output would "
     "not depend on "
     "the input: it needs more places than one"),
    (layers.RMSNormalization(epsilon="small"), (3, 5), ArgumentError, "RMSNormalization: expected epsilon "
                                                                      "greater than "
     "0, got 'small'"),
    (layers.WeightStandardizedConv2D(4, 1), (5, 5, 1), ShapeError, "WeightStandardizedConv2D: expected "
                                                                   "filters of at "
     "least 2 weights, got 1; the variance of one is 0 and the output would not depend on the input: leave "
     "it as it is"),
    (layers.WeightStandardizedConv2D(4, 1, epsilon=-1), (5, 5, 2), ArgumentError, "WeightStandardizedConv2D: expected "
     "epsilon greater than 0, got -1"),
    (layers.WeightStandardizedDense(4), (1,), ShapeError, "WeightStandardizedDense: expected filters of at "
                                                          "least 2 "
     "weights, got 1; the variance of one is 0 and the output would not depend on the input: leave it as it "
     "is"),
    (layers.Add(), ((2, 3), (3, 2)), ShapeError, "Add: expected inputs of one shape, (2, 3), got (3, 2) as "
                                                 "input 1"),
    (layers.Concatenate(), ((2, 3), (4, 3)), ShapeError, "Concatenate: expected inputs that agree but for "
                                                         "axis 2, as "
     "(2, 3), got (4, 3) as input 1"),
    (layers.Concatenate(1), ((2, 3), (2,)), ShapeError, "Concatenate: expected inputs that agree but for "
                                                        "axis 1, as "
     "(2, 3), got (2,) as input 1"),
    (layers.Concatenate(0), ((2, 3), (2, 3)), ArgumentError, "Concatenate axis: expected an axis in 1..2, "
                                                             "or negative, "
     "got 0; axis 0 is the batch"),
]  # fmt: skip


def label(value):
    return type(value).__name__ if isinstance(value, layers.Layer) else ""


@pytest.mark.parametrize(("layer", "shape", "kind", "message"), BUILDS, ids=label)
def test_at_build(layer, shape, kind, message):
    with pytest.raises(HandgradError) as error:
        layer.build(shape)
    assert type(error.value) is kind
    assert str(error.value) == message
    assert not layer.built
    assert not layer.parameters()


# layer, shape it is built with, shape it then gets, message
RUNS = [
    (layers.Conv2D(4, 3, name="c1"), (5, 5, 3), (5, 5, 2), "c1 (Conv2D): expected 3 input channels, got 2"),
    (layers.Conv2D(4, 3, groups=2, name="c1"), (5, 5, 4), (5, 5, 2), "c1 (Conv2D): expected 4 input "
                                                                     "channels, got 2"),
    (layers.Dense(4), (12,), (11,), "Dense: expected 12 input features, got 11 (shape (11,))"),
    (layers.Dense(4), (12,), (2, 3, 2), "Dense: expected 12 input features, got 2 (shape (2, 3, 2)); put a "
                                        "Flatten "
     "before it"),
    (layers.SimpleRNN(4), (5, 3), (5, 2), "SimpleRNN: expected 3 input channels, got 2"),
    (layers.BatchNormalization(), (5, 5, 3), (5, 5, 2), "BatchNormalization: expected 3 channels, got 2 "
                                                        "(shape "
     "(5, 5, 2))"),
    (layers.BatchNormalization((1, 2)), (5, 4, 3), (4, 5, 3), "BatchNormalization: expected 5 x 4 channels, "
                                                              "got 4 x 5 "
     "(shape (4, 5, 3))"),
    (layers.LayerNormalization((1, 2)), (5, 4, 3), (4, 5, 3), "LayerNormalization: expected 5 x 4 features, "
                                                              "got 4 x 5 "
     "(shape (4, 5, 3))"),
    (layers.GroupNormalization(2), (5, 4, 6), (5, 4, 4), "GroupNormalization: expected 6 features, got 4 "
                                                         "(shape "
     "(5, 4, 4))"),
    (layers.RMSNormalization(scale=False), (5,), (4,), "RMSNormalization: expected 5 features, got 4 (shape "
                                                       "(4,))"),
]  # fmt: skip


@pytest.mark.parametrize(("layer", "shape", "other", "message"), RUNS, ids=label)
def test_when_run_on_another_shape(layer, shape, other, message):
    layer.build(shape)
    with pytest.raises(ShapeError) as error:
        layer.forward(np.zeros((2, *other), np.float32), hg.Run(training=True))
    assert str(error.value) == message
    with pytest.raises(ShapeError, match=re.escape(message)):
        layer.build(other)


def test_before_it_is_built():
    with pytest.raises(BuildError) as error:
        layers.Dense(3, name="head").forward(np.zeros((2, 3)), hg.Run())
    assert str(error.value) == (
        "head (Dense): expected a built layer, got one that has no parameters yet; call build(shape) with "
        "the input's "
        "shape, or put it in a model"
    )


@pytest.mark.parametrize(
    ("call", "got"),
    [
        (
            lambda: layers.Dense(3)(np.zeros((2, 3))),
            "Dense: expected a symbol, as handgrad.Input returns, got ndarray",
        ),
        (lambda: layers.Dense(3)(), "Dense: expected a symbol, as handgrad.Input returns, got nothing"),
        (lambda: layers.Add()([0.5]), "Add: expected a symbol, as handgrad.Input returns, got list"),
        (lambda: layers.Add()(), "Add: expected a symbol, as handgrad.Input returns, got nothing"),
    ],
    ids=["array", "nothing", "list", "merge of nothing"],
)
def test_called_on_what_is_no_symbol(call, got):
    with pytest.raises(BuildError) as error:
        call()
    assert (
        str(error.value) == f"{got}; to run it on an array call build(shape), then forward(x, handgrad.Run())"
    )


CALLS = {
    "two symbols": (
        lambda: layers.Dense(3)(hg.Input((3,)), hg.Input((3,))),
        "Dense: expected a symbol, as handgrad.Input returns, got Symbol, Symbol; it takes one input: join "
        "them "
        "before it with Add or Concatenate",
    ),
    "a list of symbols": (
        lambda: layers.Add()([hg.Input((3,)), hg.Input((3,))]),
        "Add: expected a symbol, as handgrad.Input returns, got list; give the symbols one by one, without "
        "a list",
    ),
    "a shape": (
        lambda: layers.Dense(3)((8, 8)),
        "Dense: expected a symbol, as handgrad.Input returns, got tuple; begin with handgrad.Input(shape)",
    ),
    "a layer": (
        lambda: layers.Dense(3)(layers.ReLU()),
        "Dense: expected a symbol, as handgrad.Input returns, got ReLU; layers and models are called on "
        "symbols: in "
        "a chain write Sequential([layer, layer, ...])",
    ),
}


@pytest.mark.parametrize(("call", "message"), CALLS.values(), ids=CALLS)
def test_called_on_what_leads_to_no_symbol(call, message):
    with pytest.raises(BuildError) as error:
        call()
    assert str(error.value) == message


OTHERS = {
    "a list for an array": (
        lambda: built_conv().forward([[1.0]], hg.Run()),
        "Conv2D: expected an array, got list; convert it: np.asarray(x, np.float32)",
    ),
    "objects for numbers": (
        lambda: built_conv().forward(np.ones((1, 2, 2, 3), object), hg.Run()),
        "Conv2D: expected floating-point inputs, got dtype object; convert them: x.astype(np.float32)",
    ),
    "a seed for an Init": (
        lambda: layers.Dense(3).build((3,), 0),
        "Dense init: expected an Init, got 0; write Init(handgrad.rng.Stream((seed,)), dtype)",
    ),
    "whole numbers for parameters": (
        lambda: layers.Dense(3).build((3,), layers.Init(dtype=np.dtype("int32"))),
        'Dense dtype: expected a floating-point dtype, such as "float32" or "float64", got int32',
    ),
    "a parameter of whole numbers": (
        lambda: layers.Parameter(np.array([1, 2]), name="scale"),
        'scale value: expected a floating-point dtype, such as "float32" or "float64", got int64',
    ),
    "one number for a target shape": (
        lambda: layers.Reshape(6).build((2, 3)),
        "Reshape target_shape: expected positive ints, at most one -1, got 6; write (6,)",
    ),
    "a word for a target shape": (
        lambda: layers.Reshape("6")(hg.Input((2, 3))),
        "Reshape target_shape: expected positive ints, at most one -1, got '6'",
    ),
    "channels for an axis": (
        lambda: layers.GroupNormalization(2, 64).build((4, 4, 64)),
        "GroupNormalization axis: expected an axis or several different ones in 1..3, or negative, got 64; "
        "axis 0 is "
        "the batch; the number of channels is found by build",
    ),
    "one shape for several": (
        lambda: layers.Add().build((3, 4)),
        "Add shape: expected a tuple of shapes, one for each input, without the batch axis, got (3, 4)",
    ),
    "several shapes for one": (
        lambda: layers.ReLU().build(((3,), (4,))),
        "ReLU shape: expected a tuple of ints without the batch axis, got ((3,), (4,))",
    ),
    "an activation as its class": (
        lambda: layers.Activation("ReLU"),
        "Activation: expected one of relu, leaky_relu, elu, selu, softplus, sigmoid, tanh, softmax, gelu, "
        "silu, got "
        "'ReLU'; write 'relu'",
    ),
    "an activation by another name": (
        lambda: layers.Activation("swish"),
        "Activation: expected one of relu, leaky_relu, elu, selu, softplus, sigmoid, tanh, softmax, gelu, "
        "silu, got "
        "'swish'; write 'silu'",
    ),
    "a configuration without what is needed": (
        lambda: layers.Conv2D.from_config({"filters": 3}),
        "Conv2D: expected the argument kernel_size, got filters",
    ),
    "a configuration that is none": (
        lambda: layers.Conv2D.from_config("Conv2D"),
        "Conv2D: expected a dict of arguments, got 'Conv2D'",
    ),
    "a class without output_shape": (
        lambda: layers.Layer().build((3,)),
        "Layer: expected a class with a method output_shape(shape), got none; write output_shape in it",
    ),
    "an initializer without a call": (
        lambda: layers.Dense(3, kernel_initializer=layers.initializers.Initializer()).build((3,)),
        "Initializer: expected a class with a method __call__(rng, shape, fans, dtype), got none; write "
        "__call__ in "
        "it",
    ),
    "an initializer's class": (
        lambda: layers.Dense(3, kernel_initializer=layers.initializers.HeNormal).build((3,)),
        "initializer: expected one of zeros, ones, random_normal, he_normal, he_uniform, glorot_normal, "
        "glorot_uniform, orthogonal, dirac or an Initializer, got <class "
        "'handgrad.layers.initializers.HeNormal'>; create it: HeNormal(...)",
    ),
    "a layer to be whitened that is not built": (
        lambda: layers.whiten(layers.Conv2D(6, 1, name="w"), np.zeros((1, 2, 2, 3))),
        "whiten: expected a Conv2D that is built, got w (Conv2D), which is not; make the model first, or "
        "call "
        "build(shape)",
    ),
    "images of bytes to whiten by": (
        lambda: layers.whiten(built_conv(), np.zeros((1, 2, 2, 3), np.uint8)),
        "whiten images: expected floats, got uint8; give them as the model gets them: bytes become "
        "images.astype(np.float32)/255",
    ),
}


def built_conv():
    conv = layers.Conv2D(6, 1)
    conv.build((2, 2, 3))
    return conv


@pytest.mark.parametrize(("call", "message"), OTHERS.values(), ids=OTHERS)
def test_what_to_do_is_said(call, message):
    with pytest.raises(HandgradError) as error:
        call()
    assert str(error.value) == message
