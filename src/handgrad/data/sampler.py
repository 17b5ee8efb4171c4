"""Which samples make up which batch: numbers only, no data."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream
from handgrad.typing import Array, is_integer


@dataclass(frozen=True)
class Sampler:
    """The indices of each batch of each epoch.

    Parameters
    ----------
    n : int
        Number of samples.
    batch_size : int
        Samples in a batch; the last one has what is left.
    shuffle : bool
        A new order for every epoch, ``rng.child("shuffle", epoch).permutation(n)``, or always 0, ..., n - 1.
    drop_last : bool
        Leave out a last batch that is not full.
    rng : Stream
        Where the orders come from.

    Raises
    ------
    ArgumentError
        If `batch_size` is below 1, or no batch is left.
    DataError
        If there are no samples.

    Examples
    --------
    >>> sampler = Sampler(5, 2, shuffle=False, drop_last=False, rng=Stream((0,)))
    >>> [batch.tolist() for batch in sampler.batches(0)]
    [[0, 1], [2, 3], [4]]
    """

    n: int
    batch_size: int
    shuffle: bool
    drop_last: bool
    rng: Stream

    def __post_init__(self) -> None:
        if not is_integer(self.batch_size) or self.batch_size < 1:
            raise ArgumentError("batch_size", expected="an int of at least 1", got=repr(self.batch_size))
        if self.n < 1:
            raise DataError("data", expected="at least one sample", got="none")
        if len(self) == 0:
            raise ArgumentError(
                "drop_last",
                expected=f"at least one full batch of {self.batch_size}",
                got=f"{self.n} samples",
                do="use a smaller batch_size, or drop_last=False",
            )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return self.n // self.batch_size if self.drop_last else -(-self.n // self.batch_size)

    def order(self, epoch: int) -> Array:
        """Return the order of the samples in `epoch`."""
        if not is_integer(epoch) or epoch < 0:
            raise ArgumentError("epoch", expected="an int of at least 0", got=repr(epoch))
        return (
            self.rng.child("shuffle", int(epoch)).permutation(self.n) if self.shuffle else np.arange(self.n)
        )

    def batches(self, epoch: int, start: int = 0) -> Iterator[Array]:
        """Yield the indices of the batches of `epoch`, from batch number `start` on.

        Raises
        ------
        ArgumentError
            If `start` is not in 0, ..., len(self); at len(self) there is nothing left to yield.
        """
        if not is_integer(start) or not 0 <= start <= len(self):
            raise ArgumentError("start", expected=f"a batch number from 0 to {len(self)}", got=repr(start))
        order, size = self.order(epoch), self.batch_size
        return (order[i * size : (i + 1) * size] for i in range(start, len(self)))
