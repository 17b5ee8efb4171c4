"""Compiled dropout drops what the reference drops, bit for bit."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from tests.kernels.cpu.tables import COMPILED, SIZES, each_table, same_bits, strided, threads

# 2**-25 is between two of the numbers that are drawn; 1 - 2**-30 is not 1, but is to float32
RATES = (2.0**-30, 2.0**-25, 2.0**-24, 0.1, 0.3, 0.5, 0.7, 1 - 2.0**-24, 1 - 2.0**-25, 1 - 2.0**-30)


def normal(*shape, seed=0):
    return np.asarray(np.random.default_rng(seed).normal(size=shape).astype(np.float32))


def assert_same(kernels, x, rate, key):
    """Raise unless forward and backward have the bits of the reference."""
    y, mask = kernels.dropout(x, rate, Stream(key))
    expected, expected_mask = REFERENCE.dropout(x, rate, Stream(key))
    same_bits(mask, expected_mask)
    same_bits(mask, Stream(key).keep(x.shape, 1 - rate))
    same_bits(y, expected)
    same_bits(kernels.dropout_backward(x, mask, rate), REFERENCE.dropout_backward(x, mask, rate))


@each_table
@pytest.mark.parametrize("shape", [(), (0, 4), (3, 5, 7, 17), *((n,) for n in SIZES)], ids=str)
def test_masks_are_those_of_the_reference(kernels, shape):
    for key in ((0,), ("step", 3), (2**70, "dropout_1")):
        assert_same(kernels, normal(*shape), 0.4, key)


@each_table
@pytest.mark.parametrize("rate", RATES)
def test_every_rate_is_compared_as_the_reference_compares(kernels, rate):
    assert_same(kernels, normal(200_003), rate, ("rate",))


@each_table
def test_the_largest_number_drawn_is_kept_or_not_as_the_reference_says(kernels):
    """The rates at which the numbers of one stream are just dropped, and just kept."""
    u = Stream(("u",)).generator().random((64,), np.float32).astype(np.float64)
    for number in u[:8]:
        for keep in (number - 2.0**-26, number, number + 2.0**-26, number + 2.0**-24):
            assert_same(kernels, np.ones(64, np.float32), 1 - keep, ("u",))


@each_table
def test_what_is_not_finite_goes_where_the_reference_puts_it(kernels):
    x = np.tile(np.array([np.nan, np.inf, -np.inf, -0.0], np.float32), 50)
    with np.errstate(invalid="ignore"):
        y, mask = kernels.dropout(x, 0.5, Stream((1,)))
        np.testing.assert_array_equal(y, REFERENCE.dropout(x, 0.5, Stream((1,)))[0])
        np.testing.assert_array_equal(
            kernels.dropout_backward(x, mask, 0.5), REFERENCE.dropout_backward(x, mask, 0.5)
        )
    assert np.isnan(y[::4]).all()


@each_table
def test_memory_order_and_the_number_of_threads_change_nothing(kernels):
    x = normal(3, 70_001)
    with threads(1):
        y, mask = kernels.dropout(x, 0.3, Stream((5,)))
        dx = kernels.dropout_backward(x, mask, 0.3)
    for n in (2, 3):
        with threads(n):
            again, mask_again = kernels.dropout(strided(x), 0.3, Stream((5,)))
            same_bits(again, y)
            same_bits(mask_again, mask)
            same_bits(kernels.dropout_backward(strided(x), strided(mask), 0.3), dx)


def test_float64_goes_to_the_reference():
    kernels = next(iter(COMPILED.values()))
    x = normal(40).astype(np.float64)
    y, mask = kernels.dropout(x, 0.3, Stream((5,)))
    assert y.dtype == np.float64
    same_bits(y, REFERENCE.dropout(x, 0.3, Stream((5,)))[0])
    same_bits(kernels.dropout_backward(x, mask, 0.3), REFERENCE.dropout_backward(x, mask, 0.3))
    same_bits(mask, kernels.dropout(x.astype(np.float32), 0.3, Stream((5,)))[1])
