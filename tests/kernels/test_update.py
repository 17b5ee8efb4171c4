"""The update kernels: one step of each formula, in place, on the arrays they are there to move alone."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.reference.update import adadelta, adagrad, adam, rmsprop, sgd


@pytest.fixture
def rng():
    return np.random.default_rng(0)


RULES = [
    (sgd, 0, {"lr": 0.1}),
    (sgd, 1, {"lr": 0.1, "momentum": 0.9, "t": 1}),
    (sgd, 1, {"lr": 0.1, "momentum": 0.9, "t": 3, "nesterov": True}),
    (adagrad, 1, {"lr": 0.1, "epsilon": 1e-8}),
    (adadelta, 2, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-6}),
    (rmsprop, 1, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8}),
    (rmsprop, 3, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8, "momentum": 0.9}),
    (adam, 2, {"lr": 0.1, "t": 3, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}),
    (adam, 2, {"lr": 0.1, "t": 3, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8, "decoupled": True}),
]
rules = pytest.mark.parametrize(("rule", "states", "numbers"), RULES)


def arrays(rng, states, dtype=np.float64):
    """Return parameters, gradient and state: a mean of squares between 1 and 2, then numbers below 1."""
    p, g = rng.normal(size=(2, 7)).astype(dtype)
    return p, g, [(rng.random(7) + (i == 0)).astype(dtype) for i in range(states)]


@rules
@pytest.mark.parametrize("weight_decay", [0.0, 0.5])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_moves_parameters_and_state_in_place_but_never_the_gradient(
    rule, states, numbers, weight_decay, dtype, rng
):
    p, g, state = arrays(rng, states, dtype)
    before = [a.copy() for a in (p, *state)]
    kept = g.copy()
    g.flags.writeable = False
    assert rule(p, g, *state, weight_decay=weight_decay, **numbers) is None
    np.testing.assert_array_equal(g, kept)
    for a, b in zip((p, *state), before, strict=True):
        assert a.dtype == dtype
        assert (a != b).all()


@rules
def test_a_vector_moves_as_its_parts_do(rule, states, numbers, rng):
    p, g, state = arrays(rng, states)
    parts = [[a[s].copy() for a in (p, g, *state)] for s in (slice(0, 3), slice(3, 7))]
    rule(p, g, *state, weight_decay=0.1, **numbers)
    for part in parts:
        rule(*part, weight_decay=0.1, **numbers)
    for i, whole in enumerate((p, g, *state)):
        np.testing.assert_array_equal(np.concatenate([part[i] for part in parts]), whole)


@rules
def test_nan_passes_through_and_stays_in_its_element(rule, states, numbers, rng):
    p, g, state = arrays(rng, states)
    g[2] = np.nan
    rule(p, g, *state, **numbers)
    assert np.isnan(p[2])
    assert np.isfinite(np.delete(p, 2)).all()


def test_sgd_follows_its_formula():
    p, g, b = np.array([1.0]), np.array([2.0]), np.array([3.0])
    sgd(p, g, b, lr=0.1, t=2, momentum=0.5, dampening=0.25, weight_decay=0.5)
    assert b == 0.5 * 3 + 0.75 * (2 + 0.5 * 1)
    assert p == pytest.approx(1 - 0.1 * b)


def test_nesterov_steps_from_where_the_velocity_leads():
    p, g, b = np.array([1.0]), np.array([2.0]), np.array([3.0])
    sgd(p, g, b, lr=0.1, t=2, momentum=0.5, nesterov=True)
    assert b == 0.5 * 3 + 2
    assert p == pytest.approx(1 - 0.1 * (2 + 0.5 * 3.5))


def test_adagrad_follows_its_formula():
    p, g, s = np.array([1.0]), np.array([2.0]), np.array([5.0])
    adagrad(p, g, s, lr=0.3, epsilon=1.0)
    assert s == 9
    assert p == pytest.approx(1 - 0.3 * 2 / (3 + 1))


def test_adadelta_follows_its_formula_with_the_mean_of_earlier_steps():
    p, g, v, u = np.array([1.0]), np.array([2.0]), np.array([3.0]), np.array([7.0])
    adadelta(p, g, v, u, lr=0.5, rho=0.75, epsilon=2.0)
    assert v == 0.75 * 3 + 0.25 * 4
    d = np.sqrt(9) / np.sqrt(3.25 + 2) * 2
    assert u == pytest.approx(0.75 * 7 + 0.25 * d**2)
    assert p == pytest.approx(1 - 0.5 * d)


def test_rmsprop_follows_its_formula():
    p, g, v, m, b = (np.array([x]) for x in (1.0, 2.0, 3.0, 0.5, 7.0))
    rmsprop(p, g, v, m, b, lr=0.1, rho=0.75, epsilon=0.5, momentum=0.25)
    assert v == 0.75 * 3 + 0.25 * 4
    assert m == 0.75 * 0.5 + 0.25 * 2
    assert b == pytest.approx(0.25 * 7 + 2 / (np.sqrt(3.25 - 0.875**2) + 0.5))
    assert p == pytest.approx(1 - 0.1 * b)


def test_centered_rmsprop_stays_finite_when_the_variance_rounds_below_zero():
    g = np.full(1000, 0.1, np.float32) * np.linspace(1, 2, 1000, dtype=np.float32)
    p, v, m = np.zeros_like(g), np.zeros_like(g), np.zeros_like(g)
    for _ in range(400):
        rmsprop(p, g, v, m, lr=1e-9, rho=0.9, epsilon=1e-8)
    assert (v - m * m < 0).any()
    assert np.isfinite(p).all()


def test_adam_follows_its_formula():
    p, g, m, v = np.array([1.0]), np.array([2.0]), np.array([3.0]), np.array([5.0])
    adam(p, g, m, v, lr=0.1, t=3, beta_1=0.5, beta_2=0.75, epsilon=0.25)
    assert m == 0.5 * 3 + 0.5 * 2
    assert v == 0.75 * 5 + 0.25 * 4
    mhat, vhat = m / (1 - 0.5**3), v / (1 - 0.75**3)
    assert p == pytest.approx(1 - 0.1 * mhat / (np.sqrt(vhat) + 0.25))


def test_decoupled_decay_leaves_the_means_of_gradients_alone():
    numbers = {"lr": 0.1, "t": 1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}
    p, q = np.array([10.0]), np.array([9.5])
    m, v, m0, v0 = np.zeros((4, 1))
    adam(p, np.array([2.0]), m, v, weight_decay=0.5, decoupled=True, **numbers)
    adam(q, np.array([2.0]), m0, v0, **numbers)
    np.testing.assert_allclose([p, m, v], [q, m0, v0], rtol=1e-15)
