from __future__ import annotations

import numpy as np
import pytest

from handgrad.data import ArrayDataset, Dataset, ImageFolder, NpyDataset, as_dataset
from handgrad.errors import ArgumentError, DataError


def test_a_batch_has_the_order_asked_for():
    x, y = np.arange(24.0).reshape(6, 2, 2, 1), np.arange(6) * 10
    data = ArrayDataset(x, y)
    xb, yb = data.batch(np.array([5, 0, 5]))
    assert (len(data), data.shape) == (6, (2, 2, 1))
    np.testing.assert_array_equal(xb, x[[5, 0, 5]])
    assert yb.tolist() == [50, 0, 50]


@pytest.mark.parametrize("dtype", [np.float64, np.float32, np.float16, np.int64, np.int16, bool])
def test_batches_are_float32_and_int64(dtype):
    data = ArrayDataset(np.ones((3, 2, 2, 1), dtype), np.arange(3, dtype=np.uint8))
    x, y = data.batch(np.arange(3))
    assert (x.dtype, y.dtype) == (np.float32, np.int64)
    assert x.max() == 1


def test_bytes_are_divided_by_255_exactly():
    every = np.arange(256, dtype=np.uint8).reshape(256, 1, 1, 1)
    x, _ = ArrayDataset(every, np.zeros(256)).batch(np.arange(256))
    np.testing.assert_array_equal(x.ravel(), (np.arange(256) / 255).astype(np.float32))


def test_a_scale_of_ones_own():
    x, _ = ArrayDataset(np.full((1, 1, 1, 1), 16, np.uint8), [0], scale=1 / 16).batch(np.array([0]))
    assert (x.item(), x.dtype) == (1.0, np.float32)


def test_double_precision_on_request():
    third = np.full((1, 1, 1, 1), 1 / 3)
    x, y = ArrayDataset(third, np.array([0.1]), dtype=np.float64).batch(np.array([0]))
    assert (x.item(), y.item()) == (1 / 3, 0.1)


def test_targets_and_one_hot_rows_stay_as_they_are():
    _, targets = ArrayDataset(np.zeros((2, 3)), np.array([[0.5, 1.5], [2.5, 3.5]])).batch(np.array([1]))
    assert (targets.tolist(), targets.dtype) == ([[2.5, 3.5]], np.float32)
    _, rows = ArrayDataset(np.zeros((3, 2)), np.eye(3, dtype=bool)).batch(np.array([2]))
    assert (rows.tolist(), rows.dtype) == ([[0, 0, 1]], np.int64)


def test_a_batch_can_be_written_without_harm():
    x, y = np.ones((2, 1, 1, 1), np.float32), np.zeros(2, np.int64)
    xb, yb = ArrayDataset(x, y).batch(np.arange(2))
    xb[:], yb[:] = 9, 9
    assert (x.max(), y.max()) == (1, 0)


def test_all_kinds_keep_the_protocol(tmp_path):
    np.save(tmp_path / "x.npy", np.zeros((1, 2, 2, 1)))
    assert isinstance(ArrayDataset(np.zeros((1, 2)), [0]), Dataset)
    assert isinstance(NpyDataset(tmp_path / "x.npy", [0]), Dataset)
    assert issubclass(ImageFolder, object)
    assert all(hasattr(ImageFolder, member) for member in ("__len__", "shape", "batch"))
    assert not isinstance(np.zeros(3), Dataset)


def test_all_labels_are_at_hand(tmp_path):
    x, y = np.zeros((3, 2)), [2, 0, 1]
    np.save(tmp_path / "x.npy", x)
    np.save(tmp_path / "y.npy", y)
    for data in (
        ArrayDataset(x, y),
        NpyDataset(tmp_path / "x.npy", y),
        NpyDataset(tmp_path / "x.npy", tmp_path / "y.npy"),
    ):
        assert data.labels.tolist() == y


def test_class_names_are_kept():
    assert ArrayDataset(np.zeros((1, 2)), [0], class_names=["a", "b"]).class_names == ("a", "b")
    assert ArrayDataset(np.zeros((1, 2)), [0]).class_names is None


def test_as_dataset_takes_arrays_lists_pairs_and_data_sets():
    x, y = np.zeros((2, 3)), np.array([0, 1])
    assert as_dataset(x, y).batch(np.array([1]))[1].tolist() == [1]
    assert as_dataset(x.tolist(), y.tolist()).shape == (3,)
    assert len(as_dataset((x, y))) == 2
    assert as_dataset(x, y, dtype=np.float64).batch(np.array([1]))[0].dtype == np.float64
    data = ArrayDataset(x, y)
    assert as_dataset(data) is data


def test_a_data_set_of_ones_own_is_taken_as_it_is():
    class Own:
        shape = (2,)

        def __len__(self):
            return 5

        def batch(self, indices):
            return np.zeros((len(indices), 2), np.float32), indices

    own = Own()
    assert as_dataset(own) is own


@pytest.mark.parametrize(
    ("x", "y", "message"),
    [
        (np.zeros((3, 2)), np.zeros(2), "data: expected a label for each of 3 images, got 2 labels"),
        (np.zeros((0, 2)), np.zeros(0), "data: expected at least one image, got none"),
        (np.float32(1), np.zeros(1), "data: expected an array of images, got a single number"),
        (np.zeros((3, 2)), 1, "data: expected an array of labels, got a single number"),
        (["a.png"], [0], "data: expected images as an array of numbers, got dtype <U5"),
        (np.zeros((1, 2)), ["cat"], "data: expected labels as an array of numbers, got dtype <U3"),
        (
            np.zeros((1, 2), complex),
            [0],
            "data: expected images as an array of numbers, got dtype complex128",
        ),
        (
            [[1, 2], [3]],
            [0, 1],
            "data: expected images as an array of numbers, got a list of rows of different shapes",
        ),
        (
            np.zeros((3, 2)),
            None,
            "data: expected a Dataset, or images with labels, got ndarray without labels; give y as well",
        ),
    ],
)
def test_what_cannot_be_data_is_refused(x, y, message):
    with pytest.raises(DataError) as error:
        as_dataset(x, y)
    assert str(error.value) == message


def test_labels_beside_a_data_set_are_refused():
    with pytest.raises(ArgumentError) as error:
        as_dataset(ArrayDataset(np.zeros((1, 2)), [0]), np.zeros(1))
    assert str(error.value) == (
        "data: expected no labels beside the ArrayDataset, which has its own, got ndarray; leave y out"
    )
