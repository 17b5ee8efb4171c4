from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.data import (
    ArrayDataset,
    Compose,
    Dataset,
    Loader,
    MappedDataset,
    Normalize,
    NpyDataset,
    RandomCrop,
    RandomFlip,
)
from handgrad.errors import ArgumentError, DataError, ShapeError
from handgrad.rng import Stream

NORMALIZE = Normalize((0.5, 0.25), (2.0, 4.0))


@pytest.fixture
def data():
    x = Stream(("mapped",)).uniform((10, 4, 5, 2))
    return ArrayDataset(x, np.arange(10) % 3, class_names=["a", "b", "c"])


def test_batches_pass_through_the_transform(data):
    mapped, indices = MappedDataset(data, NORMALIZE), np.array([7, 0, 7])
    (x, y), (x0, y0) = mapped.batch(indices), data.batch(indices)
    np.testing.assert_array_equal(x, (x0 - np.float32([0.5, 0.25])) / np.float32([2, 4]))
    np.testing.assert_array_equal(y, y0)


def test_it_is_a_data_set_with_the_labels_and_names_of_the_other(data):
    mapped = MappedDataset(data, NORMALIZE)
    assert isinstance(mapped, Dataset)
    assert (len(mapped), mapped.shape, mapped.class_names) == (10, (4, 5, 2), ("a", "b", "c"))
    assert mapped.labels is data.labels


def test_what_the_other_has_not_is_none(data):
    class Own:
        shape = (4, 5, 2)

        def __len__(self):
            return 10

        def batch(self, indices):
            return data.batch(indices)

    mapped = MappedDataset(Own(), NORMALIZE)
    assert (mapped.labels, mapped.class_names) == (None, None)


def test_a_transform_may_change_the_shape(data):
    mapped = MappedDataset(data, lambda x, rng: x[:, 1:-1, 1:-1])
    assert mapped.shape == (2, 3, 2)
    assert mapped.batch(np.arange(4))[0].shape == (4, 2, 3, 2)


def test_training_and_test_images_become_alike(data, tmp_path):
    np.save(tmp_path / "x.npy", data.x[:6])
    train, test = NpyDataset(tmp_path / "x.npy", data.labels[:6]), ArrayDataset(data.x[6:], data.labels[6:])
    normalize = Normalize.fit(train)
    x, _ = MappedDataset(train, normalize).batch(np.arange(6))
    np.testing.assert_allclose(x.mean(axis=(0, 1, 2)), 0, atol=1e-6)
    np.testing.assert_allclose(x.std(axis=(0, 1, 2)), 1, rtol=1e-6)
    z, _ = MappedDataset(test, normalize).batch(np.arange(4))
    np.testing.assert_allclose(z, (data.x[6:] - normalize.mean) / normalize.std, rtol=1e-4, atol=1e-6)


def test_chance_comes_after_in_a_loader(data):
    flip = RandomFlip(1.0)
    (x, _), *_ = Loader(MappedDataset(data, NORMALIZE), 10, shuffle=False, transform=flip).epoch(0)
    np.testing.assert_array_equal(x, NORMALIZE(data.x, Stream())[:, :, ::-1])


def test_a_trainer_checks_its_labels_before_the_first_step(data):
    model = hg.Sequential([hg.layers.Flatten(), hg.layers.Dense(2)], input_shape=(4, 5, 2))
    trainer = hg.Trainer(model, "cross_entropy")
    with pytest.raises(DataError) as error:
        trainer.fit(MappedDataset(data, NORMALIZE), batch_size=1)
    assert str(error.value) == "CrossEntropy: expected labels in 0..1, got 2; the model has 2 outputs"
    assert trainer.progress.step == 0


@pytest.mark.parametrize("transform", [RandomFlip(), Compose([NORMALIZE, RandomCrop(1)])], ids=repr)
def test_a_transform_that_draws_is_refused(data, transform):
    with pytest.raises(ArgumentError) as error:
        MappedDataset(data, transform)
    assert str(error.value) == (
        f"MappedDataset: expected a transform that draws no random numbers, got {transform!r}; "
        "give it to Trainer.fit as transform="
    )


def test_what_does_not_fit_is_refused(data):
    class Empty(ArrayDataset):
        def __len__(self):
            return 0

    cases = [
        (
            lambda: MappedDataset((data.x, data.labels), NORMALIZE),
            ArgumentError,
            "MappedDataset: expected a Dataset, got tuple; "
            "make one of arrays with handgrad.data.as_dataset(x, y)",
        ),
        (lambda: MappedDataset(data, 2), ArgumentError, "MappedDataset: expected a transform, got 2"),
        (
            lambda: MappedDataset(Empty(data.x, data.labels), NORMALIZE),
            DataError,
            "MappedDataset: expected at least one sample, got none",
        ),
        (
            lambda: MappedDataset(data, Normalize(0, 1)),
            ShapeError,
            "Normalize: expected images of 1 channels, got 2 channels",
        ),
    ]
    for call, kind, message in cases:
        with pytest.raises(kind) as error:
            call()
        assert str(error.value) == message
