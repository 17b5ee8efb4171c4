"""State of a model: out, and in again; nothing changes where it does not fit."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import CheckpointError
from handgrad.layers import Run
from tests.graph import models
from tests.graph.models import data, gradients

TRAINING = Run(training=True)


def trained(**options):
    """Return a model whose parameters and buffers have moved."""
    model = models.chain(**options)
    _, trace = model.forward(data(model), TRAINING)
    model.commit(trace)
    for name, p in model.parameters().items():
        p.assign(p.value + hg.rng.Stream((name,)).normal(p.shape))
    return model


def test_round_trip_gives_the_same_predictions():
    model, other = trained(), models.chain(seed=9)
    other.load_state(model.state())
    x = data(model)
    np.testing.assert_array_equal(other.predict(x), model.predict(x))
    assert other["batch_normalization"].updates.value == 1


def test_state_holds_parameters_and_buffers_as_copies():
    model = trained()
    state = model.state()
    assert list(state) == [
        "conv2d.weight",
        "conv2d.bias",
        "batch_normalization.gamma",
        "batch_normalization.beta",
        "dense.weight",
        "dense.bias",
        "batch_normalization.running_mean",
        "batch_normalization.running_var",
        "batch_normalization.updates",
    ]
    state["dense.weight"][...] = 0
    assert np.any(model["dense"].weight.value)


def test_loading_writes_into_the_memory_that_is_there():
    model = trained()
    place = model["dense"].weight.value
    model.load_state(models.chain(seed=5).state())
    assert model["dense"].weight.value is place
    assert place.base is model["conv2d"].weight.value.base


def test_float64_state_is_narrowed_and_float32_state_widened():
    wide, narrow = models.chain(dtype=np.float64), models.chain()
    narrow.load_state(wide.state())
    assert narrow["dense"].weight.value.dtype == np.float32
    wide.load_state(narrow.state())
    np.testing.assert_array_equal(wide["dense"].weight.value, narrow["dense"].weight.value)


def without(state):
    del state["dense.bias"], state["conv2d.weight"]


def extra(state):
    state["dense_7.bias"] = np.zeros(3)


def misshapen(state):
    state["dense.weight"] = np.zeros((2, 2))


def of_text(state):
    state["dense.weight"] = np.full(state["dense.weight"].shape, "a")


def of_fractions(state):
    state["batch_normalization.updates"] = np.array(1.5)


def complex_(state):
    state["dense.bias"] = state["dense.bias"] + 1j


def all_at_once(state):
    without(state)
    extra(state)
    misshapen(state)


@pytest.mark.parametrize(
    ("damage", "got"),
    [
        (without, "missing conv2d.weight, dense.bias"),
        (extra, "unknown dense_7.bias"),
        (misshapen, "dense.weight of shape (2, 2), not (12, 4)"),
        (of_text, "dense.weight of <U1, not float32"),
        (of_fractions, "batch_normalization.updates of float64, not int64"),
        (complex_, "dense.bias of complex64, not float32"),
        (
            all_at_once,
            "missing conv2d.weight, dense.bias; unknown dense_7.bias; "
            "dense.weight of shape (2, 2), not (12, 4)",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_and_changes_nothing(damage, got):
    model = trained()
    before = model.state()
    state = models.chain(seed=5).state()
    damage(state)
    with pytest.raises(CheckpointError) as error:
        model.load_state(state)
    assert str(error.value) == f"load_state: expected the parameters of this model, got {got}"
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize(
    "copied", [copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))], ids=["deepcopy", "pickle"]
)
def test_a_copy_of_a_model_is_a_model_of_its_own(copied):
    model = trained(dtype=np.float64)
    again = copied(model)
    x, dy = data(model), np.ones((6, 4))
    np.testing.assert_array_equal(again.predict(x), model.predict(x))
    found, _ = gradients(again, x, dy, TRAINING)
    assert any(np.any(g) for g in found.values())
    assert not any(np.any(p.grad) for p in model.parameters().values())
    again["dense"].weight.value[...] = 0
    assert np.any(model["dense"].weight.value)
    hg.optim.SGD(0.1).step(again.trainable_parameters())
    assert np.any(again["dense"].weight.value)


def accumulate_ones(model):
    for p in model.parameters().values():
        p.accumulate(np.ones(p.shape, p.value.dtype))


@pytest.mark.parametrize(
    "copied",
    [lambda m: m, copy.deepcopy, lambda m: pickle.loads(pickle.dumps(m))],
    ids=["same", "deep", "pickle"],
)
def test_zero_grad_and_gradient_vectors_are_of_a_copys_own_parameters(copied):
    original = hg.Sequential([hg.layers.Dense(3), hg.layers.Dense(2)], input_shape=(4,))
    original.zero_grad()
    accumulate_ones(original)
    model = copied(original)
    assert sum(float(v.sum()) for v in model.gradient_vectors()) == 4 * 3 + 3 + 3 * 2 + 2
    model.zero_grad()
    assert all(not p.grad.any() for p in model.parameters().values())
    assert model is original or all(p.grad.all() for p in original.parameters().values())


def test_gradient_vectors_are_those_of_the_layers_that_train_now():
    model = hg.Sequential([hg.layers.Dense(3), hg.layers.Dense(2)], input_shape=(4,))
    accumulate_ones(model)
    for frozen, size in ((True, 8), (False, 23)):
        model.layers[0].trainable = not frozen
        assert sum(v.size for v in model.gradient_vectors()) == size
