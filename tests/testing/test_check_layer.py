"""check_layer passes layers that keep the contract and names what others break."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import HandgradError
from handgrad.testing import ContractError, GradientError, check_layer
from tests.testing import broken

# class: (kind of error, expected, got); None where the text has numbers in it
BREACHES = {
    "ConfigWithAnArray": ("a config() that JSON can hold", "Object of type ndarray is not JSON serializable"),
    "ConfigDrifts": ("from_config(config()) to give the same configuration", None),
    "ShapeChanges": ("build to return output_shape's (3,)", "(3, 1)"),
    "ShapeBuilds": ("output_shape to leave the layer unbuilt", "a built one"),
    "BuildsAgain": ("a second build to keep scale", "another value"),
    "DrawsWithoutASeed": ("the same seed to give the same scale", "another value"),
    "AlwaysFloat64": ("scale of the dtype of Init, float32", "float64"),
    "RunsUnbuilt": ("BuildError from forward before build", "an output"),
    "OwnBuildError": (None, None),
    "TakesNumbers": ("ShapeError for a number in place of a batch", "an output"),
    "Widens": ("an output of float32 for such an input", "float64"),
    "AddsAnAxis": ("an output of shape (4, 3)", "(4, 3, 1)"),
    "IsRandom": ("the same bits from a second forward", "others"),
    "Counts": ("forward to write nothing on the layer", "changed calls"),
    "CommitsInForward": ("the same bits from a second forward", "others"),
    "WritesItsInput": ("inputs and upstream gradients to be left as they are", "a write into one"),
    "SavesADict": ("saved as a NamedTuple", "dict"),
    "KeepsOutsideSaved": ("backward to use saved alone", "a dx that changes with a later forward"),
    "DxOfAnotherShape": ("dx of the input's shape (4, 3)", "(4, 3, 1)"),
    "DxOfAnotherDtype": ("dx of the input's dtype float64", "float32"),
    "DxUnasked": ("None from backward with need_dx=False", "ndarray"),
    "Overwrites": ("a second backward to add to scale.grad", "another sum"),
    "ForgetsItsGradient": ("a gradient for scale", "zeros"),
    "UpdatesInBackward": ("backward to use saved alone", "a dx that changes with a later forward"),
    "WritesTheUpstreamGradient": ("inputs and upstream gradients to be left as they are", "a write into one"),
    "CommitMovesAParameter": ("commit to leave scale alone", "another value"),
    "CommitsInference": ("inference to leave mean alone", "another value"),
    "CommitsNothing": ("commit after training to move a buffer", "the same values"),
    "RetainsTooLittle": ("commit to find in retained what it moves mean by", "another value"),
    "TrainsThoughFrozen": ("a frozen layer to keep parameters, gradients and buffers", "changed scale.grad"),
    "FrozenStopsTheGradient": ("dx from a frozen layer", "None"),
    "HidesState": ("the same output from a layer with the same configuration and state", "another"),
    "WrongDx": ("dL/dx within 1e-10 of the complex derivative", None),
    "FailsOnNothing": ("an empty batch gives an empty output", None),
    "ReturnsOneForNothing": ("an output of shape (0, 3) for an empty batch", "(1, 3)"),
    "CountsEmptyBatches": ("an empty batch to change nothing", "changed mean"),
}


def test_a_users_layer_that_keeps_the_contract_passes():
    report = check_layer(broken.Scale(), (3,))
    assert report == [
        "Scale: the configuration makes the same layer again",
        "Scale: build creates parameters once, from the seed alone",
        "Scale: errors before build and on wrong inputs name the layer",
        "Scale: forward is pure and keeps the dtype",
        "Scale: saved carries all that backward needs",
        "Scale: backward accumulates and writes nothing else",
        "Scale: only commit writes buffers",
        "Scale: a frozen layer passes dx and keeps its gradients",
        "Scale: parameters and buffers are the whole state",
        "Scale: gradients are right in training, inference and frozen",
        "Scale: an empty batch gives an empty output",
    ]


@pytest.mark.parametrize("name", BREACHES)
def test_breach(name):
    expected, got = BREACHES[name]
    layer = getattr(broken, name)()
    with pytest.raises(HandgradError) as error:
        check_layer(layer, (3,))
    assert isinstance(error.value, ContractError | GradientError)
    assert isinstance(error.value, AssertionError)
    assert error.value.where.startswith(name)
    if expected is not None:
        assert error.value.expected == expected
    if got is not None:
        assert error.value.got == got


def test_every_broken_layer_is_tried():
    kinds = {n for n, v in vars(broken).items() if isinstance(v, type) and issubclass(v, broken.Scale)}
    assert kinds - {"Scale"} == BREACHES.keys()


def test_a_message_is_one_line_with_all_of_it():
    with pytest.raises(ContractError) as error:
        check_layer(broken.DxUnasked(name="mine"), (3,))
    assert str(error.value) == (
        "mine (DxUnasked): expected None from backward with need_dx=False, got ndarray"
    )


def test_the_empty_batch_can_be_left_out():
    assert len(check_layer(broken.FailsOnNothing(), (3,), empty_batch=False)) == 10


def test_the_layer_is_not_changed():
    layer = hg.layers.BatchNormalization()
    check_layer(layer, (3, 2))
    assert not layer.built
    assert layer.parameters() == {}


REFUSED = {
    "a class": (lambda: check_layer(layers.ReLU, (3,)), "check_layer: expected a layer, got the class ReLU; "
                                                        "create it: "
                "ReLU(...)"),
    "a model": (lambda: check_layer(hg.Sequential([layers.ReLU()], input_shape=(3,)), (3,)), "check_layer: "
                                                                                             "expected a "
                "layer, got Sequential; a model has gradcheck"),
    "a built layer": (lambda: check_layer(built_dense(), (3,)), "check_layer of Dense: expected a layer "
                                                                "that is not "
                      "built, got one that is; give it a new one: Dense(...)"),
    "an array for a shape": (lambda: check_layer(layers.ReLU(), np.zeros(3)), "ReLU shape: expected a tuple "
                                                                              "of ints "
                             "without the batch axis, got array([0., 0., 0.])"),
    "a batch of none": (lambda: check_layer(layers.ReLU(), (3,), batch=0), "check_layer: expected batch to "
                                                                           "be a whole "
                        "number of at least 1, got 0"),
    "an argument": (lambda: check_layer(layers.Dense("3"), (3,)), "Dense units: expected an int, at least "
                                                                  "1, got '3'"),
}  # fmt: skip


def built_dense():
    layer = layers.Dense(2)
    layer.build((3,))
    return layer


@pytest.mark.parametrize(("call", "message"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_be_checked_is_refused(call, message):
    with pytest.raises(HandgradError) as error:
        call()
    assert str(error.value) == message
