"""Compiled losses against the reference in float64."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE
from tests.kernels.cpu.tables import COMPILED, each_table, same_bits, strided, threads

SHAPES = [(1, 2), (1, 1), (3, 3), (7, 10), (64, 16), (5, 17), (33, 64), (2, 1000), (2000, 10)]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)
each_smoothing = pytest.mark.parametrize("smoothing", [0.0, 0.1, 1.0])


def wide(a):
    return a.astype(np.float64)


def logits(shape, scale=3.0):
    rng = np.random.default_rng(shape[0])
    return rng, (scale * rng.normal(size=shape)).astype(np.float32)


def assert_close(found, expected, n):
    """Require a float64 value and a float32 gradient, right to some roundings of their terms."""
    (value, dz), (exact, exact_dz) = found, expected
    assert value.dtype == np.float64
    assert value.shape == ()
    assert dz.dtype == np.float32
    np.testing.assert_allclose(value, exact, rtol=5e-7, atol=1e-7)
    np.testing.assert_allclose(dz, exact_dz, rtol=1e-6, atol=3e-7 / n)


@each_table
@each_shape
@each_smoothing
@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_cross_entropy_of_classes(kernels, shape, smoothing, dtype):
    rng, z = logits(shape)
    labels = rng.integers(0, min(shape[1], 256), shape[0]).astype(dtype)
    expected = REFERENCE.softmax_cross_entropy(wide(z), labels, smoothing=smoothing)
    found = kernels.softmax_cross_entropy(z, labels, smoothing=smoothing)
    assert_close(found, expected, shape[0])
    same_bits(kernels.softmax_cross_entropy(strided(z), strided(labels), smoothing=smoothing)[1], found[1])


@each_table
@each_shape
@each_smoothing
def test_cross_entropy_of_targets(kernels, shape, smoothing):
    rng, z = logits(shape)
    for t in (rng.random(shape), rng.random(shape) < 0.3, np.zeros(shape)):
        expected = REFERENCE.softmax_cross_entropy(wide(z), t, smoothing=smoothing)
        found = kernels.softmax_cross_entropy(z, t, smoothing=smoothing)
        (value, dz), (exact, exact_dz) = found, expected
        scale = max(float(np.sum(t, axis=1).max()), 1.0)
        np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(dz, exact_dz, rtol=1e-6, atol=5e-7 * scale / shape[0])


@each_table
def test_the_gradient_of_a_sure_row_keeps_its_digits(kernels):
    """1 - p is 1e-8 here, which is lost if p is rounded first."""
    z = np.array([[0.0, -18.0, -19.0]], np.float32)
    value, dz = kernels.softmax_cross_entropy(z, np.array([0]))
    exact, exact_dz = REFERENCE.softmax_cross_entropy(wide(z), np.array([0]))
    np.testing.assert_allclose(value, exact, rtol=1e-6)
    np.testing.assert_allclose(dz, exact_dz, rtol=1e-6)


@each_table
def test_a_class_that_does_not_exist_is_no_target(kernels):
    """As in the reference, which has no one-hot column for it; the loss class checks before."""
    _, z = logits((4, 3))
    labels = np.array([0, 3, -1, 2**40])
    expected = REFERENCE.softmax_cross_entropy(wide(z), labels)
    assert_close(kernels.softmax_cross_entropy(z, labels), expected, 4)


@each_table
@pytest.mark.parametrize("k", [3, 20])
@pytest.mark.parametrize("smoothing", [0.0, 0.2])
def test_rows_that_are_not_finite(kernels, k, smoothing):
    labels = np.zeros(1, np.int64)
    one_hot = np.eye(1, k)
    rows = np.zeros((8, k), np.float32)
    rows[1, 0] = rows[2, k - 1] = np.nan
    rows[3, 1], rows[4, 1], rows[5, 0] = np.inf, -np.inf, -np.inf
    rows[6], rows[7, 0] = -np.inf, 1e30
    with np.errstate(all="ignore"):
        for row in rows:
            for t in (labels, one_hot):
                expected = REFERENCE.softmax_cross_entropy(row[None], t, smoothing=smoothing)
                value, dz = kernels.softmax_cross_entropy(row[None], t, smoothing=smoothing)
                np.testing.assert_allclose(value, expected[0], rtol=1e-5)
                np.testing.assert_allclose(dz, expected[1], rtol=1e-5, atol=1e-6)


@each_table
@each_shape
def test_binary_cross_entropy(kernels, shape):
    rng, z = logits(shape, scale=10.0)
    for t in (rng.random(shape), rng.integers(0, 2, shape), rng.random(shape) < 0.5):
        expected = REFERENCE.binary_cross_entropy(wide(z), t)
        found = kernels.binary_cross_entropy(z, t)
        assert_close(found, expected, z.size)
        same_bits(kernels.binary_cross_entropy(strided(z), strided(t))[1], found[1])


@each_table
@pytest.mark.parametrize("t", [0.0, 0.3, 1.0])
def test_binary_cross_entropy_of_large_and_infinite_logits(kernels, t):
    for z in (1e4, -1e4, 88.0, -88.0, 104.0, -104.0, 3e38, -3e38, np.inf, -np.inf, np.nan):
        z, targets = np.array([z], np.float32), np.array([t])
        with np.errstate(all="ignore"):
            exact, exact_dz = REFERENCE.binary_cross_entropy(z, targets)
            value, dz = kernels.binary_cross_entropy(z, targets)
        np.testing.assert_allclose(value, exact, rtol=1e-6, atol=1e-38)
        np.testing.assert_allclose(dz, exact_dz, rtol=1e-6, atol=1e-38)


@each_table
@each_shape
def test_mean_squared_error(kernels, shape):
    rng, z = logits(shape)
    for t in (rng.normal(size=shape).astype(np.float32), rng.integers(-3, 3, shape)):
        expected = REFERENCE.mean_squared_error(wide(z), t)
        found = kernels.mean_squared_error(z, t)
        assert_close(found, expected, z.size / 10)
        same_bits(kernels.mean_squared_error(strided(z), strided(t))[1], found[1])


LOSSES = ("softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error")


@each_table
@pytest.mark.parametrize("name", LOSSES)
def test_an_empty_batch_has_no_loss(kernels, name):
    value, dz = getattr(kernels, name)(np.zeros((0, 3), np.float32), np.zeros((0, 3)))
    assert value == 0
    assert dz.shape == (0, 3)


@each_table
@pytest.mark.parametrize("name", LOSSES)
@pytest.mark.parametrize("k", [10, 1000])
def test_value_and_gradient_do_not_depend_on_the_number_of_threads(kernels, name, k):
    rng, z = logits((200_000 // k, k))
    t = rng.random(z.shape)
    with threads(1):
        value, dz = getattr(kernels, name)(z, t)
    for n in (2, 3):
        with threads(n):
            again, dz_again = getattr(kernels, name)(z, t)
            assert again == value
            same_bits(dz_again, dz)


@each_table
@pytest.mark.parametrize("name", LOSSES)
def test_many_rows_are_summed_in_double_precision(kernels, name):
    _, z = logits((30_000, 4), scale=1.0)
    t = np.tile(np.eye(4), (7_500, 1))
    value, _ = getattr(kernels, name)(z, t)
    np.testing.assert_allclose(value, getattr(REFERENCE, name)(wide(z), t)[0], rtol=3e-8)


@pytest.mark.parametrize("name", LOSSES)
def test_what_is_not_float32_and_real_goes_to_the_reference(name):
    kernels = next(iter(COMPILED.values()))
    rng, z = logits((5, 4))
    t = rng.random((5, 4))
    for a, b in ((wide(z), t), (z + 0j, t)):
        value, dz = getattr(kernels, name)(a, b)
        expected, expected_dz = getattr(REFERENCE, name)(a, b)
        assert value == expected
        same_bits(dz, expected_dz)
