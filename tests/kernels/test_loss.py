"""The loss kernels: value and gradient agree with each other, for every kind of array and number."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest

from handgrad.kernels.reference.loss import binary_cross_entropy, mean_squared_error, softmax_cross_entropy

N, K = 6, 5


@pytest.fixture
def rng():
    return np.random.default_rng(0)


def smoothed(z, t):
    return softmax_cross_entropy(z, t, smoothing=0.2)


def inputs(name, rng):
    """Return logits and labels for a kernel."""
    z = 3 * rng.normal(size=(N, K))
    return z, {
        "classes": rng.integers(0, K, N),
        "probabilities": (t := rng.random((N, K))) / t.sum(axis=1, keepdims=True),
        "weights": rng.random((N, K)),
        "numbers": rng.normal(size=(N, K)),
    }[name]


CASES = [
    (softmax_cross_entropy, "classes"),
    (softmax_cross_entropy, "probabilities"),
    (softmax_cross_entropy, "weights"),
    (smoothed, "classes"),
    (smoothed, "weights"),
    (binary_cross_entropy, "weights"),
    (mean_squared_error, "numbers"),
]
cases = pytest.mark.parametrize(("kernel", "labels"), CASES, ids=lambda c: getattr(c, "__name__", c))


@cases
def test_gradient_is_the_derivative_of_the_value_by_complex_step(kernel, labels, rng):
    z, t = inputs(labels, rng)
    _, dz = kernel(z, t)
    for i in np.ndindex(z.shape):
        step = np.zeros_like(z, np.complex128)
        step[i] = 1e-30j
        value, _ = kernel(z + step, t)
        assert dz[i] == pytest.approx(value.imag / 1e-30, rel=1e-13, abs=1e-15)


@cases
def test_array_api_strict_arrays_give_what_numpy_arrays_give(kernel, labels, rng):
    z, t = inputs(labels, rng)
    value, dz = kernel(z, t)
    strict_value, strict_dz = kernel(strict.asarray(z), strict.asarray(t))
    assert float(strict_value) == pytest.approx(float(value), rel=1e-15)
    np.testing.assert_allclose(np.asarray(strict_dz), dz, rtol=1e-15)


@cases
@pytest.mark.parametrize("dtype", ["float32", "float64", "complex64", "complex128"])
def test_dtype_of_the_logits_is_kept_and_the_value_is_double(kernel, labels, dtype, rng):
    z, t = inputs(labels, rng)
    value, dz = kernel(z.astype(dtype), t)
    assert dz.dtype == dtype
    assert dz.shape == z.shape
    assert value.dtype == ("complex128" if dtype.startswith("complex") else "float64")


@cases
def test_inputs_are_not_written_and_the_gradient_is_fresh(kernel, labels, rng):
    z, t = inputs(labels, rng)
    z.flags.writeable = t.flags.writeable = False
    _, dz = kernel(z, t)
    assert not np.shares_memory(dz, z)
    assert not np.shares_memory(dz, t)
    assert dz.flags.writeable


@cases
def test_nan_passes_through_and_stays_in_its_row(kernel, labels, rng):
    z, t = inputs(labels, rng)
    z[2, 3] = np.nan
    value, dz = kernel(z, t)
    assert np.isnan(value)
    assert np.isnan(dz[2, 3])
    assert np.isfinite(np.delete(dz, 2, axis=0)).all()


@cases
def test_empty_batch_gives_an_empty_gradient_and_the_empty_sum(kernel, labels, rng):
    z, t = inputs(labels, rng)
    value, dz = kernel(z[:0], t[:0])
    assert value == 0
    assert dz.shape == (0, K)


@cases
def test_the_mean_does_not_depend_on_how_often_the_batch_is_repeated(kernel, labels, rng):
    # the seed: the value was a mean, its gradient a sum
    z, t = inputs(labels, rng)
    value, dz = kernel(z, t)
    value3, dz3 = kernel(np.concatenate([z] * 3), np.concatenate([t] * 3))
    assert value3 == pytest.approx(value, rel=1e-14)
    np.testing.assert_allclose(dz3[:N], dz / 3, rtol=1e-13)


def test_cross_entropy_of_a_confident_wrong_row_is_its_logit_and_the_gradient_is_full():
    # the seed: a per-class binary cross entropy of clipped probabilities, with no gradient here
    z = np.array([[0.0, 1e4, 0.0]], np.float32)
    value, dz = softmax_cross_entropy(z, np.array([0]))
    assert value == 1e4
    np.testing.assert_array_equal(dz, np.array([[-1, 1, 0]], np.float32))


def test_cross_entropy_counts_the_right_class_alone():
    z = np.log(np.array([[0.2, 0.3, 0.5]]))
    value, _ = softmax_cross_entropy(z, np.array([1]))
    assert value == pytest.approx(-np.log(0.3), rel=1e-14)


def test_cross_entropy_does_not_change_when_a_constant_is_added_to_a_row(rng):
    z, t = inputs("classes", rng)
    value, dz = softmax_cross_entropy(z, t)
    shifted, dshifted = softmax_cross_entropy(z + 512.0, t)
    assert shifted == pytest.approx(value, rel=1e-12)
    np.testing.assert_allclose(dshifted, dz, rtol=1e-11)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int32, np.int64, np.uint64])
def test_classes_of_every_integer_type_are_one_hot_rows(dtype, rng):
    z, t = inputs("classes", rng)
    value, dz = softmax_cross_entropy(z, t.astype(dtype))
    value_one_hot, dz_one_hot = softmax_cross_entropy(z, np.eye(K)[t])
    assert value == value_one_hot
    np.testing.assert_array_equal(dz, dz_one_hot)


def test_smoothing_spreads_a_share_of_each_target_over_all_classes(rng):
    z, t = inputs("classes", rng)
    value, dz = softmax_cross_entropy(z, t, smoothing=0.1)
    value_direct, dz_direct = softmax_cross_entropy(z, 0.9 * np.eye(K)[t] + 0.1 / K)
    assert value == pytest.approx(value_direct, rel=1e-14)
    np.testing.assert_allclose(dz, dz_direct, rtol=1e-13, atol=1e-17)


def test_a_class_ruled_out_by_minus_infinity_costs_nothing_unless_it_is_right():
    z = np.array([[0.0, -np.inf, 0.0]])
    value, dz = softmax_cross_entropy(z, np.array([0]))
    assert value == pytest.approx(np.log(2))
    np.testing.assert_allclose(dz, [[-0.5, 0, 0.5]])
    assert softmax_cross_entropy(z, np.array([1]))[0] == np.inf


@pytest.mark.parametrize("z", [0.0, 30.0, -30.0, 1e4, -1e4])
@pytest.mark.parametrize("t", [0, 1])
def test_binary_cross_entropy_of_large_float32_logits_is_exact_and_finite(z, t):
    value, dz = binary_cross_entropy(np.array([z], np.float32), np.array([t]))
    assert value == pytest.approx(np.logaddexp(0, z if t == 0 else -z), rel=1e-6)
    assert dz[0] == pytest.approx(1 / (1 + np.exp(min(-z, 700.0))) - t, rel=1e-6, abs=1e-12)


def test_binary_cross_entropy_is_the_two_class_softmax_of_zero_and_z(rng):
    z, t = rng.normal(size=8), rng.integers(0, 2, 8)
    value, dz = binary_cross_entropy(z, t)
    value2, dz2 = softmax_cross_entropy(np.stack([np.zeros(8), z], axis=1), t)
    assert value == pytest.approx(value2, rel=1e-14)
    np.testing.assert_allclose(dz, dz2[:, 1], rtol=1e-13)


def test_mean_squared_error_has_no_factor_one_half():
    value, dz = mean_squared_error(np.array([[3.0, 0.0]]), np.array([[1.0, 0.0]]))
    assert value == 2.0
    np.testing.assert_array_equal(dz, [[2.0, 0.0]])


def test_the_mean_is_summed_in_double_precision():
    n = 1025
    d = np.ones(n, np.float32)
    d[0] = 2**13
    value, _ = mean_squared_error(d, np.zeros(n, np.float32))
    assert value == (2**26 + n - 1) / n
