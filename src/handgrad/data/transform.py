"""What a transform is: something that changes batches of images, by chance or by which samples they hold."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.rng import Stream
from handgrad.typing import Array


class Transform(Protocol):
    """Anything that makes a batch of images from a batch and a random stream."""

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return a new batch of the same dtype."""


@dataclass(frozen=True, eq=False)
class Samples:
    """Which samples a batch holds.

    Attributes
    ----------
    indices : (n,) int array
        Their numbers in the data set.
    epoch : int
        The epoch, from 0.
    rng : Stream
        The same in every epoch and every batch: for what stays with a sample. It is no other's, so that
        ``rng.hashed(indices)`` can be drawn from it directly.
    """

    indices: Array
    epoch: int
    rng: Stream


@runtime_checkable
class SampleTransform(Transform, Protocol):
    """A transform that also goes by which samples a batch holds, and in which epoch.

    A `Loader`, and with it `Trainer.fit`, calls `apply_to_samples` where a transform has it, and the
    transform itself where it has not. Within `Compose` it is the same.
    """

    def apply_to_samples(self, x: Array, rng: Stream, samples: Samples) -> Array:
        """Return a new batch of the same dtype.

        Parameters
        ----------
        x : (n, ...) array
            The batch.
        rng : Stream
            Of this batch in this epoch, as for any transform.
        samples : Samples
            Which samples the batch holds.
        """


def apply(transform: Transform, x: Array, rng: Stream, samples: Samples) -> Array:
    """Return a batch after a transform, which is told the samples if it goes by them."""
    if isinstance(transform, SampleTransform):
        return transform.apply_to_samples(x, rng, samples)
    return transform(x, rng)


@dataclass(frozen=True)
class NoRandomNumbers(Stream):
    """A stream that nothing can be drawn from, for transforms that give each sample the same every time."""

    where: str = ""
    transform: str = ""

    def child(self, *key: int | str) -> Stream:
        """Return itself."""
        return self

    def generator(self) -> np.random.Generator:
        """Raise ArgumentError."""
        raise ArgumentError(
            self.where,
            expected="a transform that draws no random numbers",
            got=self.transform,
            do="give it to Trainer.fit as transform=",
        )
