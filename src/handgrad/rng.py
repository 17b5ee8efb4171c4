"""Counter-based random streams.

A stream is a key, not a state: the same key gives the same numbers, in whatever order streams are
asked and however often. Work that is keyed by what it is for, ``seed -> "dropout" -> step -> node``,
can be resumed from the step number alone.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

import numpy as np

from handgrad.typing import Array, DTypeLike


@dataclass(frozen=True)
class Stream:
    """A stream of random numbers named by a key.

    Parameters
    ----------
    key : tuple of int or str
        The name of the stream; ``Stream((0,))`` is the root of seed 0.

    Notes
    -----
    The key is hashed (BLAKE2b) to the 128-bit key of a Philox 4x64 generator [1]_, so that different
    keys give independent streams. `hashed` takes outputs of SplitMix64 [2]_ instead, which can be had one by
    one.

    References
    ----------
    .. [1] J. K. Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011.
    .. [2] G. L. Steele, D. Lea and C. H. Flood, "Fast splittable pseudorandom number generators",
       OOPSLA 2014.

    Examples
    --------
    >>> a = Stream((0,)).child("shuffle", 3)
    >>> bool((a.permutation(5) == a.permutation(5)).all())
    True
    """

    key: tuple[int | str, ...] = (0,)

    def child(self, *key: int | str) -> Stream:
        """Return the stream named by this key followed by `key`."""
        return Stream((*self.key, *key))

    def philox_key(self) -> tuple[int, int]:
        """Return the generator's key, as two words of 64 bits."""
        # int(): NumPy's 3 and Python's name the same stream
        key = tuple(k if isinstance(k, str) else int(k) for k in self.key)
        digest = hashlib.blake2b(repr(key).encode(), digest_size=16).digest()
        return int.from_bytes(digest[:8], "little"), int.from_bytes(digest[8:], "little")

    def generator(self) -> np.random.Generator:
        """Return a NumPy generator at the beginning of this stream."""
        return np.random.Generator(np.random.Philox(key=np.array(self.philox_key(), np.uint64)))

    def uniform(
        self, shape: tuple[int, ...], low: float = 0.0, high: float = 1.0, dtype: DTypeLike = np.float32
    ) -> Array:
        """Return numbers uniform on [low, high)."""
        u = self.generator().random(shape, np.float64)
        return (low + (high - low) * u).astype(dtype)

    def normal(self, shape: tuple[int, ...], std: float = 1.0, dtype: DTypeLike = np.float32) -> Array:
        """Return numbers normal with mean 0 and standard deviation `std`."""
        return (std * self.generator().standard_normal(shape, np.float64)).astype(dtype)

    def keep(self, shape: tuple[int, ...], probability: float) -> Array:
        """Return booleans that are true with `probability`: where a number uniform on [0, 1) is less."""
        u: Array = self.generator().random(shape, np.float32)
        return u < float(probability)  # of NumPy's numbers, too, compared in float32

    def integers(self, low: int, high: int, shape: tuple[int, ...]) -> Array:
        """Return integers uniform on low, ..., high - 1."""
        return self.generator().integers(low, high, shape)

    def hashed(self, numbers: Array) -> Array:
        """Return 64 random bits for each of some numbers, the same whatever others are asked with it.

        Parameters
        ----------
        numbers : (n,) int array
            Each at least 0.

        Returns
        -------
        (n,) uint64 array
            For number i, output i, from 0, of SplitMix64 begun with the first word of the generator's key.
        """
        key = np.uint64(self.philox_key()[0])
        z = key + (np.asarray(numbers).astype(np.uint64) + np.uint64(1)) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return z ^ (z >> np.uint64(31))

    def permutation(self, n: int) -> Array:
        """Return 0, ..., n - 1 in random order."""
        return self.generator().permutation(n)
