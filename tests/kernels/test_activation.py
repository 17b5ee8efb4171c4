"""Activations: their values where it is hard to get them right, and their derivatives at the kink."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE
from handgrad.kernels.reference.special import erfc

POINTS = np.concatenate(
    [np.linspace(-12, 12, 97), [-1e-3, -1e-9, 1e-9, 1e-3, -30.0, 30.0, -700.0, 700.0, -1e4, 1e4]]
)
SELU_ALPHA, SELU_SCALE = 1.67326324235437728, 1.05070098735548049


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > -700 else 0.0


def phi(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def density(x):
    return math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


def elu(x, a):
    return x if x > 0 else a * math.expm1(x)


def u(x):
    return math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)


def du(x):
    return math.sqrt(2 / math.pi) * (1 + 3 * 0.044715 * x * x)


# name: (arguments, function, derivative), of the standard library's functions alone
DEFINITIONS = {
    "relu": ((), {}, lambda x: max(x, 0.0), lambda x: float(x > 0)),
    "leaky_relu": ((0.1,), {}, lambda x: x if x > 0 else 0.1 * x, lambda x: 1.0 if x > 0 else 0.1),
    "elu": ((0.7,), {}, lambda x: elu(x, 0.7), lambda x: 1.0 if x > 0 else 0.7 * math.exp(x)),
    "selu": (
        (),
        {},
        lambda x: SELU_SCALE * elu(x, SELU_ALPHA),
        lambda x: SELU_SCALE * (1.0 if x > 0 else SELU_ALPHA * math.exp(x)),
    ),
    "softplus": ((), {}, lambda x: max(x, 0.0) + math.log1p(math.exp(-abs(x))), sigmoid),
    "sigmoid": ((), {}, sigmoid, lambda x: sigmoid(x) * sigmoid(-x)),
    "tanh": ((), {}, math.tanh, lambda x: 1 - math.tanh(x) ** 2),
    "silu": ((), {}, lambda x: x * sigmoid(x), lambda x: sigmoid(x) * (1 + x * sigmoid(-x))),
    "gelu": ((), {}, lambda x: x * phi(x), lambda x: phi(x) + x * density(x)),
    "gelu by tanh": (
        (),
        {"approximate": True},
        lambda x: 0.5 * x * (1 + math.tanh(u(x))),
        lambda x: 0.5 * (1 + math.tanh(u(x))) + 0.5 * x * (1 - math.tanh(u(x)) ** 2) * du(x),
    ),
}
FROM_OUTPUT = {"relu", "sigmoid", "tanh"}
each = pytest.mark.parametrize("name", DEFINITIONS)


def kernels(name):
    """Return the function and its derivative at x."""
    args, kwargs, _, _ = DEFINITIONS[name]
    kernel = name.partition(" ")[0]
    forward, backward = getattr(REFERENCE, kernel), getattr(REFERENCE, f"{kernel}_backward")

    def derivative(x):
        value = forward(x, *args, **kwargs) if name in FROM_OUTPUT else x
        return backward(np.ones_like(x), value, *args, **kwargs)

    return (lambda x: forward(x, *args, **kwargs)), derivative


@each
@pytest.mark.parametrize(("dtype", "rtol", "atol"), [(np.float64, 1e-13, 1e-15), (np.float32, 2e-6, 2e-7)])
def test_values_are_those_of_the_definition(name, dtype, rtol, atol):
    x = POINTS.astype(dtype)
    *_, f, df = DEFINITIONS[name]
    function, derivative = kernels(name)
    if name == "gelu by tanh":  # 1 + tanh loses in its tail what is lost near 1
        atol *= 10
    np.testing.assert_allclose(function(x), [f(float(v)) for v in x], rtol=rtol, atol=atol)
    np.testing.assert_allclose(derivative(x), [df(float(v)) for v in x], rtol=rtol, atol=atol)


@each
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nothing_overflows(name, dtype):
    largest = float(np.finfo(dtype).max) / 2  # SELU multiplies by 1.05
    x = np.array([-largest, -1e30, -1e4, -89.0, 89.0, 1e4, 1e30, largest], dtype)
    function, derivative = kernels(name)
    assert np.isfinite(function(x)).all()
    assert np.isfinite(derivative(x)).all()


def test_softplus_of_1000_is_1000():
    assert REFERENCE.softplus(np.array([1000.0], np.float32))[0] == 1000
    assert REFERENCE.softplus(np.array([-1000.0], np.float32))[0] == 0


@pytest.mark.parametrize(
    ("name", "at_zero"), [("relu", 0.0), ("leaky_relu", 0.1), ("elu", 0.7), ("gelu", 0.5)]
)
def test_derivative_at_zero(name, at_zero):
    assert kernels(name)[1](np.array([0.0, -0.0])) == pytest.approx([at_zero, at_zero], rel=1e-15)


@each
def test_nan_stays_nan(name):
    function, derivative = kernels(name)
    x = np.array([np.nan, 1.0, -1.0])
    assert np.isnan(function(x)).tolist() == [True, False, False]
    assert not np.isnan(derivative(x))[1:].any()


def test_softmax_is_that_of_the_definition_and_does_not_overflow():
    x = np.array([[1.0, 2.0, 4.0], [1e4, 1e4, -1e4], [0.0, 0.0, 0.0]])
    y = REFERENCE.softmax(x)
    total = math.e + math.e**2 + math.e**4
    np.testing.assert_allclose(y[0], [math.e / total, math.e**2 / total, math.e**4 / total], rtol=1e-14)
    np.testing.assert_array_equal(y[1], [0.5, 0.5, 0.0])
    np.testing.assert_allclose(y.sum(axis=1), 1, rtol=1e-15)


def test_softmax_backward_is_the_whole_jacobian():
    x, dy = np.random.default_rng(0).normal(size=(2, 4))
    y = REFERENCE.softmax(x)
    jacobian = np.diag(y) - np.outer(y, y)
    np.testing.assert_allclose(REFERENCE.softmax_backward(dy, y), jacobian @ dy, rtol=1e-13)
    assert np.abs(REFERENCE.softmax_backward(np.ones(4), y)).max() < 1e-16


def test_erfc_is_right_to_rounding_also_in_its_tail():
    x = np.concatenate([np.linspace(-6, 6, 1001), np.linspace(6, 26, 401)])
    expected = np.array([math.erfc(v) for v in x])
    np.testing.assert_allclose(erfc(x), expected, rtol=2e-13)  # exp(-x^2) alone loses x^2 roundings


def test_erfc_of_complex_numbers_carries_the_derivative():
    x = np.linspace(-5, 5, 101)
    derivative = erfc(x + 1e-30j).imag / 1e-30
    np.testing.assert_allclose(derivative, -2 / math.sqrt(math.pi) * np.exp(-x * x), rtol=1e-12, atol=1e-15)
