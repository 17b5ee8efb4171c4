"""Compiled batch normalization against the reference in float64."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE

extension = pytest.importorskip("handgrad.kernels.cpu._kernels")

from handgrad.kernels.cpu import cpu_kernels  # noqa: E402

TABLES = {table.name: cpu_kernels(table) for table in extension.tables()}
SHAPES = [
    *((m, c) for c in (1, 2, 3, 8, 16, 17, 64, 70) for m in (1, 2, 3, 50, 65, 1000)),
    (1030, 129),
    (600, 1000),
    (131, 1001),
    (67, 4097),
    (9, 65536),
    (70001, 3),
    (40000, 16),
    (3, 1030),
]
"""One row, less than the rows that stand side by side, several blocks and parts, several tiles of columns."""

each_table = pytest.mark.parametrize("kernels", TABLES.values(), ids=TABLES.keys())
each_shape = pytest.mark.parametrize(("m", "c"), SHAPES)


@pytest.fixture(autouse=True)
def _threads():
    before = extension.threads()
    yield
    extension.set_threads(before)


def arguments(m, c, seed=0):
    """Return x, dy, residual, mean, s, gamma and beta; columns have means and scales of their own."""
    rng = np.random.default_rng(seed)
    x, dy, residual = rng.standard_normal((3, m, c), np.float32)
    x = (x * rng.uniform(0.5, 2, c) + 5 * rng.normal(size=c)).astype(np.float32)
    gamma, beta = rng.standard_normal((2, c), np.float32)
    mean, var = REFERENCE.batch_norm_statistics(x.astype(np.float64))
    return x, dy, residual, mean, 1 / np.sqrt(var + 0.1), gamma, beta


def wide(*arrays):
    return [None if a is None else a.astype(np.float64) for a in arrays]


def close(found, expected, scale=1.0):
    """Require float32 of the expected shape, as close as rounding of numbers of that scale lets it be."""
    assert found.dtype == np.float32
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=2e-6, atol=2e-6 * scale)


@each_table
@each_shape
def test_statistics(kernels, m, c):
    x = arguments(m, c)[0]
    mean, var = kernels.batch_norm_statistics(x)
    expected_mean, expected_var = REFERENCE.batch_norm_statistics(x.astype(np.float64))
    assert mean.dtype == var.dtype == np.float64
    np.testing.assert_allclose(mean, expected_mean, rtol=1e-6, atol=1e-6)
    np.testing.assert_allclose(var, expected_var, rtol=1e-6, atol=1e-12)


@each_table
@each_shape
@pytest.mark.parametrize("scaled", [True, False], ids=["", "plain"])
def test_forward(kernels, m, c, scaled):
    x, _, residual, mean, s, gamma, beta = arguments(m, c)
    gamma, beta = (gamma, beta) if scaled else (None, None)
    args = mean, s, *wide(gamma, beta)
    close(kernels.batch_norm(x, mean, s, gamma, beta), REFERENCE.batch_norm(*wide(x), *args), 3)
    close(kernels.batch_norm_relu(x, mean, s, gamma, beta), REFERENCE.batch_norm_relu(*wide(x), *args), 3)
    y = kernels.batch_norm_relu(x, mean, s, gamma, beta, residual)
    close(y, REFERENCE.batch_norm_relu(*wide(x), *args, *wide(residual)), 3)


@each_table
@each_shape
@pytest.mark.parametrize("constant", ["", "_constant"])
@pytest.mark.parametrize("scaled", [True, False], ids=["", "plain"])
def test_backward(kernels, m, c, constant, scaled):
    x, dy, residual, mean, s, gamma, beta = arguments(m, c)
    gamma, beta = (gamma, beta) if scaled else (None, None)
    x64, dy64, gamma64, beta64 = wide(x, dy, gamma, beta)
    for name, args, args64 in [
        ("batch_norm_backward", (dy, x, mean, s, gamma), (dy64, x64, mean, s, gamma64)),
        *(
            (
                "batch_norm_relu_backward",
                (dy, x, y, mean, s, gamma, beta),
                (dy64, x64, *wide(y), mean, s, gamma64, beta64),
            )
            for y in (None, kernels.batch_norm_relu(x, mean, s, gamma, beta, residual))
        ),
    ]:
        found = getattr(kernels, name + constant)(*args)
        expected = getattr(REFERENCE, name + constant)(*args64)
        assert len(found) == len(expected)
        for a, b, scale in zip(found, expected, (5, 3 * math.sqrt(m), 3 * math.sqrt(m), 1), strict=False):
            close(a, b, scale)


@each_table
@pytest.mark.parametrize("mean", [1e3, 1e5, 1e6, -1e6])
@pytest.mark.parametrize("m", [6, 1000, 40000])
def test_statistics_far_from_zero(kernels, mean, m):
    x = (mean + np.random.default_rng(0).normal(size=(m, 3))).astype(np.float32)
    found_mean, found_var = kernels.batch_norm_statistics(x)
    for j in range(3):
        exact = [float(v) for v in x[:, j]]
        expected = math.fsum(exact) / m
        assert abs(found_mean[j] - expected) < 1e-6
        assert found_var[j] == pytest.approx(math.fsum((v - expected) ** 2 for v in exact) / m, rel=1e-6)


@each_table
@pytest.mark.parametrize("c", [3, 64])
@pytest.mark.parametrize(
    "rows", [slice(0, 1), slice(0, 20000), slice(30000, 30001)], ids=["first", "half", "one"]
)
def test_statistics_of_columns_that_jump(kernels, rows, c):
    """Whatever a block's numbers are shifted by is far off for some of them."""
    x = np.random.default_rng(0).standard_normal((40000, c), np.float32)
    x[rows] += 1e4
    mean, var = kernels.batch_norm_statistics(x)
    expected_mean, expected_var = REFERENCE.batch_norm_statistics(x.astype(np.float64))
    assert np.all(np.abs(mean - expected_mean) < 1e-7 * np.sqrt(expected_var))
    np.testing.assert_allclose(var, expected_var, rtol=3e-6)


@each_table
@pytest.mark.parametrize("m", [1, 7, 1001])
def test_statistics_of_constants_are_exact(kernels, m):
    mean, var = kernels.batch_norm_statistics(np.full((m, 5), 0.1, np.float32))
    assert mean.tolist() == [float(np.float32(0.1))] * 5
    assert var.tolist() == [0.0] * 5


@each_table
@pytest.mark.parametrize("mean", [1e4, 1e6, 1e7])
def test_outputs_and_gradients_far_from_zero(kernels, mean):
    x, dy, _, _, _, gamma, beta = arguments(700, 3)
    x = (mean + np.random.default_rng(1).normal(size=x.shape)).astype(np.float32)
    mean, var = kernels.batch_norm_statistics(x)
    s = 1 / np.sqrt(var + 1e-5)
    args, args64 = (mean, s, gamma), (mean, s, *wide(gamma))
    y, y64 = kernels.batch_norm(x, *args, beta), REFERENCE.batch_norm(*wide(x), *args64, *wide(beta))
    assert np.abs(y - y64).max() < 2e-6
    dx, dgamma, _ = kernels.batch_norm_backward(dy, x, *args)
    dx64, dgamma64, _ = REFERENCE.batch_norm_backward(*wide(dy, x), *args64)
    assert np.abs(dx - dx64).max() < 2e-6
    np.testing.assert_allclose(dgamma, dgamma64, rtol=1e-5)


def everything(kernels, x, dy, residual, mean, s, gamma, beta):
    """Return the results of all entries."""
    y = kernels.batch_norm_relu(x, mean, s, gamma, beta, residual)
    return [
        *kernels.batch_norm_statistics(x),
        kernels.batch_norm(x, mean, s, gamma, beta),
        kernels.batch_norm_relu(x, mean, s, gamma, beta),
        y,
        *kernels.batch_norm_backward(dy, x, mean, s, gamma),
        *kernels.batch_norm_backward_constant(dy, x, mean, s, gamma),
        *kernels.batch_norm_relu_backward(dy, x, None, mean, s, gamma, beta),
        *kernels.batch_norm_relu_backward_constant(dy, x, None, mean, s, gamma, beta),
        *kernels.batch_norm_relu_backward(dy, x, y, mean, s, gamma, beta),
        *kernels.batch_norm_relu_backward_constant(dy, x, y, mean, s, gamma, beta),
    ]


def same_bits(found, expected):
    assert [a.tobytes() for a in found] == [b.tobytes() for b in expected]


@each_table
@pytest.mark.parametrize(("m", "c"), [(40000, 16), (5000, 70), (600, 1000), (131, 1001), (9, 65536)])
def test_any_number_of_threads_gives_the_same_bits(kernels, m, c):
    args = arguments(m, c)
    extension.set_threads(1)
    expected = everything(kernels, *args)
    for n in (2, 3):
        extension.set_threads(n)
        same_bits(everything(kernels, *args), expected)


@each_table
def test_arrays_in_any_memory_order_are_read_and_not_written(kernels):
    args = arguments(50, 6)
    expected = everything(kernels, *args)
    strided = []
    for a in args:
        view = np.empty(tuple(2 * n for n in a.shape), a.dtype)[(slice(None, None, 2),) * a.ndim]
        view[...] = a
        view.flags.writeable = False
        strided.append(view)
    same_bits(everything(kernels, *strided), expected)
    same_bits(strided, args)


@each_table
def test_an_empty_batch_gives_an_empty_result_and_zeros(kernels):
    x, dy, residual, mean, s, gamma, beta = arguments(4, 5)
    empty, y = x[:0], kernels.batch_norm_relu(x[:0], mean, s, gamma, beta, residual[:0])
    assert y.shape == kernels.batch_norm(empty, mean, s, gamma, beta).shape == (0, 5)
    for dx, dgamma, dbeta, *g in (
        kernels.batch_norm_backward(dy[:0], empty, mean, s, gamma),
        kernels.batch_norm_relu_backward(dy[:0], empty, None, mean, s, gamma, beta),
        kernels.batch_norm_relu_backward_constant(dy[:0], empty, y, mean, s, gamma, beta),
    ):
        assert dx.shape == (0, 5)
        assert not dgamma.any()
        assert not dbeta.any()
        assert all(a.shape == (0, 5) for a in g)


@each_table
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize(("row", "c"), [(0, 3), (70, 3), (299, 3), (299, 64), (0, 1001)])
def test_a_number_that_is_not_finite_spoils_its_own_column_alone(kernels, bad, row, c):
    x, dy, _, mean, s, gamma, beta = arguments(300, c)
    x[row, 1] = bad
    found_mean, found_var = kernels.batch_norm_statistics(x)
    assert np.isnan(found_var).nonzero()[0].tolist() == [1]
    assert (~np.isfinite(found_mean)).nonzero()[0].tolist() == [1]
    y = kernels.batch_norm(x, found_mean, 1 / np.sqrt(found_var), gamma, beta)
    assert np.isnan(y[:, 1]).all()
    assert np.isfinite(np.delete(y, 1, 1)).all()
    y = kernels.batch_norm_relu(x, mean, s, gamma, beta)
    positive = bad * gamma[1] > 0
    np.testing.assert_equal(y[row, 1], np.float32(np.nan if np.isnan(bad) else np.inf if positive else 0))
    assert np.isfinite(np.delete(y, row, 0)).all()
    with np.errstate(invalid="ignore"):
        expected = REFERENCE.batch_norm_relu_backward(*wide(dy, x), None, mean, s, *wide(gamma, beta))
    for a, b in zip(
        kernels.batch_norm_relu_backward(dy, x, None, mean, s, gamma, beta), expected, strict=True
    ):
        np.testing.assert_array_equal(np.isfinite(a), np.isfinite(b))


@each_table
def test_nan_passes_through_both_ways_and_zero_stops_the_gradient(kernels):
    one, zero = np.ones(1), np.zeros(1)
    x = np.array([[1.0], [0.0], [-0.0], [-1.0], [np.nan]], np.float32)
    y = kernels.batch_norm_relu(x, zero, one, None, None)
    np.testing.assert_array_equal(y, [[1], [0], [0], [0], [np.nan]])
    for args in ((x, None), (np.ones_like(x), y)):
        dx, *_ = kernels.batch_norm_relu_backward_constant(np.full_like(x, 3), *args, zero, one, None, None)
        np.testing.assert_array_equal(dx, [[3], [0], [0], [0], [3]])
        dx, *_ = kernels.batch_norm_relu_backward_constant(
            np.full_like(x, np.nan), *args, zero, one, None, None
        )
        np.testing.assert_array_equal(dx, [[np.nan], [0], [0], [0], [np.nan]])


def aligned(m, c):
    raw = np.empty(4 * m * c + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * m * c].view(np.float32).reshape(m, c)


@pytest.mark.parametrize("table", extension.tables(), ids=lambda table: table.name)
@pytest.mark.parametrize(("m", "c"), [(20001, 64), (400003, 3), (1100, 1001)])
def test_large_results_are_the_same_wherever_they_lie(table, m, c):
    """Where they are aligned they are written past the caches."""
    x, dy, residual, mean, s, gamma, beta = arguments(m, c)
    columns = mean, s, gamma, beta
    results = []
    for allocate in (aligned, lambda m, c: aligned(m + 1, c).reshape(-1)[1 : m * c + 1].reshape(m, c)):
        y, dx, g = allocate(m, c), allocate(m, c), allocate(m, c)
        dgamma, dbeta = np.empty((2, c), np.float32)
        table.batch_norm(x, *columns, residual, True, y)
        table.batch_norm_backward(dy, x, y, *columns, True, False, dx, dgamma, dbeta, g)
        results.append([y, dx, g, dgamma, dbeta])
    same_bits(*results)
    np.testing.assert_array_equal(results[0][2], np.where(results[0][0] > 0, dy, 0))
