from __future__ import annotations

import random
import sys

import numpy as np
import pytest

from handgrad.data import ArrayDataset, NpyDataset
from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream


@pytest.fixture
def images(tmp_path):
    """A file of 50 images of bytes and a file of their labels, with the arrays in them."""
    x = Stream(("npy",)).integers(0, 256, (50, 4, 6, 3)).astype(np.uint8)
    y = np.arange(50) % 7
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    return tmp_path / "x.npy", tmp_path / "y.npy", x, y


@pytest.mark.parametrize("labels_from_file", [True, False])
def test_batches_are_those_of_the_array_in_memory(images, labels_from_file):
    x_path, y_path, x, y = images
    data, memory = NpyDataset(x_path, y_path if labels_from_file else y), ArrayDataset(x, y)
    assert (len(data), data.shape) == (50, (4, 6, 3))
    for indices in (
        np.array([49, 0, 7, 7, 3]),
        np.arange(50),
        np.zeros(0, np.int64),
        Stream().permutation(50),
    ):
        for got, expected in zip(data.batch(indices), memory.batch(indices), strict=True):
            np.testing.assert_array_equal(got, expected)
            assert got.dtype == expected.dtype
            assert type(got) is np.ndarray


def test_paths_may_be_strings_and_scale_and_names_are_kept(images):
    x_path, y_path, x, _ = images
    data = NpyDataset(str(x_path), str(y_path), scale=0.5, class_names=["a"], dtype=np.float64)
    np.testing.assert_array_equal(data.batch(np.array([3]))[0], x[[3]] * 0.5)
    assert data.class_names == ("a",)


def test_rows_are_read_in_the_order_of_the_file(images):
    asked = []

    class Spy(np.ndarray):
        def __getitem__(self, key):
            asked.append(np.asarray(key).tolist())
            return np.asarray(super().__getitem__(key))

    x_path, _, x, y = images
    data = NpyDataset(x_path, y)
    data.x = data.x.view(Spy)
    xb, _ = data.batch(np.array([30, 2, 11, 2]))
    assert asked == [[2, 2, 11, 30]]
    np.testing.assert_array_equal(xb, (x[[30, 2, 11, 2]] / 255).astype(np.float32))


@pytest.mark.skipif(sys.platform == "win32", reason="files there are not sparse by default")
def test_a_file_larger_than_memory_is_no_trouble(tmp_path):
    n, shape = 1 << 20, (256, 256, 3)  # 206 GB, nearly all of it a hole
    path = tmp_path / "large.npy"
    header = {"descr": "|u1", "fortran_order": False, "shape": (n, *shape)}
    with path.open("wb") as file:
        np.lib.format.write_array_header_1_0(file, header)
        start = file.tell()
        try:
            file.truncate(start + n * 196608)
        except OSError:
            pytest.skip("the file system has no room for a file of 206 GB, even an empty one")
        file.seek(start + (n - 1) * 196608)
        file.write(bytes([255]) * 196608)
    data = NpyDataset(path, np.arange(n))
    x, y = data.batch(np.array([n - 1, 12345]))
    assert (len(data), x.shape, y.tolist()) == (n, (2, *shape), [n - 1, 12345])
    assert (x[0].min(), x[1].max()) == (1, 0)


def test_a_missing_file_is_named(tmp_path):
    path = tmp_path / "none.npy"
    with pytest.raises(DataError) as error:
        NpyDataset(path, [0])
    assert (
        str(error.value)
        == f"{path}: expected a .npy file, got no such file; make it with numpy.save(path, array)"
    )


@pytest.mark.parametrize("damage", ["truncated", "empty", "text", "archive", "strings", "objects", "fortran"])
def test_a_file_that_cannot_be_used_is_named(images, tmp_path, damage):
    x_path, y_path, x, _ = images
    path = tmp_path / "bad.npy"
    if damage == "archive":
        with path.open("wb") as file:
            np.savez(file, x=x)
    elif damage in ("strings", "objects", "fortran"):
        make = {"strings": np.array(["a"]), "objects": np.array([{}]), "fortran": np.asfortranarray(x)}
        np.save(path, make[damage], allow_pickle=True)
    else:
        contents = {"truncated": x_path.read_bytes()[:-1], "empty": b"", "text": b"hello, world"}
        path.write_bytes(contents[damage])
    expected = {
        "archive": "a .npy file of one array, got an archive of several",
        "strings": "a .npy file of numbers, got dtype <U1",
        "fortran": "an array in C order, got Fortran order, in which no row stands together",
    }.get(damage, "a .npy file of numbers, got ")
    with pytest.raises(DataError) as error:
        NpyDataset(path, y_path)
    assert str(error.value).startswith(f"{path}: expected {expected}")


@pytest.mark.parametrize("value", [np.zeros((3, 2)), 5, None, [1]])
def test_what_is_no_path_is_refused(value):
    with pytest.raises(ArgumentError) as error:
        NpyDataset(value, [0])
    assert str(error.value) == (
        f"NpyDataset: expected the path of a .npy file, got {type(value).__name__}; ArrayDataset takes arrays"
    )


def test_labels_that_are_not_as_many_are_refused(images):
    with pytest.raises(DataError) as error:
        NpyDataset(images[0], np.arange(49))
    assert str(error.value) == f"{images[0]}: expected a label for each of 50 images, got 49 labels"


@pytest.mark.parametrize(
    ("content", "got"),
    [
        (b"", "an empty file"),
        (b"hello, world", "text"),
        (b"<html><body>404</body></html>", "an HTML page, as servers send in place of a file"),
        (b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG image"),
    ],
)
def test_what_a_file_is_instead_is_said(content, got, tmp_path):
    path = tmp_path / "x.npy"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        NpyDataset(path, [0])
    assert str(error.value) == (
        f"{path}: expected a .npy file of numbers, got {got}; make it with numpy.save(path, array)"
    )


@pytest.mark.parametrize(
    "header",
    [
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (9999999999999999999, 9999999999999999999), }",
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (-1, 2), }",
        b"{'descr': '" + b"(2,)" * 800 + b"f4', 'fortran_order': False, 'shape': (3,), }",
        b"(" * 3000,
        b"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }\0",
        b"\x27\x27\x27",
    ],
)
def test_a_damaged_header_is_an_error_of_ours(header, tmp_path):
    path = tmp_path / "x.npy"
    header = header.ljust(116) + b"\n"
    path.write_bytes(b"\x93NUMPY\x01\0" + len(header).to_bytes(2, "little") + header + bytes(12))
    with pytest.raises(DataError, match=r"x\.npy: expected a \.npy file of numbers, got "):
        NpyDataset(path, [0])


@pytest.mark.slow
def test_damaged_files_are_read_or_refused(images, tmp_path):
    whole, rng, path, refused = images[0].read_bytes(), random.Random(0), tmp_path / "x.npy", 0
    for _ in range(300):
        damaged = bytearray(whole)
        for _ in range(rng.choice([1, 1, 3])):
            damaged[rng.randrange(128)] = rng.choice([0, 10, 39, 40, 255, rng.randrange(256)])
        path.write_bytes(damaged)
        try:
            NpyDataset(path, np.arange(50)).batch(np.array([0, 1]))
        except DataError:
            refused += 1
    assert refused > 150
