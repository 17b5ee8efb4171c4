"""A model refuses what is no gradient of its output, and names the layer that returns a wrong one."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import BuildError, DataError, ShapeError
from handgrad.layers import Layer, NothingSaved, Run
from tests.graph import models
from tests.graph.models import data

TRAINING = Run(training=True)


@dataclass(eq=False)
class Sloppy(Layer):
    """The identity; what its backward returns is up to the test."""

    def output_shape(self, shape):
        return shape

    def forward(self, x, run):
        return x, NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        return self.returned(dy)


def sloppy(returned):
    layer = Sloppy(name="mine")
    layer.returned = returned
    return hg.Sequential([layers.Dense(3), layer, layers.ReLU()], input_shape=(4,), name="net")


@pytest.mark.parametrize("release", [False, True])
def test_a_model_refuses_what_is_no_gradient_of_its_output(release):
    model = models.chain(name="net")
    y, trace = model.forward(data(model), TRAINING)
    model.zero_grad()
    for wrong in (y[:-1], np.concatenate([y, y]), y[0], y[None], y[..., :1], np.ones((), y.dtype)):
        with pytest.raises(ShapeError) as error:
            model.backward(wrong, trace, TRAINING, release=release)
        assert str(error.value) == (
            f"net backward: expected dy of the output's shape {y.shape}, got {wrong.shape}; "
            "dy and saved belong to one forward"
        )
    for wrong in (None, y.tolist(), y.astype(int), y.astype(np.complex64)):
        with pytest.raises(DataError, match=r"^net backward: expected dy "):
            model.backward(wrong, trace, TRAINING, release=release)
    assert not any(p.grad.any() for p in model.parameters().values())
    assert not trace.released
    model.backward(y, trace, TRAINING, release=release)


@pytest.mark.parametrize(
    ("returned", "got"),
    [(lambda dy: dy.sum(axis=0), "(3,)"), (lambda _: None, "None"), (lambda dy: dy[:1], "(1, 3)")],
)
def test_a_layer_that_returns_a_gradient_of_another_shape_is_named(returned, got):
    model = sloppy(returned)
    y, trace = model.forward(np.ones((2, 4), np.float32), TRAINING)
    with pytest.raises(ShapeError) as error:
        model.backward(y, trace, TRAINING)
    assert str(error.value) == f"mine (Sloppy) backward: expected dx of its input's shape (2, 3), got {got}"


def test_the_trace_of_another_model_is_refused():
    model, other = models.chain(name="net"), sloppy(lambda dy: dy)
    y, _ = model.forward(data(model), TRAINING)
    _, trace = other.forward(np.ones((len(y), 4), np.float32), TRAINING)
    for call in (lambda: model.backward(y, trace, TRAINING), lambda: model.commit(trace)):
        with pytest.raises(BuildError, match="expected the trace of its own forward, got one of 3 layers"):
            call()


def test_the_trace_of_a_smaller_batch_is_refused():
    model = models.chain(name="net")
    y, trace = model.forward(data(model), TRAINING)
    _, shorter = model.forward(data(model)[:-1], TRAINING)
    with pytest.raises(ShapeError, match="expected dy of the output's shape"):
        model.backward(y, shorter, TRAINING)
    model.backward(y, trace, TRAINING)
