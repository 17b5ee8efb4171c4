"""The compiled tables that this machine can run; importing this skips a test file where there are none."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest

extension = pytest.importorskip("handgrad.kernels.cpu._kernels")

from handgrad.kernels.cpu import cpu_kernels  # noqa: E402

COMPILED = {table.name: cpu_kernels(table) for table in extension.tables()}
each_table = pytest.mark.parametrize("kernels", COMPILED.values(), ids=COMPILED.keys())

SIZES = (1, 2, 3, 4, 7, 8, 15, 16, 17, 31, 32, 33, 64, 100, 1023, 1024, 1025, 8192, 8193)
"""Below, at and above the widths of vectors, and of blocks that sums are made of."""


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Run on `n` threads."""
    before = extension.threads()
    extension.set_threads(n)
    yield
    extension.set_threads(before)


def strided(a: np.ndarray) -> np.ndarray:
    """Return an equal array of which no axis is contiguous."""
    wide = np.empty(tuple(2 * n for n in a.shape), a.dtype)
    view = wide[(..., *(slice(None, None, 2),) * a.ndim)]
    view[...] = a
    return view


def same_bits(a: np.ndarray, b: np.ndarray) -> None:
    """Raise unless the arrays are bit for bit the same."""
    assert (a.shape, a.dtype) == (b.shape, b.dtype)
    assert a.tobytes() == b.tobytes()
