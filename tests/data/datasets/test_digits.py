from __future__ import annotations

import io
from importlib.resources import files

import numpy as np
import pytest

from handgrad.data import ArrayDataset, digits
from handgrad.data.datasets import digits as module
from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream


def pieces(images, labels):
    return {(x.tobytes(), int(y)) for x, y in zip(images, labels, strict=True)}


def test_shapes_types_and_range():
    d = digits()
    assert (d.x_train.shape, d.x_test.shape) == ((1437, 8, 8, 1), (360, 8, 8, 1))
    assert (d.x_train.dtype, d.y_train.dtype) == (np.float32, np.int64)
    assert (d.x_train.min(), d.x_train.max()) == (0, 1)
    assert d.class_names == ("0", "1", "2", "3", "4", "5", "6", "7", "8", "9")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_pixels_are_exactly_sixteenths(dtype):
    k = digits(dtype=dtype).x_train * 16
    assert k.dtype == dtype
    assert np.unique(k).tolist() == list(range(17))


def test_bytes_go_from_0_to_255_as_of_every_other_set():
    stored, x = digits(dtype=np.uint8), digits(dtype=np.float64)
    assert (stored.x_train.dtype, stored.x_train.min(), stored.x_train.max()) == (np.uint8, 0, 255)
    np.testing.assert_array_equal(stored.x_test, np.rint(x.x_test * 255))
    np.testing.assert_array_equal(stored.x_train, np.rint(x.x_train * 255))


def test_bytes_mean_to_a_data_set_what_numbers_do():
    stored, x = digits(dtype=np.uint8), digits()
    from_bytes, _ = ArrayDataset(stored.x_test, stored.y_test).batch(np.arange(360))
    np.testing.assert_allclose(from_bytes, x.x_test, rtol=0, atol=0.5 / 255 + 1e-6)


def test_the_default_division_never_changes():
    d = digits()
    assert d.y_test[:12].tolist() == [5, 4, 5, 0, 9, 2, 3, 6, 2, 2, 1, 1]
    assert (d.x_test * 16).sum(dtype=np.float64) == 112_355


def test_every_class_gives_its_share():
    d = digits()
    counts = np.bincount(np.concatenate([d.y_train, d.y_test]))
    assert counts.tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert np.abs(np.bincount(d.y_test) - counts * 360 / 1797).max() < 1


def test_no_image_is_in_both_parts_and_none_is_lost():
    d = digits(test_size=600, seed=3, dtype=np.uint8)
    train, test = pieces(d.x_train, d.y_train), pieces(d.x_test, d.y_test)
    assert (len(d.x_train), len(d.x_test)) == (1197, 600)
    assert not train & test
    other = digits(dtype=np.uint8)
    assert train | test == pieces(other.x_train, other.y_train) | pieces(other.x_test, other.y_test)


def test_seeds_divide_differently_and_repeatably():
    assert not np.array_equal(digits(seed=0).x_test, digits(seed=1).x_test)
    np.testing.assert_array_equal(digits(seed=1).x_test, digits(seed=1).x_test)


@pytest.mark.parametrize("size", [1, 3, 719, 1796])
def test_any_size_is_met_exactly(size):
    assert len(digits(test_size=size).x_test) == size


@pytest.mark.parametrize("size", range(1, 20))
def test_stratified_shares_are_within_one(size):
    labels = np.repeat([0, 1, 2], [10, 7, 3])
    mask = module.stratified(labels, size, Stream())
    assert mask.sum() == size
    assert np.all(np.abs(np.bincount(labels[mask], minlength=3) - size * np.array([10, 7, 3]) / 20) < 1)


@pytest.mark.parametrize("size", [0, 1797, 0.2, True])
def test_a_size_that_means_nothing_is_refused(size):
    with pytest.raises(ArgumentError) as error:
        digits(test_size=size)
    assert str(error.value) == f"digits: expected test_size from 1 to 1796, got {size}"


def test_another_dtype_is_refused():
    with pytest.raises(
        ArgumentError, match=r"^digits: expected dtype uint8 or a floating-point type, got int64$"
    ):
        digits(dtype=np.int64)


def test_a_damaged_file_is_never_used(monkeypatch):
    with module.RESOURCE.open("rb") as file, np.load(file) as arrays:
        images, labels = arrays["images"], arrays["labels"]
    images[0, 0, 0] += 1
    altered = io.BytesIO()
    np.savez_compressed(altered, images=images, labels=labels)

    class Altered:
        def open(self, _mode):
            return io.BytesIO(altered.getvalue())

        def __str__(self):
            return "digits.npz"

    monkeypatch.setattr(module, "RESOURCE", Altered())
    with pytest.raises(
        DataError, match=rf"^digits.npz: expected contents with SHA-256 {module.SHA256}, got \w{{64}}; "
    ):
        digits()


def test_its_source_is_named_beside_it():
    text = (files("handgrad.data.datasets") / "digits.txt").read_text(encoding="utf-8")
    assert "https://doi.org/10.24432/C50P49" in text
    assert "CC BY 4.0" in text


def test_it_is_the_set_that_scikit_learn_ships():
    load_digits = pytest.importorskip("sklearn.datasets").load_digits
    theirs = load_digits()
    d = digits(dtype=np.float64)
    ours = pieces(d.x_train, d.y_train) | pieces(d.x_test, d.y_test)
    assert ours == pieces(theirs.images / 16, theirs.target)
