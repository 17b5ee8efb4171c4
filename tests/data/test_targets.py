"""Targets that are images are numbers from 0 to 1, as images are; what else bytes mean stays as it is."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import data, layers
from handgrad.data import ArrayDataset, NpyDataset, Subset, as_dataset
from handgrad.data.samples import are_pixels
from handgrad.errors import ArgumentError, DataError

BYTES = np.random.default_rng(0).integers(0, 256, (6, 4, 4, 1), dtype=np.uint8)
ALL = np.arange(6)


def of_files(x, y, folder, **options):
    np.save(folder / "x.npy", x)
    np.save(folder / "y.npy", y)
    return NpyDataset(folder / "x.npy", folder / "y.npy", **options)


@pytest.mark.parametrize("kind", ["arrays", "files"])
def test_targets_of_bytes_are_divided_as_images_are(kind, tmp_path):
    def dataset(x, y, **options):
        return ArrayDataset(x, y, **options) if kind == "arrays" else of_files(x, y, tmp_path, **options)

    for target in (BYTES, BYTES.repeat(2, axis=1)):
        made = dataset(BYTES, target)
        x, y = made.batch(ALL)
        assert (x.dtype, y.dtype) == (np.float32, np.float32)
        np.testing.assert_array_equal(y, target / np.float32(255))
        assert made.labels is None
        assert Subset(made, [1, 2]).labels is None
    _, y = dataset(BYTES, BYTES, scale=0.5).batch(ALL)
    np.testing.assert_array_equal(y, BYTES * np.float32(0.5))


NUMBERS = {
    "class numbers": np.arange(6, dtype=np.uint8),
    "class numbers in a column": np.arange(6, dtype=np.uint8)[:, None],
    "one-hot rows": np.eye(6, dtype=np.uint8),
    "a mask": (BYTES > 99).astype(np.uint8),
    "a map of classes": BYTES[..., 0] % 5,
    "integers": BYTES.astype(np.int64),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_bytes_that_are_no_images_stay_numbers(case):
    y = NUMBERS[case]
    made = ArrayDataset(BYTES, y)
    assert made.labels is y
    assert not are_pixels(BYTES, y)
    np.testing.assert_array_equal(made.batch(ALL)[1], y)


def autoencoder(loss):
    model = hg.Sequential(
        [layers.Flatten(), layers.Dense(16), layers.Reshape((4, 4, 1))], input_shape=(4, 4, 1)
    )
    return hg.Trainer(model, loss, "sgd")


@pytest.mark.parametrize("loss", ["mean_squared_error", "binary_cross_entropy"])
def test_an_autoencoder_of_bytes_trains_as_one_of_numbers(loss):
    numbers = BYTES / np.float32(255)
    by_bytes, by_numbers = autoencoder(loss), autoencoder(loss)
    a = by_bytes.fit(BYTES, BYTES, batch_size=2, validation=(BYTES, BYTES))
    b = by_numbers.fit(numbers, numbers, batch_size=2, validation=(numbers, numbers))
    assert a == b
    assert a["loss"][0] < 3
    assert by_bytes.evaluate(BYTES, BYTES) == by_numbers.evaluate(numbers, numbers)
    assert by_bytes.train_step(BYTES, BYTES) == by_numbers.train_step(numbers, numbers)


def test_masks_of_bytes_are_labels():
    mask = (BYTES > 99).astype(np.uint8)
    a, b = autoencoder("binary_cross_entropy"), autoencoder("binary_cross_entropy")
    assert a.fit(BYTES, mask) == b.fit(BYTES, mask.astype(np.float32))


def test_a_list_of_two_is_a_pair():
    x, y = np.zeros((5, 2), np.float32), np.arange(5) % 2
    trainer = hg.Trainer(hg.Sequential([layers.Dense(2)], input_shape=(2,)), "cross_entropy")
    trainer.fit([x, y], validation=[x, y])
    assert trainer.evaluate([x, y]) == trainer.evaluate(x, y)
    assert len(as_dataset([x, y])) == 5
    with pytest.raises(DataError, match="expected a Dataset, or images with labels, got list without labels"):
        as_dataset([x, y, y])


def test_a_known_set_gives_images_for_training_and_for_testing():
    digits = data.digits()
    train, test = as_dataset(digits), as_dataset(digits, part="test")
    assert (len(train), len(test)) == (len(digits.x_train), len(digits.x_test))
    assert train.class_names == test.class_names == digits.class_names

    def trainer():
        model = hg.Sequential([layers.Flatten(), layers.Dense(10)], input_shape=(8, 8, 1))
        return hg.Trainer(model, "cross_entropy", metrics=["accuracy"])

    a, b = trainer(), trainer()
    assert a.fit(digits, validation=digits) == b.fit(
        digits.x_train, digits.y_train, validation=(digits.x_test, digits.y_test)
    )
    assert a.evaluate(digits) == b.evaluate(digits.x_test, digits.y_test)
    with pytest.raises(ArgumentError) as error:
        a.fit(digits, digits.y_train)
    assert str(error.value) == (
        "data: expected no labels beside the ImageSet, which has its own, got ndarray; leave y out"
    )
