"""Gradients of whole models: residual, branched, shared, nested; and who writes what on the way back."""

from __future__ import annotations

import dataclasses
import weakref
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import BuildError
from handgrad.layers import Layer, Merge, NothingSaved, Run
from handgrad.layers.layer import owned
from tests.graph import models
from tests.graph.models import data, gradients

TRAINING = Run(training=True)


@pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
@pytest.mark.parametrize("make", models.MODELS.values(), ids=models.MODELS)
def test_by_complex_step(make, training):
    model = make(dtype=np.float64)
    report = hg.testing.gradcheck(model, data(model), training=training, method="complex")
    assert set(report.errors) == {"x", *model.parameters()}
    assert max(report.errors.values()) <= 1e-10


@pytest.mark.parametrize("make", [models.residual, models.shared, models.nested])
def test_half_frozen(make):
    model = make(dtype=np.float64)
    for layer in model.layers[::2]:
        layer.freeze()
    report = hg.testing.gradcheck(model, data(model), method="complex")
    assert set(report.errors) == {"x", *model.trainable_parameters()}


def test_a_shared_layer_gets_the_sum_of_its_uses():
    model = models.shared(dtype=np.float64)
    x, dy = data(model), data(model, seed=1)
    found, _ = gradients(model, x, dy, TRAINING)
    dense = model.layers[0]
    apart = [layers.Dense(4) for _ in range(3)]
    i = hg.Input((4,))
    h = layers.Tanh()(apart[0](i))
    h = layers.Tanh()(apart[1](h))
    other = hg.Graph(i, layers.Add()(apart[2](h), h, i), dtype=np.float64)
    for layer in apart:
        layer.weight.assign(dense.weight.value)
    summed, _ = gradients(other, x, dy, TRAINING)
    total = sum(summed[name] for name in summed if name.endswith("weight"))
    np.testing.assert_allclose(found["dense.weight"], total, rtol=1e-13)


def test_gradients_add_up_over_backwards():
    model = models.residual(dtype=np.float64)
    x, dy = data(model), np.ones((6, 3))
    once, _ = gradients(model, x, dy, TRAINING)
    _, trace = model.forward(x, TRAINING)
    model.backward(dy, trace, TRAINING)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p.grad, 2 * once[name])


def test_two_forwards_can_be_in_flight():
    model = models.residual(dtype=np.float64)
    a, b, dy = data(model), data(model, seed=1), np.ones((6, 3))
    alone, _ = gradients(model, a, dy, TRAINING)
    model.zero_grad()
    _, trace = model.forward(a, TRAINING)
    model.forward(b, TRAINING)
    model.backward(dy, trace, TRAINING)
    for name, p in model.parameters().items():
        np.testing.assert_array_equal(p.grad, alone[name])


# --- who writes what ----------------------------------------------------------------------------------


@dataclass(eq=False)
class Locked(Layer):
    """The identity; what it returns can never be written again."""

    def output_shape(self, shape):
        return shape

    def forward(self, x, run):
        y = x.copy()
        y.flags.writeable = False
        return y, NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        dx = 2 * dy
        dx.flags.writeable = False
        return dx


@dataclass(eq=False)
class LockedMerge(Merge):
    """The sum; gives every input the same locked gradient."""

    def output_shape(self, shape):
        return shape[0]

    def forward(self, x, run):
        return sum(x), NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        dy = dy.copy()
        dy.flags.writeable = False
        return (dy,) * 3


def test_a_fan_out_adds_gradients_without_writing_what_a_layer_returned():
    i = hg.Input((3,))
    h = Locked()(i)
    y = LockedMerge()(Locked()(h), Locked()(h), h)
    model = hg.Graph(i, y, dtype=np.float64)
    x, dy = np.ones((2, 3)), np.full((2, 3), 5.0)
    for a in (x, dy):
        a.flags.writeable = False
    out, trace = model.forward(x, TRAINING)
    np.testing.assert_array_equal(out, 3)
    dx = model.backward(dy, trace, TRAINING, need_dx=True)
    np.testing.assert_array_equal(dx, 2 * (2 + 2 + 1) * dy)


def test_inputs_and_upstream_gradient_are_not_written():
    for make in models.MODELS.values():
        model = make(dtype=np.float64)
        x = data(model)
        y, trace = model.forward(x, TRAINING)
        dy = np.ones_like(y)
        kept = x.copy(), dy.copy()
        for a in (x, dy):
            a.flags.writeable = False
        model.backward(dy, trace, TRAINING, need_dx=True)
        np.testing.assert_array_equal(x, kept[0])
        np.testing.assert_array_equal(dy, kept[1])


# --- what is not computed -----------------------------------------------------------------------------


def spying(*names):
    """Return a table of kernels that writes down each call of some of them, and the list it writes to."""
    kernels, calls = Run().kernels, []

    def spy(name):
        kernel = getattr(kernels, name)

        def call(*args, **kwargs):
            calls.append(name)
            return kernel(*args, **kwargs)

        return call

    return dataclasses.replace(kernels, **{name: spy(name) for name in names}), calls


def conv_chain(n=3, **options):
    chain = [layers.Conv2D(2, 3, padding="same", name=f"conv{k}") for k in range(n)]
    return hg.Sequential(chain, input_shape=(4, 4, 1), **options)


CONV_BACKWARD = ("conv2d_backward_input", "conv2d_backward_weight")


@pytest.mark.parametrize(
    ("need_dx", "frozen", "inputs", "weights"),
    [
        (False, (), 2, 3),
        (True, (), 3, 3),
        (False, (0,), 1, 2),
        (False, (0, 1), 0, 1),
        (False, (1,), 2, 2),
        (False, (2,), 2, 2),
        (False, (0, 1, 2), 0, 0),
        (True, (0, 1, 2), 3, 0),
    ],
)
def test_backward_goes_no_further_than_it_is_needed(need_dx, frozen, inputs, weights):
    model = conv_chain()
    for k in frozen:
        model[f"conv{k}"].freeze()
    kernels, calls = spying(*CONV_BACKWARD)
    run = Run(training=True, kernels=kernels)
    y, trace = model.forward(data(model), run)
    dx = model.backward(np.ones_like(y), trace, run, need_dx=need_dx)
    assert (calls.count("conv2d_backward_input"), calls.count("conv2d_backward_weight")) == (inputs, weights)
    assert (dx is not None) == need_dx


def test_layers_below_the_first_trainable_one_are_not_run_backward():
    model = models.residual()
    model.commit(model.forward(data(model), TRAINING)[1])
    *below, head = model.nodes
    for node in below:
        node.layer.freeze()
    seen = []
    y, trace = model.forward(data(model), TRAINING)
    model.backward(np.ones_like(y), trace, TRAINING, watch=lambda node, _: seen.append(node.name))
    assert seen == [head.name]


def test_a_branch_without_parameters_is_not_run_backward():
    i = hg.Input((4, 4, 2))
    model = hg.Graph(i, layers.Add()(layers.MaxPooling2D(3, 1, 1)(i), layers.Conv2D(2, 1)(i)))
    kernels, calls = spying("max_pool2d_backward", *CONV_BACKWARD)
    run = Run(training=True, kernels=kernels)
    y, trace = model.forward(data(model), run)
    assert model.backward(np.ones_like(y), trace, run) is None
    assert calls == ["conv2d_backward_weight"]


def test_the_gradient_is_the_same_however_little_is_asked_for():
    model = models.residual(dtype=np.float64)
    x, dy = data(model), np.random.default_rng(1).normal(size=(6, 3))
    short, _ = gradients(model, x, dy, TRAINING)
    whole, _ = gradients(model, x, dy, TRAINING, need_dx=True)
    for name in whole:
        np.testing.assert_array_equal(short[name], whole[name])


def test_watch_sees_every_node_and_its_gradient_last_first():
    model = models.chain()
    forward, backward = [], []
    x = data(model)
    y, trace = model.forward(x, TRAINING, watch=lambda node, y: forward.append((node.name, y.shape)))
    model.backward(
        np.ones_like(y), trace, TRAINING, watch=lambda node, dy: backward.append((node.name, dy.shape))
    )
    assert forward == [(node.name, (6, *node.shape)) for node in model.nodes]
    assert backward == forward[::-1]


def test_a_forward_that_keeps_nothing_says_so():
    model = models.chain(name="net")
    y, trace = model.forward(data(model), TRAINING, keep=False)
    for what, call in (
        ("backward", lambda: model.backward(y, trace, TRAINING)),
        ("commit", lambda: model.commit(trace)),
    ):
        with pytest.raises(BuildError) as error:
            call()
        assert str(error.value) == (
            f"net {what}: expected a trace with what every layer saved, got that of a forward with keep=False"
        )


@pytest.mark.parametrize("name", models.MODELS)
def test_released_as_it_goes_backward_gives_the_same_gradients_and_commit_the_same_buffers(name):
    results = []
    for release in (False, True):
        model = models.MODELS[name](dtype=np.float64)
        x = data(model)
        y, trace = model.forward(x, TRAINING)
        dx = model.backward(np.cos(y), trace, TRAINING, need_dx=True, release=release)
        model.commit(trace)
        owned = model.parameters() | model.buffers()
        results.append([dx, *(getattr(o, "grad", o.value) for o in owned.values())])
    for kept, released in zip(*results, strict=True):
        np.testing.assert_array_equal(kept, released)


class ProbeSaved(NamedTuple):
    array: np.ndarray


@dataclass(eq=False)
class Probe(Layer):
    """Counts the saved arrays and the gradients that are in memory, at each backward and sum of gradients."""

    saved: Any = owned()
    gradients: Any = owned()
    counts: Any = owned()

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        self.slope = init.parameter("slope", (1,), "ones")
        self.saved, self.gradients, self.counts = weakref.WeakSet(), weakref.WeakSet(), []

    def new(self, shape, where):
        array = np.ones(shape).view(Watched)
        array.probe = self
        where.add(array)
        return array

    def count(self):
        self.counts.append((len(self.saved), len(self.gradients)))

    def forward(self, x, run):
        return x, ProbeSaved(self.new(x.shape, self.saved))

    def backward(self, dy, saved, run, *, need_dx=True):
        self.count()
        return self.new(dy.shape, self.gradients) if need_dx else None


class Watched(np.ndarray):
    """An array that a WeakSet can hold, and the sum of two is an ordinary one."""

    __hash__ = object.__hash__

    def __eq__(self, other):
        return self is other

    def __add__(self, other):
        self.probe.count()
        return np.add(np.asarray(self), np.asarray(other))


def test_what_backward_has_used_is_let_go_at_once():
    i = hg.Input((3,))
    probe = Probe()
    h = probe(probe(i))
    h = layers.Add()(h, probe(h))
    model = hg.Graph(i, probe(h))
    expected = {
        # the last probe; the one in the block; the sum at the block's input; the two before it, the first of
        # which gets that sum, which is not counted
        True: [(4, 0), (3, 1), (2, 2), (2, 0), (1, 1)],
        False: [(4, 0), (4, 1), (4, 2), (4, 0), (4, 1)],
    }
    for release, counts in expected.items():
        y, trace = model.forward(data(model), TRAINING)
        probe.counts.clear()
        model.backward(np.ones_like(y), trace, TRAINING, release=release)
        assert probe.counts == counts
        del trace


def test_a_released_trace_says_so():
    model = models.chain(name="net")
    y, trace = model.forward(data(model), TRAINING)
    model.backward(np.ones_like(y), trace, TRAINING, release=True)
    with pytest.raises(BuildError) as error:
        model.backward(np.ones_like(y), trace, TRAINING)
    assert str(error.value) == (
        "net backward: expected a trace with what every layer saved, got one that a backward has released"
    )
    model.commit(trace)
    assert model.buffers()["batch_normalization.updates"].value == 1


def test_the_kernels_of_the_run_are_those_that_compute():
    kernels, calls = spying("conv2d", "bias_backward")
    run = Run(training=True, kernels=kernels)
    model = conv_chain()
    y, trace = model.forward(data(model), run)
    model.backward(y, trace, run)
    assert calls == ["conv2d"] * 3 + ["bias_backward"] * 3
