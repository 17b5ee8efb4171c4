"""Compiled questions about gradients."""

from __future__ import annotations

import numpy as np
import pytest

from tests.kernels.cpu.tables import SIZES, each_table, strided, threads


@each_table
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_seen_wherever_it_is(kernels, bad):
    for n in SIZES:
        g = np.full(n, 3e38, np.float32)
        g[::2] = -3e38
        assert kernels.all_finite(g)
        for place in {0, n // 2, n - 1}:
            g = np.ones(n, np.float32)
            g[place] = bad
            assert not kernels.all_finite(g)
            assert not np.isfinite(kernels.sum_of_squares(g))
            assert not kernels.all_finite(strided(g))


@each_table
def test_infinities_of_both_signs_do_not_make_up_for_each_other(kernels):
    g = np.zeros(100_000, np.float32)
    g[0], g[-1] = np.inf, -np.inf
    with threads(2):
        assert not kernels.all_finite(g)


@each_table
def test_sums_of_squares_are_taken_in_double_precision(kernels):
    for n in SIZES:
        g = (1e30 * np.random.default_rng(n).normal(size=n)).astype(np.float32)
        exact = np.sum(g.astype(np.float64) ** 2)
        assert kernels.sum_of_squares(g) == pytest.approx(exact, rel=1e-14)
        assert kernels.sum_of_squares(strided(g)) == pytest.approx(exact, rel=1e-14)
    g = np.ones(1025, np.float32)
    g[0] = 2**13
    assert kernels.sum_of_squares(g) == 2**26 + 1024


@each_table
def test_nothing_is_finite_and_has_no_length(kernels):
    g = np.zeros(0, np.float32)
    assert kernels.all_finite(g)
    assert kernels.sum_of_squares(g) == 0
    assert kernels.sum_of_squares(g).dtype == np.float64


@each_table
def test_sums_do_not_depend_on_the_number_of_threads(kernels):
    g = np.random.default_rng(0).normal(size=300_001).astype(np.float32)
    found = set()
    for n in (1, 2, 3):
        with threads(n):
            found.add(float(kernels.sum_of_squares(g)))
    assert len(found) == 1
