from __future__ import annotations

import numpy as np
import pytest

from handgrad.pixels import to_float

BYTES = np.arange(256, dtype=np.uint8)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_a_byte_is_the_nearest_number_to_itself_over_255(dtype):
    x = to_float(BYTES, dtype)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, (np.arange(256) / 255).astype(dtype))
    assert (x[0], x[255]) == (0, 1)


@pytest.mark.parametrize("dtype", [bool, np.int8, np.int64, np.uint16, np.float16, np.float64])
def test_other_numbers_keep_their_values(dtype):
    x = np.array([0, 1, 100]).astype(dtype)
    y = to_float(x, np.float32)
    assert y.dtype == np.float32
    np.testing.assert_array_equal(y, x.astype(np.float32))


def test_what_is_there_already_is_not_copied():
    x = np.ones(3, np.float32)
    assert to_float(x, np.float32) is x
