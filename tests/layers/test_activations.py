"""Activation layers: names, defaults, and what they keep for backward."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad import layers
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers import Activation, Run
from handgrad.layers.activation import ACTIVATIONS

RUN = Run(training=True)


@pytest.mark.parametrize(("name", "kind"), ACTIVATIONS.items(), ids=ACTIVATIONS)
def test_a_name_gives_the_layer(name, kind):
    layer = Activation(name, trainable=False)
    assert type(layer) is kind
    assert layer.trainable is False
    assert layer.config() == kind(trainable=False).config()


def test_an_unknown_name_is_an_error_with_all_names():
    with pytest.raises(ArgumentError) as error:
        Activation("swish2")
    assert str(error.value) == (
        "Activation: expected one of relu, leaky_relu, elu, selu, softplus, sigmoid, tanh, softmax, gelu, "
        "silu, got 'swish2'"
    )


def test_defaults():
    assert layers.ELU().alpha == 1.0
    assert layers.LeakyReLU().negative_slope == 0.01
    assert layers.GELU().approximate is False


@pytest.mark.parametrize("name", ["relu", "sigmoid", "tanh", "softmax"])
def test_what_is_saved_is_the_output_where_that_is_enough(name):
    layer = Activation(name)
    layer.build((4,))
    y, saved = layer.forward(np.ones((2, 4), np.float32), RUN)
    assert saved.value is y


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_no_gradient_is_computed_where_none_is_needed(name):
    layer = Activation(name)
    layer.build((4,))
    y, saved = layer.forward(np.ones((2, 4), np.float32), RUN)
    assert layer.backward(y, saved, RUN, need_dx=False) is None


def test_softmax_of_nothing_is_an_error():
    with pytest.raises(ShapeError) as error:
        layers.Softmax().build(())
    assert str(error.value) == "Softmax: expected a last axis of at least one class, got shape ()"
