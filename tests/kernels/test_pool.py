"""Pooling where several pixels or none could be the answer."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels.reference import REFERENCE

TWO = Window((2, 2), (2, 2))


def image(*rows, dtype=np.float64):
    return np.array(rows, dtype)[None, :, :, None]


def test_of_equal_maxima_the_first_row_by_row_takes_the_gradient():
    x = image([1, 3], [3, 3])
    y, tap = REFERENCE.max_pool2d(x, TWO)
    assert (y.item(), tap.item()) == (3.0, 1)
    dx = REFERENCE.max_pool2d_backward(np.full_like(y, 5.0), tap, x.shape, TWO)
    np.testing.assert_array_equal(dx, image([0, 5], [0, 0]))


def test_a_gradient_is_never_given_twice():
    """However many maxima are equal, what comes in goes out once."""
    x = np.zeros((2, 6, 6, 3))
    window = Window((3, 3), (2, 2), pads=((1, 1), (1, 1)))
    y, tap = REFERENCE.max_pool2d(x, window)
    dy = np.random.default_rng(0).normal(size=y.shape)
    dx = REFERENCE.max_pool2d_backward(dy, tap, x.shape, window)
    assert dx.sum() == pytest.approx(dy.sum(), rel=1e-12)


def test_nan_is_larger_than_anything_and_the_first_nan_takes_the_gradient():
    x = image([1, np.nan], [np.inf, np.nan])
    y, tap = REFERENCE.max_pool2d(x, TWO)
    assert np.isnan(y.item())
    assert tap.item() == 1


@pytest.mark.parametrize("value", [-5.0, -np.finfo(np.float64).max])
def test_padding_is_never_the_maximum(value):
    window = Window((3, 3), (1, 1), pads=((1, 1), (1, 1)))
    y, tap = REFERENCE.max_pool2d(np.full((1, 2, 2, 1), value), window)
    assert np.all(y == value)
    dx = REFERENCE.max_pool2d_backward(np.ones_like(y), tap, (1, 2, 2, 1), window)
    np.testing.assert_array_equal(dx, image([4, 0], [0, 0]))


@pytest.mark.parametrize(("columns", "dtype"), [(256, np.uint8), (257, np.int32)])
def test_taps_are_bytes_where_bytes_can_number_them(columns, dtype):
    x = image(np.arange(columns))
    _, tap = REFERENCE.max_pool2d(x, Window((1, columns)))
    assert tap.dtype == dtype
    assert tap.item() == columns - 1
    dx = REFERENCE.max_pool2d_backward(np.ones((1, 1, 1, 1)), tap, x.shape, Window((1, columns)))
    assert dx[0, 0, -1, 0] == dx.sum() == 1.0


@pytest.mark.parametrize(("count", "corner"), [(False, 1.0), (True, 4 / 9)])
def test_average_counts_padding_by_choice(count, corner):
    window = Window((3, 3), (1, 1), pads=((1, 1), (1, 1)))
    y = REFERENCE.average_pool2d(np.ones((1, 3, 3, 1)), window, count_padding=count)
    assert y[0, 0, 0, 0] == pytest.approx(corner)
    assert y[0, 1, 1, 0] == pytest.approx(1.0)


def test_the_mean_of_a_large_image_is_summed_in_float64():
    x = np.full((1, 2048, 2048, 1), 0.1, np.float32)
    assert REFERENCE.global_average_pool2d(x).item() == np.float32(0.1)
