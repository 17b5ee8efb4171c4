"""The embedded set: 1,797 handwritten digits of 8x8 pixels.

E. Alpaydin and C. Kaynak, "Optical Recognition of Handwritten Digits", UCI Machine Learning Repository, 1998,
https://doi.org/10.24432/C50P49, licence CC BY 4.0: its test set, by 13 writers (see ``digits.txt``).
"""

from __future__ import annotations

import hashlib
from importlib.resources import files

import numpy as np

from handgrad.data.datasets.image_set import ImageSet, check_dtype
from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream
from handgrad.typing import Array, DTypeLike, is_integer

RESOURCE = files(__package__) / "digits.npz"
# Of the images' bytes, then the labels'.
SHA256 = "87ff0c9e40dc7e2c0e34e7257799c2e3f3aec1a016363bb11cad869ec428a826"


def digits(*, test_size: int = 360, seed: int = 0, dtype: DTypeLike = np.float32) -> ImageSet:
    """Return the embedded digits, divided into a training and a test part.

    Parameters
    ----------
    test_size : int, default 360
        Images in the test part; every class gives its share, to within one.
    seed : int, default 0
        Chooses them: of each class those that come first in the order
        ``Stream((seed,)).child("digits", label)`` gives it. Both parts stay in the order of the file.
    dtype : dtype, default float32
        Pixels in [0, 1], the stored k = 0, ..., 16 as exactly k/16; with ``np.uint8`` in 0, ..., 255, as
        everywhere, k as 255 k/16 rounded.

    Returns
    -------
    ImageSet
        Images (n, 8, 8, 1): 1,437 and 360 of them by default.

    Raises
    ------
    ArgumentError
        If `test_size` is not in 1, ..., 1796, or `dtype` neither uint8 nor floating point.
    DataError
        If the embedded file is damaged.

    Examples
    --------
    >>> digits()
    ImageSet(digits: 1,437 + 360 images 8x8x1 float32, 10 classes)
    """
    check_dtype(dtype, "digits")
    images, labels = _embedded()
    if not is_integer(test_size) or not 1 <= test_size < len(labels):
        raise ArgumentError("digits", expected=f"test_size from 1 to {len(labels) - 1}", got=repr(test_size))
    test = stratified(labels, test_size, Stream((seed,)).child("digits"))
    x, y = _sixteenths(images[..., None], dtype), labels.astype(np.int64)  # (n, h, w) -> (n, h, w, 1)
    return ImageSet("digits", x[~test], y[~test], x[test], y[test], tuple("0123456789"))


def stratified(labels: Array, size: int, rng: Stream) -> Array:
    """Return a mask of `size` samples, of each class its share ``size*count/n`` rounded down or up.

    What rounding down leaves goes to the classes with the largest remainders, the first of them on a tie.
    """
    counts = np.bincount(labels)
    quota, remainder = np.divmod(size * counts, len(labels))
    quota[np.argsort(-remainder, kind="stable")[: size - quota.sum()]] += 1
    mask = np.zeros(len(labels), bool)
    for label, count in enumerate(quota):
        members = np.flatnonzero(labels == label)
        mask[members[rng.child(label).permutation(len(members))[:count]]] = True
    return mask


def _sixteenths(k: Array, dtype: DTypeLike) -> Array:
    if np.dtype(dtype) == np.uint8:
        return np.rint(k * (255 / 16)).astype(np.uint8)
    return np.divide(k, 16, dtype=dtype)


def _embedded() -> tuple[Array, Array]:
    expected, do = f"contents with SHA-256 {SHA256}", "install handgrad again"
    try:
        with RESOURCE.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
            images, labels = arrays["images"], arrays["labels"]
    except Exception as error:  # readers of archives raise all kinds of damaged ones
        got = str(error) or type(error).__name__
        raise DataError(str(RESOURCE), expected=expected, got=got, do=do) from error
    digest = hashlib.sha256(images.tobytes() + labels.tobytes()).hexdigest()
    if digest != SHA256:
        raise DataError(str(RESOURCE), expected=expected, got=digest, do=do)
    return images, labels
