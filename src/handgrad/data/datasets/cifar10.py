"""CIFAR-10: 60,000 colour photographs of 32x32 pixels.

A. Krizhevsky, "Learning multiple layers of features from tiny images", 2009. In the binary version each
record is one byte of label, then 3*32*32 bytes of pixels by channel, row and column.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgrad.data.datasets.cache import Archive, File, Source, read
from handgrad.data.datasets.image_set import ImageSet, check_dtype, pixels
from handgrad.errors import DataError
from handgrad.typing import Array, DTypeLike

BATCH = 30_730_000  # 10,000 records
SOURCE = Source(
    "cifar10",
    "cifar10",
    (
        Archive(
            "cifar-10-binary.tar.gz",
            (
                "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
                "https://storage.googleapis.com/s4tf-hosted-binaries/datasets/CIFAR10/cifar-10-binary.tar.gz",
            ),
            (
                File("data_batch_1.bin", BATCH, "5dd7e06a14cb22eb9f671a540d1b7c25"),
                File("data_batch_2.bin", BATCH, "5ea93a67294ea407fff1d09f752e9692"),
                File("data_batch_3.bin", BATCH, "942cd6a4bcdd0dd3c604fbe906cb4421"),
                File("data_batch_4.bin", BATCH, "ae636b3ba5c66a11e91e8cb52e771fcb"),
                File("data_batch_5.bin", BATCH, "53f37980c15c3d472c316c40844f3f0d"),
                File("test_batch.bin", BATCH, "803d5f7f4d78ea53de84dbe85f74fb6d"),
            ),
        ),
    ),
)
CLASS_NAMES = (
    "airplane",
    "automobile",
    "bird",
    "cat",
    "deer",
    "dog",
    "frog",
    "horse",
    "ship",
    "truck",
)


def cifar10(*, dtype: DTypeLike = np.float32) -> ImageSet:
    """Return CIFAR-10, fetched into the cache when it is not there.

    Parameters
    ----------
    dtype : dtype, default float32
        Pixels in [0, 1]; with ``np.uint8`` the stored 0, ..., 255 (a quarter of the memory: 184 MB).

    Returns
    -------
    ImageSet
        50,000 and 10,000 images (n, 32, 32, 3), red, green, blue.

    Raises
    ------
    DataError
        If it can neither be found nor fetched, or a file has the wrong contents.
    """
    return load_cifar(SOURCE, dtype=dtype)


def load_cifar(source: Source, *, dtype: DTypeLike = np.float32, folder: Path | None = None) -> ImageSet:
    """Return the set in such files as CIFAR-10's; `folder` stands in for the cache folder."""
    check_dtype(dtype, source.name)
    contents = read(source, folder)
    x_test, y_test = decode_records(contents.pop("test_batch.bin"))
    x_train, y_train = decode_records(b"".join(contents[name] for name in sorted(contents)))
    return ImageSet(source.name, pixels(x_train, dtype), y_train, pixels(x_test, dtype), y_test, CLASS_NAMES)


def decode_records(contents: bytes) -> tuple[Array, Array]:
    """Return images (n, 32, 32, 3) and labels (n,) of records of 3,073 bytes; DataError for a part of one."""
    if len(contents) % 3073:
        got = f"{len(contents):,} bytes"
        raise DataError("CIFAR-10", expected="records of 3,073 bytes", got=got)
    records = np.frombuffer(contents, np.uint8).reshape(-1, 3073)
    pixels = records[:, 1:].reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)  # (n, c, h, w) -> (n, h, w, c)
    return np.ascontiguousarray(pixels), records[:, 0].astype(np.int64)
