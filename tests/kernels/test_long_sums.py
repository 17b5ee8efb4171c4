"""Sums of thousands of numbers are right to float32's last digits: windows, blocks, columns, rows, losses."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import Call
from tests.kernels.extremes import check
from tests.kernels.tables import COMPILED, each_table

LONG = [Window((2048, 1)), Window((1, 2048)), Window((64, 64), (3, 3)), Window((9, 8))]


@each_table
@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("window", LONG, ids=lambda window: "x".join(map(str, window.kernel)))
def test_windows_of_thousands_of_pixels_lose_nothing(window, channels, table):
    kh, kw = window.kernel
    images = np.random.default_rng(0).uniform(1000, 1001, (1, kh + 3, kw + 3, channels))
    check(Call("average_pool2d", (images, window)), table, 5e-7)
    gradient = images[
        :, : window.output_size(images.shape[1:3])[0], : window.output_size(images.shape[1:3])[1]
    ]
    check(Call("average_pool2d_backward", (gradient, images.shape, window)), table, 5e-7)


@pytest.mark.parametrize("name", COMPILED)
def test_the_mean_of_2048_x_2048_pixels(name):
    images = np.random.default_rng(0).uniform(1000, 1001, (1, 2048, 2048, 1)).astype(np.float32)
    right = images.mean(dtype=np.float64)
    y = COMPILED[name].average_pool2d(images, Window((2048, 2048), (2048, 2048)))
    assert y.item() == pytest.approx(right, rel=1e-7)
    assert COMPILED[name].global_average_pool2d(images).item() == pytest.approx(right, rel=1e-7)


@each_table
@pytest.mark.parametrize("channels", [1, 20])
@pytest.mark.parametrize("strides", [(1, 1), (1, 2)])
def test_a_pixel_that_is_the_maximum_of_thousands_of_windows_gets_their_sum(channels, strides, table):
    window, images = Window((1, 2048), strides), np.zeros((1, 1, 2 * 2048 - 1, channels))
    images[:, :, 2047] = 1
    size = (1, *window.output_size((1, images.shape[2])), channels)
    gradient, (_, which) = (
        np.random.default_rng(0).uniform(1000, 1001, size),
        REFERENCE.max_pool2d(images, window),
    )
    check(Call("max_pool2d_backward", (gradient, which, images.shape, window)), table, 2e-7)


@each_table
def test_other_sums_of_thousands_lose_nothing(table):
    many = np.random.default_rng(0).uniform(1000, 1001, (100_000, 3))
    check(Call("bias_backward", (many,)), table, 5e-7)
    check(Call("batch_norm_statistics", (many,)), table, 1e-6)
    check(Call("upsample2d_backward", (many.reshape(1, 250, 400, 3), (250, 200))), table, 2e-7)
    check(Call("softmax", (many.reshape(1, -1) / 1000,)), table, 5e-6)
    logits = many.reshape(2, -1) / 1000
    check(Call("softmax_cross_entropy", (logits, np.array([1, 2])), kwargs={"smoothing": 0.1}), table, 5e-6)
    check(Call("binary_cross_entropy", (logits, logits % 1)), table, 1e-6)
    check(Call("mean_squared_error", (many, np.zeros_like(many))), table, 1e-6)
