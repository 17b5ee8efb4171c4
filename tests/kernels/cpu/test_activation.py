"""Compiled activations against their definitions in float64, over all of float32."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE
from tests.kernels.cpu.tables import COMPILED, SIZES, each_table, same_bits, strided, threads

EPSILON = 2.0**-24
TINY = float(np.finfo(np.float32).smallest_subnormal)
SPECIAL = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, 1.0, -1.0, 3e38, -3e38, 1e-45, -1e-45], np.float32)

# name: (kernel, arguments, keywords)
ACTIVATIONS = {
    "relu": ("relu", (), {}),
    "leaky_relu": ("leaky_relu", (0.1,), {}),
    "elu": ("elu", (0.7,), {}),
    "selu": ("selu", (), {}),
    "softplus": ("softplus", (), {}),
    "sigmoid": ("sigmoid", (), {}),
    "tanh": ("tanh", (), {}),
    "gelu": ("gelu", (), {}),
    "gelu by tanh": ("gelu", (), {"approximate": True}),
    "silu": ("silu", (), {}),
}
FROM_OUTPUT = {"relu", "sigmoid", "tanh"}
each = pytest.mark.parametrize("name", ACTIVATIONS)


def forward(kernels, name, x):
    kernel, args, kwargs = ACTIVATIONS[name]
    return getattr(kernels, kernel)(x, *args, **kwargs)


def backward(kernels, name, dy, value):
    kernel, args, kwargs = ACTIVATIONS[name]
    return getattr(kernels, f"{kernel}_backward")(dy, value, *args, **kwargs)


def sweep():
    """Return floats from everywhere: every 2^14th of all, and many of those where functions bend."""
    spread = np.arange(0, 2**32, 2**14, dtype=np.uint64).astype(np.uint32)
    x = np.concatenate([spread.view(np.float32), np.linspace(-20, 20, 100_001, dtype=np.float32)])
    return x[np.isfinite(x)]


X = sweep()
WIDE = X.astype(np.float64)


def units(y, exact):
    """Return errors in units of the last place of a float32."""
    return np.abs(y - exact) / np.spacing(np.abs(exact).astype(np.float32)).astype(np.float64)


# In units of the last place, of results that are not denormal.
BOUNDS = {
    "relu": 0,
    "leaky_relu": 1,
    "elu": 2,
    "selu": 2,
    "softplus": 3,
    "sigmoid": 2.5,
    "tanh": 2.6,
    "gelu": 6.5,
    "silu": 3.5,
}


@each_table
@pytest.mark.parametrize("name", BOUNDS)
def test_values_are_right_to_a_few_units_in_the_last_place(kernels, name):
    with np.errstate(over="ignore"):
        exact = forward(REFERENCE, name, WIDE)
        fits = np.abs(exact) < np.finfo(np.float32).max
        error = units(forward(kernels, name, X)[fits], exact[fits])
    normal = np.abs(exact[fits]) >= 1.2e-38 * np.maximum(1, np.abs(WIDE[fits]))
    assert error[normal].max() <= BOUNDS[name]


@each_table
@pytest.mark.parametrize("name", BOUNDS)
def test_denormal_values_are_rounded_and_not_flushed_to_zero(kernels, name):
    exact = forward(REFERENCE, name, WIDE)
    denormal = np.abs(exact) < 1.2e-38
    error = np.abs(forward(kernels, name, X)[denormal] - exact[denormal])
    assert (error <= 2 * TINY * np.maximum(1, np.abs(WIDE[denormal]))).all()


@each_table
def test_the_approximate_gelu_is_right_to_a_unit_of_its_argument(kernels):
    """In its tail x*sigmoid(2u) is as sensitive to x as 2u is large."""
    z = np.clip(WIDE, -40, 40)
    two_u = 2 * np.sqrt(2 / np.pi) * (z + 0.044715 * z**3)
    with np.errstate(over="ignore"):
        exact = WIDE * np.where(two_u < 0, np.exp(two_u), 1) / (1 + np.exp(-np.abs(two_u)))
    normal = np.abs(exact) >= 1.2e-38 * np.maximum(1, np.abs(WIDE))
    error = units(forward(kernels, "gelu by tanh", X), exact)
    assert (error <= 4 + 3 * np.abs(two_u))[normal].all()


@each_table
@each
def test_derivatives_are_right_to_a_few_roundings(kernels, name):
    dy = np.random.default_rng(0).normal(size=X.shape).astype(np.float32)
    with np.errstate(over="ignore"):
        value = forward(REFERENCE, name, WIDE).astype(np.float32) if name in FROM_OUTPUT else X
        exact = backward(REFERENCE, name, dy.astype(np.float64), value.astype(np.float64))
        found = backward(kernels, name, dy, value)
    error = np.abs(found - exact) / np.maximum(np.abs(dy), np.abs(exact))
    assert error.max() <= 4.5 * EPSILON


@each_table
@each
def test_what_is_not_finite_goes_where_the_reference_puts_it(kernels, name):
    with np.errstate(all="ignore"):
        expected = forward(REFERENCE, name, SPECIAL)
        found = forward(kernels, name, SPECIAL)
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
        value, dy = (a.ravel() for a in np.meshgrid(SPECIAL, SPECIAL))
        expected = backward(REFERENCE, name, dy, value)
        np.testing.assert_allclose(backward(kernels, name, dy, value), expected, rtol=1e-6, atol=1e-6)


@each_table
def test_relu_has_the_reference_s_bits(kernels):
    dy = X[::-1].copy()
    same_bits(kernels.relu(X), REFERENCE.relu(X))
    same_bits(kernels.relu_backward(dy, X), REFERENCE.relu_backward(dy, X))


@each_table
@each
def test_a_number_s_result_does_not_depend_on_its_place(kernels, name):
    x, dy = np.random.default_rng(0).normal(size=(2, 100)).astype(np.float32)
    y, dx = forward(kernels, name, x), backward(kernels, name, dy, x)
    for first in (0, 1, 3, 4, 5, 8, 16, 17, 33):
        for size in (0, 1, 2, 5, 16, 31, 40):
            part = slice(first, first + size)
            same_bits(forward(kernels, name, x[part]), y[part])
            same_bits(backward(kernels, name, dy[part], x[part]), dx[part])


@each_table
@each
@pytest.mark.parametrize("shape", [(), (1, 1, 1, 1), (0, 3), (3, 5, 7, 17), *((n,) for n in SIZES)], ids=str)
def test_shapes_and_memory_orders(kernels, name, shape):
    x, dy = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    x, dy = np.asarray(x), np.asarray(dy)  # of a shape without axes, too
    y, dx = forward(kernels, name, x), backward(kernels, name, dy, x)
    assert y.shape == dx.shape == shape
    assert y.dtype == dx.dtype == np.float32
    np.testing.assert_allclose(y, forward(REFERENCE, name, x), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(dx, backward(REFERENCE, name, dy, x), rtol=1e-5, atol=1e-6)
    same_bits(forward(kernels, name, strided(x)), y)
    same_bits(backward(kernels, name, strided(dy), strided(x)), dx)


@each_table
@each
def test_the_number_of_threads_changes_nothing(kernels, name):
    x, dy = np.random.default_rng(0).normal(size=(2, 200_003)).astype(np.float32)
    with threads(1):
        y, dx = forward(kernels, name, x), backward(kernels, name, dy, x)
    for n in (2, 3):
        with threads(n):
            same_bits(forward(kernels, name, x), y)
            same_bits(backward(kernels, name, dy, x), dx)


@each_table
def test_results_larger_than_the_cache_are_the_same(kernels):
    x = np.arange(-4_500_000, 4_500_003, dtype=np.float32)
    same_bits(kernels.relu(x[1:]), REFERENCE.relu(x[1:]))
    same_bits(kernels.add(x, x), x + x)


@pytest.mark.parametrize("name", ["relu", "elu"])
def test_what_is_not_float32_goes_to_the_reference(name):
    kernels = next(iter(COMPILED.values()))
    x, dy = np.random.default_rng(0).normal(size=(2, 4, 5))
    same_bits(forward(kernels, name, x), forward(REFERENCE, name, x))
    same_bits(backward(kernels, name, dy, x), backward(REFERENCE, name, dy, x))
    mixed = dy.astype(np.float32), x
    same_bits(backward(kernels, name, *mixed), backward(REFERENCE, name, *mixed))


COLUMNS = (1, 2, 3, 10, 15, 16, 17, 64, 70, 1000)


@each_table
@pytest.mark.parametrize("k", COLUMNS)
@pytest.mark.parametrize("rows", [(0,), (1,), (5,), (2, 3)], ids=str)
def test_softmax_is_that_of_the_reference_in_float64(kernels, k, rows):
    x, dy = (4 * np.random.default_rng(k).normal(size=(2, *rows, k))).astype(np.float32)
    y = kernels.softmax(x)
    exact = REFERENCE.softmax(x.astype(np.float64))
    np.testing.assert_allclose(y, exact, rtol=3e-6)  # of which x - max has most
    dx = kernels.softmax_backward(dy, y)
    exact = REFERENCE.softmax_backward(dy.astype(np.float64), y.astype(np.float64))
    np.testing.assert_allclose(dx, exact, rtol=1e-6, atol=1e-6)
    assert y.shape == dx.shape == (*rows, k)
    same_bits(kernels.softmax(strided(x)), y)
    same_bits(kernels.softmax_backward(strided(dy), strided(y)), dx)


@each_table
@pytest.mark.parametrize("k", [3, 17, 40])
def test_softmax_of_a_row_that_is_not_finite(kernels, k):
    x = np.random.default_rng(0).normal(size=(9, k)).astype(np.float32)
    x[1, 0] = x[2, k - 1] = np.nan
    x[3, 1], x[4, 1] = np.inf, -np.inf
    x[5] = -np.inf
    x[6], x[7], x[8] = np.nan, 1e30, -1e30
    with np.errstate(all="ignore"):
        y, expected = kernels.softmax(x), REFERENCE.softmax(x)
    np.testing.assert_allclose(y, expected, rtol=1e-6)
    assert np.isnan(y).all(axis=1).tolist() == [False, True, True, False, False, True, True, False, False]


@each_table
def test_softmax_does_not_depend_on_the_number_of_threads(kernels):
    x = np.random.default_rng(0).normal(size=(5000, 17)).astype(np.float32)
    with threads(1):
        y = kernels.softmax(x)
        dx = kernels.softmax_backward(x, y)
    with threads(3):
        same_bits(kernels.softmax(x), y)
        same_bits(kernels.softmax_backward(x, y), dx)
