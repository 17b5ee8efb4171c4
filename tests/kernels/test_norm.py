"""Batch normalization's statistics where naive sums lose everything."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE


@pytest.mark.parametrize("mean", [0.0, 1e3, 1e5, 1e6, -1e6])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_statistics_are_those_of_the_numbers_given(mean, dtype):
    x = (mean + np.random.default_rng(0).normal(size=(1000, 2))).astype(dtype)
    found_mean, found_var = REFERENCE.batch_norm_statistics(x)
    for c in range(2):
        exact = [float(v) for v in x[:, c]]
        m = math.fsum(exact) / 1000
        var = math.fsum((v - m) ** 2 for v in exact) / 1000
        assert abs(found_mean[c] - m) < 1e-6
        assert found_var[c] == pytest.approx(var, rel=1e-6)


def test_statistics_of_constants_are_exact():
    x = np.full((1001, 2), 0.1, np.float32)
    mean, var = REFERENCE.batch_norm_statistics(x)
    assert mean.tolist() == [float(np.float32(0.1))] * 2
    assert var.tolist() == [0.0, 0.0]


def test_statistics_are_float64():
    mean, var = REFERENCE.batch_norm_statistics(np.ones((3, 2), np.float32))
    assert mean.dtype == var.dtype == np.float64


def test_backward_of_the_gradients_that_normalization_takes_away_is_zero():
    """Adding a constant to a column, or scaling it, changes nothing in the output: dx has no such part."""
    rng = np.random.default_rng(0)
    x, dy, gamma = rng.normal(size=(50, 3)), rng.normal(size=(50, 3)), rng.normal(size=3)
    mean, var = REFERENCE.batch_norm_statistics(x)
    dx, _, _ = REFERENCE.batch_norm_backward(dy, x, mean, 1 / np.sqrt(var), gamma)
    np.testing.assert_allclose(dx.sum(axis=0), 0, atol=1e-14)
    np.testing.assert_allclose(np.sum(dx * (x - mean), axis=0), 0, atol=1e-13)


def test_backward_by_constant_statistics_is_a_scale_alone():
    rng = np.random.default_rng(0)
    x, dy, mean, s, gamma = rng.normal(size=(5, 3)), rng.normal(size=(5, 3)), *rng.normal(size=(3, 3))
    dx, dgamma, dbeta = REFERENCE.batch_norm_backward_constant(dy, x, mean, s, gamma)
    np.testing.assert_allclose(dx, gamma * s * dy, rtol=1e-14)
    np.testing.assert_allclose(dgamma, np.sum(dy * (x - mean) * s, axis=0), rtol=1e-13)
    np.testing.assert_allclose(dbeta, dy.sum(axis=0), rtol=1e-13)


@pytest.mark.parametrize("constant", ["", "_constant"])
@pytest.mark.parametrize("residual", [False, True])
def test_with_relu_the_gradient_passes_where_the_output_is_positive(residual, constant):
    rng = np.random.default_rng(0)
    x, dy, r = rng.normal(size=(3, 50, 3))
    mean, s, gamma, beta = rng.normal(size=(4, 3))
    r = r if residual else np.zeros_like(r)
    y = REFERENCE.batch_norm_relu(x, mean, s, gamma, beta, *([r] if residual else []))
    np.testing.assert_allclose(y, np.maximum(gamma * s * (x - mean) + beta + r, 0), rtol=1e-12)
    backward = getattr(REFERENCE, f"batch_norm_relu_backward{constant}")
    dx, dgamma, dbeta, *g = backward(dy, x, y if residual else None, mean, s, gamma, beta)
    passed = np.where(y > 0, dy, 0)
    expected = getattr(REFERENCE, f"batch_norm_backward{constant}")(passed, x, mean, s, gamma)
    for a, b in zip((dx, dgamma, dbeta, *g), (*expected, *([passed] if residual else [])), strict=True):
        np.testing.assert_array_equal(a, b)


def test_with_relu_nan_passes_and_the_gradient_stops_at_zero():
    one, zero, x = np.ones(1), np.zeros(1), np.array([[2.0], [0.0], [-1.0], [np.nan]])
    y = REFERENCE.batch_norm_relu(x, zero, one, None, None)
    np.testing.assert_array_equal(y, [[2], [0], [0], [np.nan]])
    for given in (None, y):
        dx, *_ = REFERENCE.batch_norm_relu_backward_constant(
            np.full_like(x, 3), x, given, zero, one, None, None
        )
        np.testing.assert_array_equal(dx, [[3], [0], [0], [3]])
