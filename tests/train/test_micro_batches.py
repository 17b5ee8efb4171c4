"""Batches that are computed a part at a time: the steps are those of the whole batch."""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.graph.fuse import fuse
from handgrad.kernels import default_kernels
from handgrad.layers import BatchNormalization, Conv2D, Dense, Run
from handgrad.train.micro_batches import forward_backward
from tests.graph.models import MODELS, data

TRAINING = Run(training=True)
PARTIAL = [1, 2, 4, 6]


def plain(**options):
    return hg.Sequential([Dense(5), layers.Tanh(), Dense(3)], input_shape=(4,), **options)


def convolutional(**options):
    """Return convolutions whose normalizations are fused with what follows, and deferred to the next one."""
    h = i = hg.Input((5, 4, 3))
    for _ in range(2):
        f = layers.ReLU()(BatchNormalization(momentum=0.7)(Conv2D(3, 3, padding=1, use_bias=False)(h)))
        f = BatchNormalization(momentum=0.7)(Conv2D(3, 3, padding=1, use_bias=False)(f))
        h = layers.ReLU()(layers.Add()(f, h))
    return hg.Graph(i, Dense(3)(layers.GlobalAveragePooling2D()(h)), **options)


def modes(**options):
    """Return normalizations in several modes."""
    chain = [
        Conv2D(4, 3),
        BatchNormalization(ghost_size=3),
        Conv2D(3, 1),
        BatchNormalization(renorm=(3.0, 5.0), momentum=0.5),
        layers.Sigmoid(),
        layers.Flatten(),
        Dense(3),
        BatchNormalization(momentum=None),
    ]
    return hg.Sequential(chain, input_shape=(4, 4, 2), **options)


ALL = {"plain": plain, "convolutional": convolutional, "modes": modes}
ALL |= {name: MODELS[name] for name in ("chain", "residual", "branches", "shared", "nested", "doubled")}


def batch(model, n=7, seed=0):
    rng = np.random.default_rng(seed)
    classes = model.output_shape[-1]
    return data(model, n, seed), rng.integers(0, classes, n)


def moved(make, **options):
    """Return a model whose normalizations have seen a batch, with parameters of its own."""
    model = make(**options)
    _, trace = model.forward(data(model, 9, seed=8), TRAINING)
    model.commit(trace)
    for seed, p in enumerate(model.parameters().values()):
        p.assign(p.value + np.random.default_rng(seed).normal(size=p.shape) / 3)
    return model


def results(model, x, y, size, kernels=None, fused=True):
    """Return loss, outputs, gradients and buffers after a forward and backward."""
    run = replace(TRAINING, kernels=kernels or TRAINING.kernels)
    graph, loss = fuse(model) if fused else model, losses.CrossEntropy()
    model.zero_grad()
    if size is None:
        z, trace = graph.forward(x, run)
        value, dz = loss(z, y, run.kernels)
        graph.backward(dz, trace, run)
        graph.commit(trace)
    else:
        value, z, commit = forward_backward(graph, loss, model.check_input(x), y, run, size)
        commit()
    arrays = {name: p.grad.copy() for name, p in model.parameters().items()}
    arrays |= {name: b.value.copy() for name, b in model.buffers().items()}
    return arrays | {"loss": np.array(value), "z": z}


@pytest.mark.parametrize("fused", [True, False], ids=["fused", "each by itself"])
@pytest.mark.parametrize("size", PARTIAL)
@pytest.mark.parametrize("name", ALL)
def test_gradients_and_statistics_are_those_of_the_whole_batch(name, size, fused):
    make = ALL[name]
    model, other = moved(make, dtype=np.float64), moved(make, dtype=np.float64)
    x, y = batch(model)
    if name == "modes":  # ghost batches of 3 are the same in two parts of 6
        size, (x, y) = 6, batch(model, 12)
    whole, parts = results(model, x, y, None, fused=fused), results(other, x, y, size, fused=fused)
    for key, value in whole.items():
        assert parts[key].dtype == value.dtype
        largest = np.abs(value).max()
        np.testing.assert_allclose(parts[key], value, rtol=0, atol=1e-12 * max(largest, 1e-3), err_msg=key)


@pytest.mark.parametrize("precision", ["float32", "strict"])
def test_in_float32_they_agree_up_to_rounding(precision):
    kernels = default_kernels(precision)
    model, other = moved(convolutional), moved(convolutional)
    x, y = batch(model, 20)
    whole, parts = results(model, x, y, None, kernels), results(other, x, y, 6, kernels)
    for key, value in whole.items():
        np.testing.assert_allclose(parts[key], value, rtol=0, atol=2e-5 * max(np.abs(value).max(), 0.1))


def test_a_fit_is_that_of_whole_batches():
    histories, states = [], []
    for size in (None, 5):
        model = moved(convolutional, dtype=np.float64)
        x, y = batch(model, 60)
        trainer = hg.Trainer(
            model, "cross_entropy", optim.SGD(0.1, momentum=0.9), ["accuracy"], micro_batch_size=size
        )
        histories.append(trainer.fit(x, y, epochs=3, batch_size=16))
        states.append(model.state())
    for key in ("loss", "accuracy"):
        np.testing.assert_allclose(histories[1][key], histories[0][key], rtol=1e-9)
    for name, value in states[0].items():
        np.testing.assert_allclose(states[1][name], value, rtol=1e-7, atol=1e-9)


def test_batches_that_fit_are_computed_at_once():
    model, other = moved(convolutional), moved(convolutional)
    x, y = batch(model, 6)
    for m, size in ((model, None), (other, 6)):
        hg.Trainer(m, "cross_entropy", optim.SGD(0.1), micro_batch_size=size).train_step(x, y)
    for name, value in model.state().items():
        np.testing.assert_array_equal(other.state()[name], value)


def test_running_statistics_move_once_in_a_step():
    model = moved(convolutional)
    x, y = batch(model, 7)
    hg.Trainer(model, "cross_entropy", optim.SGD(0.1), micro_batch_size=2).train_step(x, y)
    assert {int(b.value) for name, b in model.buffers().items() if name.endswith("updates")} == {2}


def test_a_frozen_normalization_asks_nothing():
    model, other = moved(convolutional, dtype=np.float64), moved(convolutional, dtype=np.float64)
    model.freeze()
    other.freeze()
    for m in (model, other):
        m["dense"].unfreeze()
    x, y = batch(model)
    whole, parts = results(model, x, y, None), results(other, x, y, 1)
    for key, value in whole.items():
        np.testing.assert_allclose(parts[key], value, rtol=1e-12, atol=1e-14)


def test_parts_drop_numbers_of_their_own():
    model = hg.Sequential([layers.Dropout(0.5)], input_shape=(400,))
    x = np.ones((4, 400), np.float32)
    _, z, _ = forward_backward(model, losses.MeanSquaredError(), x, x, TRAINING, 2)
    assert not np.array_equal(z[:2], z[2:])


def test_without_statistics_one_part_is_in_memory_at_a_time():
    kept = []

    class Keeping(layers.Tanh):
        def forward(self, x, run):
            assert sum(r() is not None for r in kept) == 0
            y, saved = super().forward(x, run)
            kept.extend(weakref.ref(a) for a in saved)
            return y, saved

    model = hg.Sequential([Dense(50), Keeping(), Dense(2)], input_shape=(3,))
    x, y = batch(model, 20)
    hg.Trainer(model, "cross_entropy", optim.SGD(0.1), micro_batch_size=5).train_step(x, y)
    assert len(kept) == 4


def test_what_moves_buffers_without_the_others_does_so_for_every_part():
    class Counting(layers.Tanh):
        seen = 0

        def commit(self, saved):
            Counting.seen += len(saved[0])

        def retained(self, saved):
            return saved

    model = hg.Sequential([Counting(), Dense(2)], input_shape=(3,))
    x, y = batch(model, 7)
    hg.Trainer(model, "cross_entropy", optim.SGD(0.1), micro_batch_size=3).train_step(x, y)
    assert Counting.seen == 7


def test_what_is_not_finite_changes_nothing():
    model = moved(convolutional)
    before = model.state()
    x, y = batch(model, 9)
    x[8] = np.nan
    with pytest.raises(NonFiniteError):
        hg.Trainer(model, "cross_entropy", optim.SGD(0.1), micro_batch_size=4).train_step(x, y)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("size", [0, -1, 2.5, True])
def test_sizes_that_are_none(size):
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(plain(), "cross_entropy", micro_batch_size=size)
    expected = "expected micro_batch_size to be a whole number of at least 1"
    assert str(error.value) == f"Trainer: {expected}, got {size!r}"
