"""Every gradient of every layer is the derivative: by complex step to 1e-10, and by central differences."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ShapeError
from handgrad.layers import Layer, Run
from tests.layers.cases import CASES, NORMALIZATION_MODES, NORMALIZATIONS, ONE_STEP, names

ALL = [*CASES, ONE_STEP]
each_case = pytest.mark.parametrize("case", ALL, ids=names)


def test_every_layer_has_a_case():
    kinds = {getattr(layers, name) for name in layers.__all__}
    concrete = {k for k in kinds if isinstance(k, type) and issubclass(k, Layer)} - {Layer, layers.Merge}
    assert concrete == {type(case.layer) for case in CASES}


@each_case
@pytest.mark.parametrize("mode", ["training", "inference", "frozen"])
def test_by_complex_step(case, mode):
    layer = case.new(frozen=mode == "frozen")
    report = hg.testing.gradcheck(layer, case.input(), training=mode != "inference", method="complex")
    inputs = {"x"} if not isinstance(layer, layers.Merge) else {f"x{i}" for i in range(len(case.shape))}
    assert set(report.errors) == inputs | (set() if mode == "frozen" else set(layer.parameters()))
    assert max(report.errors.values()) <= 1e-10


@each_case
def test_by_central_differences(case):
    hg.testing.gradcheck(case.new(), case.input(), method="central", tolerance=1e-5)


@each_case
def test_of_a_batch_of_one(case):
    layer, x = case.new(), case.input(batch=1)
    normalizes = case in (*NORMALIZATIONS, *NORMALIZATION_MODES)
    single = normalizes and len(layer.rows(x)) == 1 and layer.on_single == "error"
    if single:
        with pytest.raises(ShapeError, match="expected at least 2 values per channel in training, got 1"):
            hg.testing.gradcheck(layer, x)
        layer.freeze()
    hg.testing.gradcheck(layer, x, method="complex")


@pytest.mark.parametrize("truncate", [0, 1, 2, 3])
def test_of_a_truncated_rnn_is_that_of_the_loss_with_older_states_held_constant(truncate):
    rnn = layers.SimpleRNN(3, return_sequences=True, truncate=truncate)
    x, dh = np.random.default_rng(0).normal(size=(2, 5, 2)), np.random.default_rng(1).normal(size=(2, 5, 3))
    rnn.build((5, 2), layers.Init(dtype=np.float64))
    h, saved = rnn.forward(x, Run())
    dx = rnn.backward(dh, saved, Run())
    # the output at t as a function of steps t-K..t alone, from the state before them, held constant
    expected_dx = np.zeros_like(x)
    full = layers.SimpleRNN(3, return_sequences=True)
    full.build((5, 2), layers.Init(dtype=np.float64))
    for t in range(5):
        start = max(t - truncate, 0)
        expected_dx[:, start : t + 1] += _window_gradient(
            rnn, x[:, start : t + 1], h[:, start - 1] if start else np.zeros((2, 3)), dh[:, t]
        )
    np.testing.assert_allclose(dx, expected_dx, rtol=1e-12, atol=1e-14)


def _window_gradient(rnn, x, h0, dh_last):
    """Return d(dh_last . h_last)/dx by complex steps, for a run over x from the state h0."""
    W, U, b = rnn.weight.value, rnn.recurrent_weight.value, rnn.bias.value
    dx = np.zeros_like(x)
    for at in np.ndindex(*x.shape):
        z = x.astype(complex)
        z[at] += 1e-30j
        h = h0
        for t in range(x.shape[1]):
            h = np.tanh(z[:, t] @ W + h @ U + b)
        dx[at] = np.sum(dh_last * h).imag / 1e-30
    return dx
