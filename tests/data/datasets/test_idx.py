from __future__ import annotations

import random

import numpy as np
import pytest

from handgrad.data.datasets import fashion_mnist, mnist
from handgrad.data.datasets.idx import NAMES, decode_idx, load_idx
from handgrad.errors import ArgumentError, DataError

CLASSES = tuple("abcdefghij")


def test_the_four_files_become_images_and_labels(tiny_idx, tmp_path):
    tiny = load_idx(tiny_idx.source, CLASSES, folder=tmp_path)
    stored = np.frombuffer(tiny_idx.files[NAMES[0]][16:], np.uint8).reshape(7, 20, 30, 1)
    assert (tiny.x_train.shape, tiny.x_train.dtype) == ((7, 20, 30, 1), np.float32)
    np.testing.assert_array_equal(tiny.x_train, (stored / 255).astype(np.float32))
    assert tiny.x_test.shape == (3, 20, 30, 1)
    assert (tiny.y_train.dtype, tiny.y_test.dtype) == (np.int64, np.int64)
    assert tiny.y_train.tolist() == [0, 1, 2, 3, 4, 5, 6]
    assert tiny.y_test.tolist() == [9, 0, 4]
    assert (tiny.name, tiny.class_names) == ("tiny", CLASSES)
    assert repr(tiny) == "ImageSet(tiny: 7 + 3 images 20x30x1 float32, 10 classes)"


def test_stored_bytes_on_request(tiny_idx, tmp_path):
    tiny = load_idx(tiny_idx.source, CLASSES, dtype=np.uint8, folder=tmp_path)
    assert tiny.x_train.dtype == np.uint8
    assert tiny.x_train.tobytes() == tiny_idx.files[NAMES[0]][16:]
    tiny.x_train[0] = 0


def test_another_dtype_is_refused_before_anything_is_fetched(tiny_idx, tmp_path, server):
    with pytest.raises(ArgumentError) as error:
        load_idx(tiny_idx.source, CLASSES, dtype=np.int32, folder=tmp_path)
    assert str(error.value) == "tiny: expected dtype uint8 or a floating-point type, got int32"
    assert server.asked == []


@pytest.mark.parametrize(
    ("contents", "message"),
    [
        (b"\0\0", "expected an IDX file of unsigned bytes, got one that begins b'\\x00\\x00'"),
        (
            b"\0\0\x0d\1\0\0\0\1\0",
            "expected an IDX file of unsigned bytes, got one that begins b'\\x00\\x00\\r\\x01'",
        ),
        (
            b"\0\0\x08\2\0\0\0\1",
            "expected an IDX file of unsigned bytes, got one that begins b'\\x00\\x00\\x08\\x02'",
        ),
        (b"\0\0\x08\1\0\0\0\3ab", "expected (3,) elements, got 2"),
        (
            b"\0\0\x08\2\x80\0\0\0\x80\0\0\0",
            "expected (2147483648, 2147483648) elements, got 0",
        ),
        (
            b"\0\0\x08\4" + b"\0\0\0\0" + b"\xff\xff\xff\xff" * 3,
            "expected an array that NumPy can hold, got shape (0, 4294967295, 4294967295, 4294967295)",
        ),
        (
            b"\0\0\x08\x64" + b"\0\0\0\1" * 100 + b"x",
            f"expected an array that NumPy can hold, got shape {(1,) * 100}",
        ),
    ],
)
def test_what_is_no_idx_file_is_refused(contents, message):
    with pytest.raises(DataError) as error:
        decode_idx(contents, "file")
    assert str(error.value) == f"file: {message}"


@pytest.mark.parametrize("module", [mnist, fashion_mnist])
def test_the_real_tables_are_those_of_60000_and_10000_images(module):
    assert tuple(file.name for file in module.SOURCE.files) == NAMES
    assert [file.size for file in module.SOURCE.files] == [
        16 + 60000 * 784,
        8 + 60000,
        16 + 10000 * 784,
        8 + 10000,
    ]
    for archive in module.SOURCE.archives:
        assert all(url.endswith("/" + archive.name) for url in archive.urls)
        assert archive.name == archive.files[0].name + ".gz"
    assert len(module.CLASS_NAMES) == 10


def test_the_real_addresses():
    assert mnist.SOURCE.archives[0].urls == (
        "https://ossci-datasets.s3.amazonaws.com/mnist/train-images-idx3-ubyte.gz",
        "https://storage.googleapis.com/cvdf-datasets/mnist/train-images-idx3-ubyte.gz",
    )
    assert fashion_mnist.SOURCE.archives[3].urls[0] == (
        "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/t10k-labels-idx1-ubyte.gz"
    )


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(tiny_idx):
    rng, whole, refused = random.Random(0), tiny_idx.files[NAMES[0]], 0
    for _ in range(5000):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            damaged[rng.randrange(24)] = rng.choice([0, 1, 255, rng.randrange(256)])
        del damaged[rng.choice([len(damaged), rng.randrange(len(damaged))]) :]
        try:
            decode_idx(bytes(damaged), "file")
        except DataError:
            refused += 1
    assert refused > 2000
