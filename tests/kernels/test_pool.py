"""Pooling where several pixels or none could be the answer."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.geometry import Window
from tests.kernels.tables import each_table

TWO = Window((2, 2), (2, 2))
AROUND = Window((3, 3), (1, 1), pads=((1, 1), (1, 1)))


def image(*rows, channels=1):
    """Return a batch of one image, the same in all channels."""
    return np.repeat(np.array(rows, np.float32)[None, :, :, None], channels, axis=3)


each_count = pytest.mark.parametrize("channels", [1, 20])


@each_table
@each_count
def test_of_equal_maxima_the_first_row_by_row_takes_the_gradient(table, channels):
    x = image([1, 3], [3, 3], channels=channels)
    y, tap = table.max_pool2d(x, TWO)
    assert np.all(y == 3)
    assert np.all(tap == 1)
    dx = table.max_pool2d_backward(np.full_like(y, 5.0), tap, x.shape, TWO)
    np.testing.assert_array_equal(dx, image([0, 5], [0, 0], channels=channels))


@each_table
@each_count
@pytest.mark.parametrize("strides", [(1, 1), (2, 2), (2, 1)])
def test_a_gradient_is_never_given_twice(table, channels, strides):
    """However many maxima are equal, what comes in goes out once."""
    x = np.zeros((2, 6, 6, channels), np.float32)
    window = Window((3, 3), strides, pads=((1, 1), (1, 1)))
    y, tap = table.max_pool2d(x, window)
    dy = np.random.default_rng(0).normal(size=y.shape).astype(np.float32)
    dx = table.max_pool2d_backward(dy, tap, x.shape, window)
    assert dx.sum(dtype=np.float64) == pytest.approx(dy.sum(dtype=np.float64), rel=1e-5)


@each_table
@each_count
def test_nan_is_larger_than_anything_and_the_first_nan_takes_the_gradient(table, channels):
    x = image([1, np.nan], [np.inf, np.nan], channels=channels)
    y, tap = table.max_pool2d(x, TWO)
    assert np.all(np.isnan(y))
    assert np.all(tap == 1)


@each_table
@each_count
@pytest.mark.parametrize("value", [-5.0, -np.finfo(np.float32).max])
def test_padding_is_never_the_maximum(table, channels, value):
    y, tap = table.max_pool2d(image([value] * 2, [value] * 2, channels=channels), AROUND)
    assert np.all(y == np.float32(value))
    dx = table.max_pool2d_backward(np.ones_like(y), tap, (1, 2, 2, channels), AROUND)
    np.testing.assert_array_equal(dx, image([4, 0], [0, 0], channels=channels))


@each_table
@each_count
def test_nothing_but_minus_infinity_has_the_first_tap_on_the_image(table, channels):
    x = image([-np.inf] * 2, [-np.inf] * 2, channels=channels)
    y, tap = table.max_pool2d(x, AROUND)
    assert np.all(y == -np.inf)
    np.testing.assert_array_equal(tap, image([4, 3], [1, 0], channels=channels))
    dx = table.max_pool2d_backward(np.ones_like(y), tap, x.shape, AROUND)
    np.testing.assert_array_equal(dx, image([4, 0], [0, 0], channels=channels))


@each_table
@each_count
@pytest.mark.parametrize("window", [TWO, Window((2, 2))], ids=["apart", "overlapping"])
def test_a_tap_that_does_not_exist_takes_no_gradient(table, channels, window):
    dy = np.ones((1, *window.output_size((4, 4)), channels), np.float32)
    tap = np.full(dy.shape, 200, np.uint8)
    dx = table.max_pool2d_backward(dy, tap, (1, 4, 4, channels), window)
    np.testing.assert_array_equal(dx, np.zeros((1, 4, 4, channels)))


@each_table
@pytest.mark.parametrize(("columns", "dtype"), [(256, np.uint8), (257, np.int32)])
def test_taps_are_bytes_where_bytes_can_number_them(table, columns, dtype):
    x, window = image(np.arange(columns)), Window((1, columns))
    _, tap = table.max_pool2d(x, window)
    assert tap.dtype == dtype
    assert tap.item() == columns - 1
    dx = table.max_pool2d_backward(np.ones((1, 1, 1, 1), np.float32), tap, x.shape, window)
    assert dx[0, 0, -1, 0] == dx.sum() == 1.0


@each_table
@pytest.mark.parametrize(("count", "corner"), [(False, 1.0), (True, 4 / 9)])
def test_average_counts_padding_by_choice(table, count, corner):
    y = table.average_pool2d(np.ones((1, 3, 3, 1), np.float32), AROUND, count_padding=count)
    assert y[0, 0, 0, 0] == pytest.approx(corner)
    assert y[0, 1, 1, 0] == pytest.approx(1.0)


@each_table
def test_a_window_wholly_on_padding_has_the_mean_0(table):
    window = Window((1, 1), pads=((1, 0), (0, 0)))
    y = table.average_pool2d(np.ones((1, 1, 1, 1), np.float32), window)
    assert y.ravel().tolist() == [0.0, 1.0]


@each_table
@pytest.mark.parametrize("shape", [(1, 2048, 2048, 1), (1, 500, 300, 3), (1, 300, 500, 20)])
def test_the_mean_of_a_large_image_is_summed_in_float64(table, shape):
    x = np.full(shape, 0.1, np.float32)
    assert np.all(table.global_average_pool2d(x) == np.float32(0.1))


@each_table
@pytest.mark.parametrize("at", [(0, 0), (1, 1), (2, 0)], ids=str)
def test_nan_is_the_maximum_from_any_place_of_a_window(at, table):
    x = np.arange(9, dtype=np.float32).reshape(1, 3, 3, 1)
    x[0, at[0], at[1], 0] = np.nan
    y, tap = table.max_pool2d(x, Window((3, 3)))
    assert np.isnan(y).all()
    assert (tap == 3 * at[0] + at[1]).all()
