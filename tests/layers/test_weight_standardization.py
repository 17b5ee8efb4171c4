"""Standardized filters: what they are, and what their gradient leaves out."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.graph.fuse import fuse
from handgrad.layers import Init, Run
from tests.layers.cases import STANDARDIZED, names, normal

RUN = Run(training=True)
each_case = pytest.mark.parametrize("case", STANDARDIZED, ids=names)


def plain(case, layer, w):
    """Return a layer of the class that this one is made of, with the weights w."""
    kind = layers.Conv2D if isinstance(layer, layers.Conv2D) else layers.Dense
    config = {k: v for k, v in case.layer.config().items() if k != "epsilon"}
    other = kind.from_config(config)
    other.build(case.shape, Init(dtype=np.float64))
    other.weight.assign(w)
    if layer.bias is not None:
        other.bias.assign(layer.bias.value)
    return other


@each_case
def test_outputs_are_those_of_standardized_filters(case):
    layer, x = case.new(), case.input()
    w = layer.weight.value
    over = tuple(range(w.ndim - 1))
    w_hat = (w - w.mean(axis=over)) / np.sqrt(w.var(axis=over) + layer.epsilon)
    y, _ = layer.forward(x, RUN)
    expected, _ = plain(case, layer, w_hat).forward(x, RUN)
    np.testing.assert_allclose(y, expected, rtol=1e-12, atol=1e-12)


@each_case
def test_the_gradient_has_no_part_that_changes_nothing(case):
    """Along the mean of a filter, and where epsilon is small along the filter itself."""
    layer, x = case.new(), case.input()
    layer.epsilon = 1e-12
    y, saved = layer.forward(x, RUN)
    layer.backward(normal(*y.shape, seed=1), saved, RUN)
    w, dw = layer.weight.value, layer.weight.grad
    over = tuple(range(w.ndim - 1))
    size = np.abs(dw).max()
    assert size > 1e-3
    np.testing.assert_allclose(dw.sum(axis=over), 0, atol=1e-12 * size)
    np.testing.assert_allclose((w * dw).sum(axis=over), 0, atol=1e-8 * size)


@each_case
def test_scaling_and_shifting_a_filter_changes_nothing(case):
    layer, x = case.new(), case.input()
    layer.epsilon = 1e-14
    y, _ = layer.forward(x, RUN)
    layer.weight.assign(3 * layer.weight.value + np.arange(layer.weight.shape[-1]))
    np.testing.assert_allclose(layer.forward(x, RUN)[0], y, rtol=1e-9, atol=1e-9)


def test_fold_and_fuse_leave_them_as_they_are():
    """What is folded into a filter before it is standardized would have no effect."""
    chain = [
        layers.WeightStandardizedConv2D(6, 3, padding=1),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.WeightStandardizedConv2D(4, 3, padding=1),
        layers.BatchNormalization(),
    ]
    model, x = hg.Sequential(chain, input_shape=(6, 6, 3)), normal(5, 6, 6, 3, dtype=np.float32)
    y, trace = model.forward(x, RUN)
    np.testing.assert_allclose(fuse(model).forward(x, RUN)[0], y, rtol=1e-5, atol=1e-5)
    model.commit(trace)
    np.testing.assert_allclose(hg.fold(model).predict(x), model.predict(x), rtol=1e-5, atol=1e-5)


def test_the_configuration_keeps_epsilon():
    conv = layers.WeightStandardizedConv2D(4, 3, epsilon=0.5)
    assert layers.WeightStandardizedConv2D.from_config(conv.config()).epsilon == 0.5
