"""Memory that is used again.

Fresh memory is dear: the system clears every page of it when it is first written, which takes longer than the
sum of two arrays that is then written there. The compiled kernels have a pool that keeps what is freed
(csrc/memory.cc), and inside `reuse_memory` all large NumPy arrays come from it, those of users' layers too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

from handgrad.kernels.extension import load


class MemoryUse(NamedTuple):
    """The bytes of the pool."""

    in_use: int
    """Of the arrays and the kernels' scratch that lie in it now."""
    kept: int
    """Had from the system, and free."""
    peak: int
    """The most that was in use at once."""


@contextmanager
def reuse_memory() -> Iterator[None]:
    """Take the memory of large arrays made in this context from the pool, which keeps it when they are freed.

    `Trainer`, `evaluate` and `predict` do so themselves. Like a context variable it concerns no other thread,
    but those that run in a copy of the context, as the one does that makes batches ahead in `Trainer.fit`.
    One context may stand in another. Arrays may outlive it. Without compiled kernels it does nothing.

    Notes
    -----
    What is kept is at most what arrays have lately used; `release_memory` gives it back to the system. NumPy
    gets memory from the pool by its handlers of data memory [1]_. Arrays below 64 KiB, and those made where
    ``HANDGRAD_KERNELS`` is ``reference``, take none of it.

    References
    ----------
    .. [1] NumPy enhancement proposal 49, "Data allocation strategies".

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> x = np.ones((1000, 1000))
    >>> with hg.kernels.reuse_memory():
    ...     for _ in range(10):
    ...         y = x + x
    >>> hg.kernels.release_memory()
    >>> float(y.sum())
    2000000.0
    """
    pool = _pool()
    if pool is None:
        yield
        return
    before = pool.set_memory_handler(pool.memory_handler)
    try:
        yield
    finally:
        pool.set_memory_handler(before)


def memory_use() -> MemoryUse | None:
    """Return how much memory the pool holds, or None without compiled kernels, whose it is."""
    pool = _pool()
    return None if pool is None else MemoryUse(*pool.memory_use())


def release_memory() -> None:
    """Give back to the system the memory that the pool keeps, in all threads; `Trainer.fit` ends so."""
    pool = _pool()
    if pool is not None:
        pool.release_memory()


def _pool() -> Any:
    """Return the extension module, unless it is not there or not wanted."""
    return None if os.environ.get("HANDGRAD_KERNELS") == "reference" else load().module
