"""Changes to batches of images: what every image gets, and what chance gives each.

A transform is a frozen dataclass, called with a batch (n, h, w, c) and a random stream; it returns a batch of
the same dtype and never writes the one it was given. The same stream gives the same batch. Its fields are its
configuration. One that goes by which samples the batch holds is told them too: see `SampleTransform`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from numbers import Real
from typing import Any, ClassVar

import numpy as np

from handgrad.data.arrays import ArrayDataset
from handgrad.data.dataset import Dataset
from handgrad.data.transform import Samples, Transform, apply
from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.rng import Stream
from handgrad.typing import Array, is_integer

CACHED = 1 << 20
"""Bytes of a batch that a transform of several passes works on at a time."""


@dataclass(frozen=True)
class Normalize:
    """Subtract the mean and divide by the standard deviation of each channel, ``(x - mean)/std``.

    Parameters
    ----------
    mean, std : sequence of float
        One of each per channel.

    Raises
    ------
    ArgumentError
        If they are no finite numbers or not as many, or a `std` is not above 0.

    Notes
    -----
    Training and test images need the same: see `MappedDataset`.

    Examples
    --------
    >>> import numpy as np
    >>> x = np.array([1.0, 3.0]).reshape(2, 1, 1, 1)
    >>> Normalize.fit(x)
    Normalize(mean=(2.0,), std=(1.0,))
    >>> Normalize.fit(x)(x, Stream()).ravel().tolist()
    [-1.0, 1.0]
    """

    mean: tuple[float, ...]
    std: tuple[float, ...]

    def __post_init__(self) -> None:
        mean, std = _per_channel(self.mean, "mean"), _per_channel(self.std, "std")
        if len(mean) != len(std):
            raise ArgumentError(
                "Normalize", expected=f"a std for each of {len(mean)} means", got=f"{len(std)}"
            )
        if not all(s > 0 for s in std):
            raise ArgumentError("Normalize", expected="every std above 0", got=repr(std))
        object.__setattr__(self, "mean", mean)
        object.__setattr__(self, "std", std)

    @classmethod
    def fit(cls, data: Array | Dataset) -> Normalize:
        """Return the transform that gives `data` mean 0 and variance 1 in each channel.

        Parameters
        ----------
        data : (n, h, w, c) array or Dataset
            Images as they come to the transform: an array of uint8 counts as divided by 255, as in
            `ArrayDataset`.

        Returns
        -------
        Normalize
            With the population standard deviation; 1 for a channel that is constant.

        Notes
        -----
        One pass in blocks, in float64; blocks are joined by the formula of T. F. Chan, G. H. Golub and
        R. J. LeVeque, "Updating formulae and a pairwise algorithm for computing sample variances", 1979:
        with d = mean_b - mean, ``M2 += M2_b + d^2 n m/(n + m)`` and ``mean += d m/(n + m)``.
        """
        if not isinstance(data, Dataset):
            data = ArrayDataset(data, np.zeros(len(data)), dtype=np.float64)
        n, mean, M2 = 0, np.zeros(1), np.zeros(1)
        for start in range(0, len(data), 1024):
            x, _ = data.batch(np.arange(start, min(start + 1024, len(data))))
            rows = (
                _images(x, "Normalize").reshape(-1, x.shape[-1]).astype(np.float64)
            )  # (n, h, w, c) -> (n*h*w, c)
            m, mean_b = len(rows), rows.mean(axis=0)
            d = mean_b - mean
            M2 = M2 + np.square(rows - mean_b).sum(axis=0) + d**2 * n * m / (n + m)
            mean = mean + d * m / (n + m)
            n += m
        if n == 0:
            raise DataError("Normalize", expected="at least one image", got="none")
        std = np.sqrt(M2 / n)
        return cls(tuple(mean), tuple(np.where(std > 0, std, 1)))

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return ``(x - mean)/std``."""
        if _images(x, "Normalize").dtype.kind != "f":
            raise DataError("Normalize", expected="floating-point images", got=f"dtype {x.dtype}")
        if x.shape[-1] != len(self.mean):
            raise ShapeError(
                "Normalize", expected=f"images of {len(self.mean)} channels", got=f"{x.shape[-1]} channels"
            )
        n, h, w, c = x.shape
        # repeated for all pixels of an image: NumPy's inner loops are as long as the last axis
        mean, std = (np.tile(np.asarray(values, x.dtype), h * w) for values in (self.mean, self.std))
        y: Array = x.reshape(n, h * w * c) - mean  # (n, h, w, c) -> (n, h*w*c)
        y /= std
        return y.reshape(x.shape)


@dataclass(frozen=True)
class RandomFlip:
    """Mirror each image, left to right, with `probability`."""

    probability: float = 0.5

    def __post_init__(self) -> None:
        if not _is_number(self.probability) or not 0 <= self.probability <= 1:
            raise ArgumentError(
                "RandomFlip", expected="a probability from 0 to 1", got=repr(self.probability)
            )

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return the images, some of them mirrored."""
        return _mirror(x, rng.keep((len(_images(x, "RandomFlip")),), self.probability))


@dataclass(frozen=True)
class AlternatingFlip:
    """Mirror each image, left to right, in every other epoch: of two epochs that follow one another, in one.

    In the first epoch half of the images are mirrored, chosen by a hash of their numbers in the data set; in
    the second epoch the others are; and so on. `RandomFlip` shows an image the same way twice in half of such
    pairs of epochs, and so leaves out some of what there is to see.

    Notes
    -----
    Image i is mirrored in epoch e, counted from 0, where ``(bit_i + e) mod 2 = 1`` with a random bit for each
    image, ``bit_i = samples.rng.hashed(i) >> 63``. It has to be told the images' numbers, which `Trainer.fit`
    and `Loader` do.

    References
    ----------
    K. Jordan, "94% on CIFAR-10 in 3.29 seconds on a single GPU", 2024, arXiv:2404.00498, on alternating flip.

    Examples
    --------
    >>> import numpy as np
    >>> from handgrad.data import ArrayDataset, Loader
    >>> images = np.broadcast_to(np.float32([[0], [1]]), (6, 1, 2, 1))  # left 0, right 1
    >>> loader = Loader(ArrayDataset(images, np.arange(6)), 6, shuffle=False, transform=AlternatingFlip())
    >>> for epoch in range(3):  # the left pixel of each: 1 where it is mirrored
    ...     print(loader.batch(epoch, 0)[0][:, 0, 0, 0].astype(int).tolist())
    [1, 0, 1, 1, 0, 0]
    [0, 1, 0, 0, 1, 1]
    [1, 0, 1, 1, 0, 0]
    """

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Raise ArgumentError: a batch alone does not say which images it holds."""
        raise ArgumentError(
            "AlternatingFlip",
            expected="to be told which images these are",
            got="a batch alone",
            do="give it to Trainer.fit or to a Loader as transform=",
        )

    def apply_to_samples(self, x: Array, rng: Stream, samples: Samples) -> Array:
        """Return the images, those whose turn it is mirrored."""
        bit = samples.rng.hashed(samples.indices) >> np.uint64(63)
        return _mirror(_images(x, "AlternatingFlip"), (bit + np.uint64(samples.epoch)) % np.uint64(2) == 1)


@dataclass(frozen=True)
class RandomCrop:
    """Shift each image by up to `padding` pixels: pad all sides, then cut out the old size anywhere.

    Parameters
    ----------
    padding : int, default 4
        Pixels added on each side; each shift in -padding, ..., padding is equally likely.
    mode : "constant", "reflect" or "edge", default "constant"
        The pixels added: 0, the image mirrored at its border (without repeating it), or its border repeated.
    """

    padding: int = 4
    mode: str = "constant"
    modes: ClassVar[tuple[str, ...]] = ("constant", "reflect", "edge")

    def __post_init__(self) -> None:
        if not is_integer(self.padding) or self.padding < 0:
            raise ArgumentError("RandomCrop", expected="a padding of at least 0", got=repr(self.padding))
        if not isinstance(self.mode, str) or self.mode not in self.modes:
            raise ArgumentError(
                "RandomCrop", expected=f"mode one of {', '.join(self.modes)}", got=repr(self.mode)
            )

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return the images, shifted."""
        n, h, w, _ = _images(x, "RandomCrop").shape
        p = self.padding
        if self.mode == "reflect" and p >= min(h, w):
            raise ShapeError("RandomCrop", expected=f"images larger than the padding {p}", got=f"{h}x{w}")
        top, left = (rng.child(of).integers(0, 2 * p + 1, (n,)).tolist() for of in ("rows", "columns"))
        y = np.empty(x.shape, x.dtype)
        for part in _parts(x):
            padded = np.pad(x[part], ((0, 0), (p, p), (p, p), (0, 0)), self.mode)  # type: ignore[call-overload]
            for y_i, padded_i, i, j in zip(y[part], padded, top[part], left[part], strict=True):
                y_i[...] = padded_i[i : i + h, j : j + w]
        return y


@dataclass(frozen=True)
class Cutout:
    """Cover a square of each image.

    The square's centre is uniform on the image, so that at the border a part of it falls outside.

    Parameters
    ----------
    size : int
        Side of the square in pixels.
    fill : float, default 0
        The value put there; after `Normalize`, 0 is the mean.

    References
    ----------
    T. DeVries and G. W. Taylor, "Improved regularization of convolutional neural networks with cutout", 2017.
    """

    size: int
    fill: float = 0.0

    def __post_init__(self) -> None:
        if not is_integer(self.size) or self.size < 1:
            raise ArgumentError("Cutout", expected="a size of at least 1", got=repr(self.size))
        if not _is_number(self.fill):
            raise ArgumentError("Cutout", expected="a fill that is a finite number", got=repr(self.fill))

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return the images, each with a square covered."""
        n, h, w, _ = _images(x, "Cutout").shape
        top = rng.child("rows").integers(0, h, (n,)) - self.size // 2
        left = rng.child("columns").integers(0, w, (n,)) - self.size // 2
        y, fill = x.copy(), x.dtype.type(self.fill)
        for y_i, i, j in zip(y, top.tolist(), left.tolist(), strict=True):
            y_i[max(i, 0) : i + self.size, max(j, 0) : j + self.size] = fill
        return y


@dataclass(frozen=True)
class Compose:
    """One transform after the other, each with a stream of its own, ``rng.child(i)``."""

    transforms: tuple[Transform, ...]

    def __post_init__(self) -> None:
        several = isinstance(self.transforms, list | tuple)
        if not several or not all(callable(transform) for transform in self.transforms):
            raise ArgumentError("Compose", expected="a list of transforms", got=repr(self.transforms))
        object.__setattr__(self, "transforms", tuple(self.transforms))

    def __call__(self, x: Array, rng: Stream) -> Array:
        """Return the batch after all of them."""
        for i, transform in enumerate(self.transforms):
            x = transform(x, rng.child(i))
        return x

    def apply_to_samples(self, x: Array, rng: Stream, samples: Samples) -> Array:
        """Return the batch after all of them, each told the samples if it goes by them."""
        for i, transform in enumerate(self.transforms):
            x = apply(transform, x, rng.child(i), samples)
        return x


def _mirror(x: Array, which: Array) -> Array:
    """Return the images, those of `which` mirrored, left to right."""
    y = np.empty(x.shape, x.dtype)
    for part in _parts(x):
        y[part] = x[part]
        i = part.start + np.flatnonzero(which[part])
        images = x[i]
        mirrored = np.empty_like(images)
        for channel in range(x.shape[-1]):  # one at a time: NumPy's inner loops are as long as a row then
            mirrored[..., channel] = images[:, :, ::-1, channel]
        y[i] = mirrored
    return y


def _parts(x: Array) -> Iterator[slice]:
    """Yield parts of a batch that are small enough for what is made of them in between to stay in a cache."""
    images = max(1, CACHED // max(1, x[:1].nbytes))
    return (slice(start, start + images) for start in range(0, len(x), images))


def _images(x: Array, where: str) -> Array:
    """Return `x`, or raise ShapeError if it is no batch of images."""
    if x.ndim != 4:
        raise ShapeError(where, expected="images (n, height, width, channels)", got=f"shape {x.shape}")
    return x


def _is_number(value: Any) -> bool:
    real = isinstance(value, Real) and not isinstance(value, bool)
    return real and bool(-math.inf < value < math.inf)


def _per_channel(values: Any, what: str) -> tuple[float, ...]:
    """Return one number or several as a tuple, or raise ArgumentError if they are none."""
    try:
        numbers = np.atleast_1d(values)
    except ValueError:  # rows of different lengths
        numbers = np.empty(0)
    if numbers.dtype.kind in "iuf" and numbers.ndim == 1 and numbers.size and np.isfinite(numbers).all():
        return tuple(map(float, numbers))
    expected = f"{what} as one finite number per channel"
    raise ArgumentError("Normalize", expected=expected, got=repr(values))
