"""Compiled normalization of each sample: what test_compiled.py, which compares all entries, leaves out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE

extension = pytest.importorskip("handgrad.kernels.cpu._kernels")

from handgrad.kernels.cpu import cpu_kernels  # noqa: E402

TABLES = {table.name: cpu_kernels(table) for table in extension.tables()}
each_table = pytest.mark.parametrize("kernels", TABLES.values(), ids=TABLES.keys())

SHAPES = [
    (3, 1, 5, 1),  # rows
    (67, 1, 300, 1),
    (9, 1, 96, 4),  # rows in groups
    (5, 1, 20_001, 1),  # rows of several blocks, one at a time
    (70, 16, 512, 32),  # images
    (5, 300, 70, 7),
    (3, 1000, 17, 17),  # parts of an image, and a shorter row
    (2, 30_001, 6, 2),
    (4, 50, 3, 1),
    (2, 7, 1030, 2),  # several tiles of columns
]
each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@pytest.fixture(autouse=True)
def _threads():
    before = extension.threads()
    yield
    extension.set_threads(before)


def arguments(n, m, c, mean=0.0, seed=0):
    """Return x, dy, gamma and beta."""
    rng = np.random.default_rng(seed)
    x, dy = rng.standard_normal((2, n, m, c), np.float32)
    gamma, beta = rng.standard_normal((2, c), np.float32)
    return (mean + x).astype(np.float32), dy, gamma, beta


def everything(kernels, x, dy, gamma, beta, groups, epsilon=1e-5):
    """Return all results of both kinds, of the same numbers."""
    y, mean, s = kernels.group_norm(x, gamma, beta, groups, epsilon)
    dx, dgamma, dbeta = kernels.group_norm_backward(dy, x, mean, s, gamma)
    found = {"y": y, "mean": mean, "s": s, "dx": dx, "dgamma": dgamma, "dbeta": dbeta}
    rows, of_rows = (a.reshape(-1, a.shape[2]) for a in (x, dy))
    y, s = kernels.rms_norm(rows, gamma, epsilon)
    dx, dgamma = kernels.rms_norm_backward(of_rows, rows, s, gamma)
    return found | {"rms y": y, "rms s": s, "rms dx": dx, "rms dgamma": dgamma}


def wide(*arrays):
    return [a.astype(np.float64) for a in arrays]


def same_bits(found, expected):
    assert [name for name in found if found[name].tobytes() != expected[name].tobytes()] == []


@each_table
@each_shape
@pytest.mark.parametrize("mean", [0, 3, 1e3, 1e5, 1e6, -1e6])
def test_results_are_those_of_float64_wherever_the_mean_is(kernels, shape, mean):
    *sizes, groups = shape
    x, dy, gamma, beta = arguments(*sizes, mean)
    found = everything(kernels, x, dy, gamma, beta, groups)
    expected = everything(REFERENCE, *wide(x, dy, gamma, beta), groups)
    for name, right in expected.items():
        if name.startswith("rms d") and abs(mean) > 3:
            continue  # by the root mean square alone these are differences of numbers as large
        size = math.sqrt(float(np.mean(right * right)))
        np.testing.assert_allclose(found[name], right, rtol=3e-6, atol=3e-6 * size, err_msg=name)


@each_table
@each_shape
def test_statistics_are_as_exact_as_the_numbers(kernels, shape):
    n, m, c, groups = shape
    x, *_ = arguments(n, m, c, 1e6)
    _, mean, s = kernels.group_norm(x, None, None, groups, 1e-5)
    right = REFERENCE.group_norm(x.astype(np.float64), None, None, groups, 1e-5)
    assert mean.dtype == s.dtype == np.float64
    assert np.abs(mean - right[1]).max() < 1e-6
    np.testing.assert_allclose(s, right[2], rtol=2e-6)


@each_table
@pytest.mark.parametrize("where", [slice(0, 1), slice(0, 100), slice(100, 300), slice(1500, 1501)], ids=str)
@pytest.mark.parametrize("shape", [(2, 1, 2000, 1), (2, 1, 400_000, 1), (2, 2000, 4, 2)], ids=str)
def test_statistics_of_rows_that_jump(kernels, where, shape):
    """Whatever the numbers are shifted by is far off for some of them."""
    *sizes, groups = shape
    x, *_ = arguments(*sizes)
    x.reshape(2, x.size // 2 if shape[1] == 1 else 2000, -1)[:, where] += 1e4
    _, mean, s = kernels.group_norm(x, None, None, groups, 1e-5)
    right = REFERENCE.group_norm(x.astype(np.float64), None, None, groups, 1e-5)
    assert np.all(np.abs(mean - right[1]) * right[2] < 1e-6)
    np.testing.assert_allclose(s, right[2], rtol=5e-6)


@each_table
@each_shape
def test_constants_are_normalized_to_beta_exactly(kernels, shape):
    n, m, c, groups = shape
    beta = np.arange(c, dtype=np.float32)
    x = np.full((n, m, c), 0.1, np.float32)
    y, mean, _ = kernels.group_norm(x, None, beta, groups, 1e-5)
    assert np.all(mean == np.float32(0.1))
    np.testing.assert_array_equal(y, np.broadcast_to(beta, y.shape))


@each_table
@each_shape
def test_any_number_of_threads_gives_the_same_bits(kernels, shape):
    *sizes, groups = shape
    args = arguments(*sizes)
    extension.set_threads(1)
    expected = everything(kernels, *args, groups)
    for threads in (2, 3, 7):
        extension.set_threads(threads)
        same_bits(everything(kernels, *args, groups), expected)


@each_table
@each_shape
def test_a_sample_has_the_same_bits_alone(kernels, shape):
    n, m, c, groups = shape
    x, _, gamma, beta = arguments(n, m, c)
    y, mean, s = kernels.group_norm(x, gamma, beta, groups, 1e-5)
    for i in {0, n // 2, n - 1}:
        alone = kernels.group_norm(x[i : i + 1], gamma, beta, groups, 1e-5)
        for a, b in zip(alone, (y, mean, s), strict=True):
            assert a[0].tobytes() == b[i].tobytes()


@each_table
@each_shape
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_number_that_is_not_finite_spoils_its_own_group_alone(kernels, shape, bad):
    n, m, c, groups = shape
    x, dy, gamma, beta = arguments(n, m, c)
    x[n // 2, m - 1, c - 1] = bad
    y, mean, s = kernels.group_norm(x, gamma, beta, groups, 1e-5)
    spoiled = np.zeros((n, m, groups, c // groups), bool)
    spoiled[n // 2, :, -1] = True
    np.testing.assert_array_equal(np.isnan(y), spoiled.reshape(x.shape))
    dx, *_ = kernels.group_norm_backward(dy, x, mean, s, gamma)
    np.testing.assert_array_equal(np.isnan(dx), spoiled.reshape(x.shape))


@each_table
def test_a_number_that_is_not_finite_spoils_its_row_by_the_root_mean_square(kernels):
    x, dy, gamma, _ = (a.squeeze() for a in arguments(7, 1, 37))
    x[5, 36] = np.nan
    y, s = kernels.rms_norm(x, gamma, 1e-6)
    dx, dgamma = kernels.rms_norm_backward(dy, x, s, gamma)
    for a in (y, dx):
        np.testing.assert_array_equal(np.isnan(a).any(axis=1).nonzero()[0], [5])
        assert np.isnan(a[5]).all()
    assert np.isnan(dgamma).all()


@each_table
@each_shape
def test_an_empty_batch_gives_an_empty_result_and_zeros(kernels, shape):
    *sizes, groups = shape
    x, dy, gamma, beta = arguments(*sizes)
    found = everything(kernels, x[:0], dy[:0], gamma, beta, groups)
    for name, a in found.items():
        if "gamma" in name or "beta" in name:
            assert a.shape == gamma.shape
            assert not a.any()
        else:
            assert a.shape[0] == 0


def aligned(*shape):
    raw = np.empty(4 * math.prod(shape) + 64, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start : start + 4 * math.prod(shape)].view(np.float32).reshape(shape)


@pytest.mark.parametrize("table", extension.tables(), ids=lambda table: table.name)
@pytest.mark.parametrize(
    "shape", [(20_001, 1, 64, 2), (40_001, 1, 37, 1), (33, 700, 64, 4), (3, 14_001, 30, 3)], ids=str
)
def test_large_results_are_the_same_wherever_they_lie(table, shape):
    """Where they are aligned they are written past the caches."""
    n, m, c, groups = shape
    x, dy, gamma, beta = arguments(n, m, c)
    results = []
    for apart in (0, 1):
        y, dx = (aligned(n * m * c + 16)[apart : n * m * c + apart].reshape(n, m, c) for _ in range(2))
        mean, s = np.empty((2, n, groups))
        dgamma, dbeta = np.empty((2, c), np.float32)
        table.group_norm(x, gamma, beta, 1e-5, y, mean, s)
        table.group_norm_backward(dy, x, mean, s, gamma, dx, dgamma, dbeta)
        results.append({"y": y, "dx": dx, "dgamma": dgamma, "dbeta": dbeta})
    same_bits(*results)
