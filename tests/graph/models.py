"""Models of every shape that the tests of graphs use."""

from __future__ import annotations

import numpy as np

import handgrad as hg
from handgrad import layers


def chain(**options):
    """Return a chain with a normalization."""
    return hg.Sequential(
        [
            layers.Conv2D(3, 3, padding="same"),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(2),
            layers.Flatten(),
            layers.Dense(4),
        ],
        input_shape=(5, 4, 2),
        **options,
    )


def residual(**options):
    """Return two residual blocks, one with a projection."""
    h = i = hg.Input((5, 4, 2))
    for strides in (1, 2):
        c = h.shape[2] * strides
        f = layers.Conv2D(c, 3, strides=strides, padding="same", use_bias=False)(h)
        f = layers.Tanh()(layers.BatchNormalization()(f))
        h = layers.Add()(f, h if strides == 1 else layers.Conv2D(c, 1, strides=2)(h))
    return hg.Graph(i, layers.Dense(3)(layers.GlobalAveragePooling2D()(h)), **options)


def branches(**options):
    """Return branches that are concatenated, one value being used three times."""
    i = hg.Input((4, 4, 2))
    h = layers.Conv2D(2, 3, padding="same")(i)
    a, b = layers.Sigmoid()(h), layers.AveragePooling2D(3, 1, "same")(h)
    y = layers.Concatenate()(a, b, h, layers.Conv2D(1, 1)(a))
    return hg.Graph(i, layers.Flatten()(y), **options)


def shared(**options):
    """Return one dense layer applied three times, and its input added to its output."""
    i = hg.Input((4,))
    dense = layers.Dense(4)
    h = layers.Tanh()(dense(i))
    h = layers.Tanh()(dense(h))
    return hg.Graph(i, layers.Add()(dense(h), h, i), **options)


def doubled(**options):
    """Return a graph in which one value is both inputs of a merge."""
    i = hg.Input((3,))
    h = layers.Dense(3)(i)
    return hg.Graph(i, layers.Concatenate()(layers.Add()(h, h), h), **options)


def passing(**options):
    """Return a graph whose output is the model's input, added to itself through nothing that is trained."""
    i = hg.Input((3,))
    return hg.Graph(i, layers.Add()(i, i), **options)


def nested(**options):
    """Return a model with a model in it, used twice."""
    dtype = options.get("dtype", np.float32)
    inner = hg.Sequential([layers.Dense(3), layers.Tanh()], input_shape=(3,), name="block", dtype=dtype)
    i = hg.Input((3,))
    return hg.Graph(i, layers.Dense(2)(inner(inner(i))), **options)


def stochastic(**options):
    """Return a chain with dropout."""
    return hg.Sequential(
        [layers.Dense(8), layers.Dropout(0.3), layers.SELU(), layers.Dropout(0.5), layers.Dense(2)],
        input_shape=(4,),
        **options,
    )


def recurrent(**options):
    """Return two recurrent layers."""
    return hg.Sequential(
        [layers.SimpleRNN(4, return_sequences=True), layers.SimpleRNN(3), layers.Dense(2)],
        input_shape=(5, 2),
        **options,
    )


MODELS = {
    f.__name__: f
    for f in (chain, residual, branches, shared, doubled, passing, nested, stochastic, recurrent)
}


def data(model, n=6, seed=0, dtype=np.float64):
    """Return a batch of inputs for a model."""
    return np.random.default_rng(seed).normal(size=(n, *model.input_shape)).astype(dtype)


def gradients(model, x, dy, run, **options):
    """Return copies of all gradients, and dx, of a forward and backward from zero."""
    model.zero_grad()
    _, trace = model.forward(x, run)
    dx = model.backward(dy, trace, run, **options)
    return {name: p.grad.copy() for name, p in model.parameters().items()}, dx
