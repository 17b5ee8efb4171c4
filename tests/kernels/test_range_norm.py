"""Normalizations of huge numbers, alone and fused with convolutions, against float64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels import Kernels
from handgrad.kernels.bfloat16 import rounded
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import Call, Statistics
from tests.kernels.extremes import MAX, SCALES, check, exact, float32, float64, normal, with_algorithm
from tests.kernels.tables import COMPILED, each_table, in_bfloat16

SAME = Window((3, 3), pads=((1, 1), (1, 1)))
AFFINE = normal(10, 12), normal(11, 12)


def in_columns(scale: float, mean: float, m: int) -> list[Call]:
    """Return calls of the batch normalizations of columns of which one is huge, or tiny."""
    columns = normal(12, m, 12)
    columns[:, 3:] = (columns[:, 3:] + mean) * scale
    columns = float64(float32(columns))
    gradient, (gamma, beta) = normal(13, m, 12), AFFINE
    average, var = REFERENCE.batch_norm_statistics(columns)
    of = average.view(Statistics), (1 / np.sqrt(var + 1e-5)).view(Statistics)
    y = REFERENCE.batch_norm_relu(columns, *of, gamma, beta, gradient)
    return [
        Call("batch_norm_statistics", (columns,)),
        Call("batch_norm", (columns, *of, gamma, beta)),
        Call("batch_norm", (columns, *of, None, None)),
        Call("batch_norm_relu", (columns, *of, gamma, beta, gradient)),
        Call("batch_norm_backward", (gradient, columns, *of, gamma)),
        Call("batch_norm_backward_constant", (gradient, columns, *of, gamma)),
        Call("batch_norm_relu_backward", (gradient, columns, None, *of, gamma, beta)),
        Call("batch_norm_relu_backward", (gradient, columns, float64(float32(y)), *of, gamma, beta)),
        Call("batch_norm_relu_backward_constant", (gradient, columns, None, *of, gamma, beta)),
    ]


def in_samples(scale: float, mean: float, m: int, groups: int) -> list[Call]:
    """Return calls of the normalizations of samples of which one is ordinary."""
    samples = normal(14, 7, m, 12)
    samples[1:] = (samples[1:] + mean) * scale
    samples, gradient = float64(float32(samples)), normal(15, 7, m, 12)
    gamma, beta = AFFINE
    _, average, s = REFERENCE.group_norm(samples, gamma, beta, groups, 1e-5)
    calls = [
        Call("group_norm", (samples, gamma, beta, groups, 1e-5)),
        Call("group_norm_backward", (gradient, samples, average.view(Statistics), s.view(Statistics), gamma)),
    ]
    if m > 1:
        return calls
    _, s = REFERENCE.rms_norm(samples[:, 0], gamma, 1e-5)
    return [
        *calls,
        Call("rms_norm", (samples[:, 0], gamma, 1e-5)),
        Call("rms_norm_backward", (gradient[:, 0], samples[:, 0], s.view(Statistics), gamma)),
    ]


def by_column(call: Call, table: Kernels, rtol: float = 1e-5) -> None:
    """Compare a normalization with float64, each column, or sample, by its own size."""
    with np.errstate(over="ignore"):
        found, right = call.run(float32, table), exact(call)
    for y, z in zip(found, right, strict=True):
        axes = tuple(range(1, z.ndim)) if "batch" not in call.kernel and z.ndim > 1 else 0
        if z.ndim == 1 and y.dtype == np.float64:
            axes = ()
        size = np.sqrt(np.mean(np.square(z), axis=axes, keepdims=True))
        error = np.abs(y - z) / np.maximum(size, 1e-37)
        assert error.max() < rtol, f"{call}: {error.max()}"


NORMALIZED = [*SCALES[2:], 6e37]
each_size = pytest.mark.parametrize("scale", NORMALIZED, ids="{:g}".format)
each_mean = pytest.mark.parametrize("mean", [0.0, -1.0, 50.0], ids=str)


@each_table
@each_size
@each_mean
@pytest.mark.parametrize("m", [6, 300])
def test_batch_normalization_at_every_size(scale, mean, m, table):
    for call in in_columns(scale / max(1, mean), mean, m):
        by_column(call, table, 3e-5 * max(1, mean / 10))


@each_table
def test_a_column_whose_distance_from_its_mean_is_no_float32_is_normalized(table):
    x = float32(np.array([[3e38], [3e38], [3e38], [-3e38]]))
    mean, var = table.batch_norm_statistics(x)
    y = table.batch_norm(x, mean, 1 / np.sqrt(var), None, None)
    np.testing.assert_allclose(y[:, 0], np.array([1, 1, 1, -3]) / np.sqrt(3), rtol=1e-5)


@each_table
@each_size
@each_mean
@pytest.mark.parametrize("groups", [1, 2, 12], ids="{} groups".format)
@pytest.mark.parametrize("m", [1, 5, 300])
def test_normalization_of_samples_at_every_size(scale, mean, m, groups, table):
    if m * 12 == groups:
        return  # a single number is 0
    for call in in_samples(scale / max(1, mean), mean, m, groups):
        by_column(call, table, 3e-5 * max(1, mean / 10))


@each_table
@pytest.mark.parametrize("c", [30, 5000])
def test_rows_of_the_largest_floats_are_normalized(c, table):
    sign = np.where(np.arange(c) % 3, 1, -1)
    row = np.tile(MAX * sign, (3, 1)).astype(np.float32)
    y, _, s = table.group_norm(row[:, None], None, None, 1, 1e-5)
    np.testing.assert_allclose(y[:, 0], np.tile((sign - sign.mean()) / sign.std(), (3, 1)), rtol=1e-5)
    np.testing.assert_allclose(s, 1 / (sign.std() * MAX), rtol=1e-6)
    np.testing.assert_allclose(table.rms_norm(row, None, 1e-5)[0], np.sign(row), rtol=1e-6)
    _, var = table.batch_norm_statistics(row.T.copy())
    np.testing.assert_allclose(var, np.full(3, (sign.std() * MAX) ** 2), rtol=1e-6)


@each_table
@pytest.mark.parametrize("scale", [1e-30, 1e25, 1e37], ids=str)
def test_gradients_of_every_size_pass_normalizations(scale, table):
    gradient, numbers, (gamma, _) = normal(0, 40, 12) / 10 * scale, normal(1, 40, 12), AFFINE
    mean, var = REFERENCE.batch_norm_statistics(numbers)
    of = mean.view(Statistics), (1 / np.sqrt(var)).view(Statistics)
    if table is not REFERENCE or scale < 1e37:  # which sums in float32 what is added up
        check(Call("batch_norm_backward", (gradient, numbers, *of, gamma)), table)
    check(Call("batch_norm_backward_constant", (gradient, numbers, *of, gamma)), table)
    for m in (1, 4):
        samples = numbers.reshape(-1, m, 12)
        _, mean_g, s_g = REFERENCE.group_norm(samples, gamma, None, 2, 1e-5)
        statistics = mean_g.view(Statistics), s_g.view(Statistics)
        check(
            Call("group_norm_backward", (gradient.reshape(samples.shape), samples, *statistics, gamma)), table
        )
    _, s = REFERENCE.rms_norm(numbers, gamma, 1e-5)
    check(Call("rms_norm_backward", (gradient, numbers, s.view(Statistics), gamma)), table)


def fused(scale: float) -> list[Call]:
    images = normal(0, 2, 9, 8, 12)
    images[..., 5:] *= scale
    images, b = float64(float32(images)), normal(1, 24)
    mean, var = REFERENCE.batch_norm_statistics(images.reshape(-1, 12))
    norm = mean.view(Statistics), (1 / np.sqrt(var + 1e-5)).view(Statistics), *AFFINE
    filters, gradient = normal(2, 3, 3, 12, 24), normal(3, 2, 9, 8, 24)
    return [
        Call("batch_norm_relu_conv2d", (images, *norm, filters, b, SAME)),
        Call("batch_norm_relu_conv2d_statistics", (images, *norm, filters, b, SAME)),
        Call("batch_norm_relu_conv2d_backward_weight", (gradient, images, *norm, filters.shape, SAME)),
        Call("conv2d_statistics", (images[..., 5:], filters[:, :, 5:], None, SAME)),
    ]


@each_table
@pytest.mark.parametrize("algorithm", [None, 0, 2, 4])
@pytest.mark.parametrize("scale", SCALES[3:-1], ids="{:g}".format)
def test_fused_convolutions_at_every_size(scale, algorithm, table):
    if algorithm is not None:
        table = with_algorithm(table, algorithm)
    for call in fused(scale):
        check(call, table, 5e-5)


@pytest.mark.parametrize("name", [n for n in ("avx2", "plain") if n in COMPILED])
@pytest.mark.parametrize("scale", SCALES[2:], ids="{:g}".format)
def test_normalizations_of_bfloat16_at_every_size(scale, name):
    table = in_bfloat16()[name]
    calls = in_columns(scale, 0.0, 40) + [c for m in (1, 5) for c in in_samples(scale, 0.0, m, 2)]
    for call in calls:
        activations = getattr(table, call.kernel).roles.arguments

        def stored(i: int, a: Any, activations: tuple[int, ...] = activations) -> Any:
            return rounded(float32(a)) if i in activations and isinstance(a, np.ndarray) else a

        args = tuple(stored(i, a) for i, a in enumerate(call.args))
        found = call.with_args(args).run(_as_given, table)
        right = call.with_args(tuple(_wide(a) for a in args)).run(_as_given)
        for y, z in zip(found, right, strict=True):
            size = np.max(np.abs(z), axis=0) if "batch" in call.kernel else np.max(np.abs(z))
            assert (np.abs(_wide(y) - z) <= 2.0**-7 * size + 1e-40).all(), str(call)


def _as_given(a: Any) -> Any:
    return a


def _wide(a: Any) -> Any:
    return (
        a.astype(np.float64)
        if isinstance(a, np.ndarray) and not isinstance(a, Statistics) and a.dtype.kind not in "iu"
        else a
    )
