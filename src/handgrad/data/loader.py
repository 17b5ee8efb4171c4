"""Batches of a data set, epoch by epoch."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import KW_ONLY, dataclass
from functools import partial

from handgrad.data.ahead import ahead
from handgrad.data.dataset import Dataset
from handgrad.data.sampler import Sampler
from handgrad.data.transform import Samples, Transform, apply
from handgrad.errors import ArgumentError
from handgrad.rng import Stream
from handgrad.typing import Array, is_integer


@dataclass(frozen=True, eq=False)
class Loader:
    """Batches that follow from their numbers alone.

    Nothing moves on between batches: batch `i` of epoch `e` is the same whenever it is asked for, so that
    a run resumes from the two numbers.

    Parameters
    ----------
    dataset : Dataset
        Where samples come from.
    batch_size : int
        Samples in a batch; the last one has what is left.
    shuffle : bool, default True
        A new order for every epoch, ``rng.child("shuffle", epoch).permutation(n)``.
    drop_last : bool, default False
        Leave out a last batch that is not full.
    transform : Transform, optional
        Called as ``transform(x, rng.child("augment", epoch, batch))``; a `SampleTransform` is told the
        samples as well, with ``rng.child("sample")`` as their stream.
    rng : Stream, optional
        Root of all randomness; seed 0 by default.
    prefetch : int, default 0
        How many batches of an epoch are made ahead, in a thread of their own that ends with the epoch. Data
        set and transform are called there, one batch after the other and never two at once, but perhaps while
        whoever trains on the batch before uses them too. 0 makes each batch when it is asked for, where it is
        asked for. Batches are the same, and so are errors, which are raised where the batch would have come.

    Raises
    ------
    ArgumentError
        If `batch_size` is below 1 or `prefetch` below 0, or `drop_last` leaves no batch.
    DataError
        If `dataset` is empty.

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.data import ArrayDataset
    >>> loader = Loader(ArrayDataset(np.zeros((10, 8, 8, 1)), np.arange(10)), 4)
    >>> len(loader), [len(x) for x, y in loader.epoch(0)]
    (3, [4, 4, 2])
    >>> [(_, a), (_, b)] = loader.epoch(7, start=1)
    >>> bool((a == loader.batch(7, 1)[1]).all())
    True
    """

    dataset: Dataset
    batch_size: int
    _: KW_ONLY
    shuffle: bool = True
    drop_last: bool = False
    transform: Transform | None = None
    rng: Stream = Stream((0,))
    prefetch: int = 0

    def __post_init__(self) -> None:
        len(self.sampler)  # a sampler checks its arguments
        if not is_integer(self.prefetch) or self.prefetch < 0:
            raise ArgumentError("prefetch", expected="an int of at least 0", got=repr(self.prefetch))

    @property
    def sampler(self) -> Sampler:
        """Which samples make up which batch."""
        return Sampler(
            len(self.dataset), self.batch_size, shuffle=self.shuffle, drop_last=self.drop_last, rng=self.rng
        )

    def __len__(self) -> int:
        """Return the number of batches in an epoch."""
        return len(self.sampler)

    def epoch(self, epoch: int, start: int = 0) -> Generator[tuple[Array, Array], None, None]:
        """Yield the batches ``(x, y)`` of `epoch`, from batch number `start` on.

        The thread that makes batches ahead ends when there are no more, and when the generator is closed or
        forgotten, as by a ``break`` out of a loop over it.

        Raises
        ------
        ArgumentError
            If `epoch` is below 0 or `start` not in 0, ..., len(self).
        """
        batches = enumerate(self.sampler.batches(epoch, start), start)
        return ahead((partial(self._make, indices, epoch, i) for i, indices in batches), self.prefetch)

    def batch(self, epoch: int, index: int) -> tuple[Array, Array]:
        """Return batch number `index` of `epoch`, as `epoch` yields it.

        Raises
        ------
        ArgumentError
            If there is no such batch.
        """
        if not is_integer(index) or not 0 <= index < len(self):
            raise ArgumentError(
                "index", expected=f"a batch number from 0 to {len(self) - 1}", got=repr(index)
            )
        return self._make(next(self.sampler.batches(epoch, index)), epoch, index)

    def _make(self, indices: Array, epoch: int, index: int) -> tuple[Array, Array]:
        x, y = self.dataset.batch(indices)
        if self.transform is not None:
            samples = Samples(indices, int(epoch), self.rng.child("sample"))
            x = apply(self.transform, x, self.rng.child("augment", int(epoch), int(index)), samples)
        return x, y
