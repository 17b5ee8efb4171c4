"""Compiled updates: one step of each rule against the reference, in place, on the arrays they move alone."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE
from tests.kernels.cpu.tables import COMPILED, SIZES, each_table, same_bits, threads

# name: (kernel, vectors of state, numbers)
ADAM = {"lr": 0.01, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-8}
RULES = {
    "sgd": ("sgd", 0, {"lr": 0.1}),
    "sgd first": ("sgd", 1, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "t": 1}),
    "sgd momentum": ("sgd", 1, {"lr": 0.1, "momentum": 0.9, "dampening": 0.3, "t": 2}),
    "sgd nesterov": ("sgd", 1, {"lr": 0.1, "momentum": 0.9, "nesterov": True, "t": 7}),
    "adagrad": ("adagrad", 1, {"lr": 0.1, "epsilon": 1e-10}),
    "adadelta": ("adadelta", 2, {"lr": 1.0, "rho": 0.95, "epsilon": 1e-6}),
    "rmsprop": ("rmsprop", 1, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8}),
    "rmsprop centered": ("rmsprop", 2, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8}),
    "rmsprop with all": ("rmsprop", 3, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8, "momentum": 0.5}),
    "adam": ("adam", 2, {**ADAM, "t": 1}),
    "adam later": ("adam", 2, {**ADAM, "t": 1000}),
    "adamw": ("adam", 2, {**ADAM, "t": 3, "decoupled": True}),
}
each_rule = pytest.mark.parametrize("name", RULES)


def arrays(name, n, seed=0):
    """Return parameters, gradient and state: a mean of squares between 2 and 3, then numbers below 1."""
    rng = np.random.default_rng(seed)
    p, g = rng.normal(size=(2, n)).astype(np.float32)
    return [p, g, *((rng.random(n) + 2 * (i == 0)).astype(np.float32) for i in range(RULES[name][1]))]


def step(kernels, name, vectors, **more):
    kernel, _, numbers = RULES[name]
    assert getattr(kernels, kernel)(*vectors, **{**numbers, **more}) is None


@each_table
@each_rule
@pytest.mark.parametrize("weight_decay", [0.0, 0.1])
def test_a_step_is_that_of_the_reference_in_float64(kernels, name, weight_decay):
    for n in (0, *SIZES):
        vectors = arrays(name, n)
        exact = [a.astype(np.float64) for a in vectors]
        g = vectors[1].copy()
        step(kernels, name, vectors, weight_decay=weight_decay)
        step(REFERENCE, name, exact, weight_decay=weight_decay)
        same_bits(vectors[1], g)
        for found, expected in zip(vectors, exact, strict=True):
            np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-7)


@each_table
@each_rule
def test_parameters_and_all_state_move(kernels, name):
    vectors = arrays(name, 100)
    before = [a.copy() for a in vectors]
    step(kernels, name, vectors)
    assert [bool((a != b).all()) for a, b in zip(vectors, before, strict=True)] == [
        i != 1 for i in range(len(vectors))
    ]


@each_table
@each_rule
def test_a_vector_moves_as_its_parts_do_wherever_they_begin(kernels, name):
    whole = arrays(name, 200)
    apart = [a.copy() for a in whole]
    views = [np.empty(203, np.float32)[3:] for _ in whole]
    for view, a in zip(views, whole, strict=True):
        view[...] = a
    step(kernels, name, whole, weight_decay=0.1)
    step(kernels, name, views, weight_decay=0.1)
    for begin, end in itertools.pairwise((0, 3, 4, 6, 7, 70, 200)):
        step(kernels, name, [a[begin:end] for a in apart], weight_decay=0.1)
    for i, a in enumerate(whole):
        same_bits(apart[i], a)
        same_bits(views[i].copy(), a)


@each_table
@each_rule
def test_the_number_of_threads_changes_nothing(kernels, name):
    with threads(1):
        expected = arrays(name, 300_001)
        step(kernels, name, expected)
    for n in (2, 3):
        with threads(n):
            found = arrays(name, 300_001)
            step(kernels, name, found)
        for a, b in zip(found, expected, strict=True):
            same_bits(a, b)


@each_table
@each_rule
def test_what_is_not_finite_stays_in_its_element(kernels, name):
    vectors = arrays(name, 40)
    exact = [a.astype(np.float64) for a in vectors]
    for a in (vectors, exact):
        a[1][3], a[1][20], a[0][30] = np.nan, np.inf, np.nan
    with np.errstate(all="ignore"):
        step(kernels, name, vectors)
        step(REFERENCE, name, exact)
    for found, expected in zip(vectors, exact, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    assert np.isnan(vectors[0][[3, 30]]).all()


@each_table
def test_centered_rmsprop_takes_a_variance_that_was_rounded_below_zero_for_zero(kernels):
    p, g, m = np.zeros(40, np.float32), np.ones(40, np.float32), np.ones(40, np.float32)
    kernels.rmsprop(p, g, np.full(40, 0.999, np.float32), m, lr=1.0, rho=1.0, epsilon=0.5)
    np.testing.assert_array_equal(p, np.full(40, -2.0))


@each_table
def test_a_gradient_may_lie_in_any_order(kernels):
    p, g = arrays("sgd", 40)
    q = p.copy()
    spread = np.zeros(80, np.float32)
    spread[::2] = g
    kernels.sgd(p, g, lr=0.1)
    kernels.sgd(q, spread[::2], lr=0.1)
    same_bits(p, q)


@pytest.mark.parametrize("name", ["sgd momentum", "adam"])
def test_what_is_not_float32_in_one_piece_goes_to_the_reference(name):
    kernels = next(iter(COMPILED.values()))

    def in_steps(a):
        wide = np.zeros(2 * a.size, a.dtype)
        wide[::2] = a
        return wide[::2]

    for change in (in_steps, lambda a: a.astype(np.float64)):
        found, expected = ([change(a) for a in arrays(name, 33)] for _ in range(2))
        step(kernels, name, found)
        step(REFERENCE, name, expected)
        for a, b in zip(found, expected, strict=True):
            np.testing.assert_array_equal(a, b)
    found, expected = arrays(name, 33), arrays(name, 33)
    found[2], expected[2] = found[2].astype(np.float64), expected[2].astype(np.float64)
    step(kernels, name, found)
    step(REFERENCE, name, expected)
    same_bits(found[0], expected[0])


def test_a_locked_parameter_is_not_written():
    kernels = next(iter(COMPILED.values()))
    p, g = arrays("sgd", 33)
    p.flags.writeable = False
    with pytest.raises(ValueError, match="read-only"):
        kernels.sgd(p, g, lr=0.1)
