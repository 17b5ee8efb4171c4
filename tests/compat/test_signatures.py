"""Names, arguments, their order and their defaults are those that programs were written for."""

import inspect

import pytest

import handgrad as hg
from handgrad.compat import mlfromscratch as m
from handgrad.compat.mlfromscratch import layers, loss_functions, neural_network, optimizers, utils

REQUIRED = inspect.Parameter.empty

CONSTRUCTORS = {
    "NeuralNetwork": {"optimizer": REQUIRED, "loss": REQUIRED, "validation_data": None},
    "Dense": {"n_units": REQUIRED, "input_shape": None},
    "Conv2D": {
        "n_filters": REQUIRED,
        "filter_shape": REQUIRED,
        "input_shape": None,
        "padding": "same",
        "stride": 1,
    },
    "BatchNormalization": {"momentum": 0.99},
    "MaxPooling2D": {"pool_shape": (2, 2), "stride": 1, "padding": 0},
    "AveragePooling2D": {"pool_shape": (2, 2), "stride": 1, "padding": 0},
    "ConstantPadding2D": {"padding": REQUIRED, "padding_value": 0},
    "ZeroPadding2D": {"padding": REQUIRED},
    "Flatten": {"input_shape": None},
    "Reshape": {"shape": REQUIRED, "input_shape": None},
    "UpSampling2D": {"size": (2, 2), "input_shape": None},
    "Dropout": {"p": 0.2},
    "Activation": {"name": REQUIRED},
    "RNN": {"n_units": REQUIRED, "activation": "tanh", "bptt_trunc": 5, "input_shape": None},
    "SquareLoss": {},
    "CrossEntropy": {},
    "StochasticGradientDescent": {"learning_rate": 0.01, "momentum": 0},
    "NesterovAcceleratedGradient": {"learning_rate": 0.001, "momentum": 0.4},
    "Adagrad": {"learning_rate": 0.01},
    "Adadelta": {"rho": 0.95, "eps": 1e-6},
    "RMSprop": {"learning_rate": 0.01, "rho": 0.9},
    "Adam": {"learning_rate": 0.001, "b1": 0.9, "b2": 0.999},
}

METHODS = {
    "add": ["layer"],
    "fit": ["X", "y", "n_epochs", "batch_size"],
    "train_on_batch": ["X", "y"],
    "test_on_batch": ["X", "y"],
    "predict": ["X"],
    "summary": ["name"],
    "set_trainable": ["trainable"],
}

LAYER_METHODS = {
    "layer_name": [],
    "set_input_shape": ["shape"],
    "parameters": [],
    "output_shape": [],
    "forward_pass": ["X", "training"],
    "backward_pass": ["accum_grad"],
}


@pytest.mark.parametrize("name", CONSTRUCTORS)
def test_constructor(name):
    parameters = inspect.signature(getattr(m, name)).parameters
    assert {k: p.default for k, p in parameters.items()} == CONSTRUCTORS[name]
    assert list(parameters) == list(CONSTRUCTORS[name])


@pytest.mark.parametrize(("name", "arguments"), METHODS.items())
def test_method_of_the_network(name, arguments):
    assert list(inspect.signature(getattr(m.NeuralNetwork, name)).parameters) == ["self", *arguments]


@pytest.mark.parametrize(("name", "arguments"), LAYER_METHODS.items())
def test_method_of_the_layers(name, arguments):
    assert list(inspect.signature(getattr(m.Layer, name)).parameters) == ["self", *arguments]


def test_a_summary_has_a_name_by_default():
    assert inspect.signature(m.NeuralNetwork.summary).parameters["name"].default == "Model Summary"


def test_names_also_stand_in_the_modules_they_stood_in():
    for module in (layers, loss_functions, optimizers, utils):
        for name in set(module.__all__) - {"Loss"}:
            assert getattr(m, name) is getattr(module, name)
    assert m.NeuralNetwork is neural_network.NeuralNetwork


def test_handgrad_offers_the_package():
    assert hg.compat.mlfromscratch is m
