from __future__ import annotations

import numpy as np
import pytest

from handgrad.data import ArrayDataset, Dataset, Subset
from handgrad.errors import ArgumentError


def test_it_is_a_data_set_of_the_chosen_samples():
    x, y = np.arange(24.0, dtype=np.float32).reshape(6, 2, 2, 1), np.arange(6) % 3
    whole = ArrayDataset(x, y)
    part = Subset(whole, [4, 1, 5])
    assert isinstance(part, Dataset)
    assert (len(part), part.shape) == (3, (2, 2, 1))
    xb, yb = part.batch(np.array([2, 0]))
    np.testing.assert_array_equal(xb, x[[5, 4]])
    np.testing.assert_array_equal(yb, y[[5, 4]])
    np.testing.assert_array_equal(part.labels, y[[4, 1, 5]])
    assert len(Subset(whole, [])) == 0


@pytest.mark.parametrize("wrong", [[6], [-1], [[0]], [0.5], 3])
def test_other_numbers_are_refused(wrong):
    with pytest.raises(ArgumentError) as error:
        Subset(ArrayDataset(np.zeros((6, 1)), np.zeros(6)), wrong)
    assert (
        str(error.value)
        == f"Subset indices: expected a list of numbers from 0 to 5, got {np.asarray(wrong)!r}"
    )
