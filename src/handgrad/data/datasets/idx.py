"""The IDX format of MNIST and its kin, and sets of four such files.

A file is two zero bytes, the element type (8: unsigned bytes), the number of axes, each axis's length in four
bytes (big-endian), then the elements.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handgrad.data.datasets.cache import Archive, File, Source, read
from handgrad.data.datasets.image_set import ImageSet, check_dtype, pixels
from handgrad.errors import DataError
from handgrad.typing import Array, DTypeLike

NAMES = (
    "train-images-idx3-ubyte",
    "train-labels-idx1-ubyte",
    "t10k-images-idx3-ubyte",
    "t10k-labels-idx1-ubyte",
)


def idx_source(
    name: str, folder: str, addresses: tuple[str, ...], files: Mapping[str, tuple[int, str]]
) -> Source:
    """Return the source of four IDX files, each in a ``.gz`` of its own.

    Parameters
    ----------
    addresses : tuple of str
        Mirrors, each ending in ``/``.
    files : mapping of str to (int, str)
        Unpacked size and MD5 of every file.
    """
    return Source(
        name,
        folder,
        tuple(
            Archive(
                f"{file}.gz", tuple(f"{address}{file}.gz" for address in addresses), (File(file, size, md5),)
            )
            for file, (size, md5) in files.items()
        ),
    )


def load_idx(
    source: Source, class_names: tuple[str, ...], *, dtype: DTypeLike = np.float32, folder: Path | None = None
) -> ImageSet:
    """Return the set of four IDX files; `folder` stands in for the cache folder."""
    check_dtype(dtype, source.name)
    contents = read(source, folder)
    x_train, y_train, x_test, y_test = (decode_idx(contents[name], name) for name in NAMES)
    return ImageSet(
        source.name,
        pixels(x_train[..., None], dtype),  # (n, h, w) -> (n, h, w, 1)
        y_train.astype(np.int64),
        pixels(x_test[..., None], dtype),
        y_test.astype(np.int64),
        class_names,
    )


def decode_idx(contents: bytes, where: str) -> Array:
    """Return the array in an IDX file of unsigned bytes.

    Raises
    ------
    DataError
        If it is not one, or not as long as it says.
    """
    if len(contents) < 4 or contents[:3] != b"\0\0\x08" or len(contents) < 4 + 4 * contents[3]:
        raise DataError(
            where, expected="an IDX file of unsigned bytes", got=f"one that begins {contents[:4]!r}"
        )
    axes = contents[3]
    shape = struct.unpack(f">{axes}I", contents[4 : 4 + 4 * axes])
    elements = np.frombuffer(contents, np.uint8, offset=4 + 4 * axes)
    if elements.size != math.prod(shape):
        raise DataError(where, expected=f"{shape} elements", got=f"{elements.size:,}")
    try:
        return elements.reshape(shape).copy()
    except ValueError as error:  # too many axes, or none of which NumPy could have so many
        raise DataError(where, expected="an array that NumPy can hold", got=f"shape {shape}") from error
