"""What is asked of gradients, by the reference, of any array module."""

from __future__ import annotations

import array_api_strict as strict
import numpy as np
import pytest

from handgrad.kernels.reference import REFERENCE


@pytest.mark.parametrize("convert", [np.asarray, strict.asarray])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_finite_is_neither_nan_nor_infinite(convert, dtype):
    g = np.array([1.0, -1e30, 0.0], dtype)
    assert REFERENCE.all_finite(convert(g))
    for bad in (np.nan, np.inf, -np.inf):
        g[1] = bad
        assert not REFERENCE.all_finite(convert(g))


@pytest.mark.parametrize("convert", [np.asarray, strict.asarray])
def test_squares_do_not_overflow_float32(convert):
    found = REFERENCE.sum_of_squares(convert(np.array([3e30, -4e30], np.float32)))
    assert str(found.dtype).endswith("float64")
    assert float(found) == pytest.approx(25e60, rel=1e-7)
