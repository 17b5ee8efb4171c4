from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from handgrad.data import ArrayDataset, Cutout, Loader, RandomCrop
from handgrad.data.sampler import Sampler
from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream


@pytest.fixture
def data():
    """Ten images of 6x6 whose pixels and label are their number."""
    return ArrayDataset(np.arange(10.0)[:, None, None, None] * np.ones((6, 6, 1)), np.arange(10))


def labels(loader, *epoch):
    return [y.tolist() for _, y in loader.epoch(*epoch)]


def test_an_epoch_gives_every_sample_once(data):
    loader = Loader(data, 4)
    batches = list(loader.epoch(0))
    assert len(batches) == len(loader) == 3
    assert [len(y) for _, y in batches] == [4, 4, 2]
    assert sorted(np.concatenate([y for _, y in batches])) == list(range(10))
    for x, y in batches:
        np.testing.assert_array_equal(x[:, 0, 0, 0], y)
        assert x.dtype == np.float32


def test_the_order_is_the_keyed_permutation(data):
    rng = Stream((5,))
    got = np.concatenate([y for _, y in Loader(data, 3, rng=rng).epoch(2)])
    np.testing.assert_array_equal(got, rng.child("shuffle", 2).permutation(10))


def test_epochs_and_seeds_differ_and_repeat(data):
    loader = Loader(data, 10)
    assert labels(loader, 0) != labels(loader, 1)
    assert labels(loader, 0) != labels(Loader(data, 10, rng=Stream((1,))), 0)
    assert labels(loader, 1) == labels(loader, 1) == labels(Loader(data, 10), 1)


def test_without_shuffling_the_order_is_that_of_the_data(data):
    loader = Loader(data, 4, shuffle=False)
    assert labels(loader, 0) == labels(loader, 3) == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_a_last_batch_that_is_not_full_can_be_left_out(data):
    assert labels(Loader(data, 4, shuffle=False, drop_last=True), 0) == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert len(Loader(data, 5, drop_last=True)) == 2
    assert len(Loader(data, 10, drop_last=True)) == 1
    assert len(Loader(data, 99)) == 1
    assert [len(y) for _, y in Loader(data, 5).epoch(0)] == [5, 5]


def test_any_batch_can_be_made_again_from_its_numbers_alone(data):
    loader = Loader(data, 3, transform=RandomCrop(2), rng=Stream((8,)))
    whole = {(e, i): batch for e in range(3) for i, batch in enumerate(loader.epoch(e))}
    again = Loader(data, 3, transform=RandomCrop(2), rng=Stream((8,)))
    for (e, i), (x, y) in reversed(whole.items()):
        for x_again, y_again in (again.batch(e, i), next(again.epoch(e, start=i))):
            np.testing.assert_array_equal(x_again, x)
            np.testing.assert_array_equal(y_again, y)


@pytest.mark.parametrize("start", range(5))
def test_an_epoch_goes_on_from_any_batch(data, start):
    loader = Loader(data, 3, transform=Cutout(3))
    rest = list(loader.epoch(1, start))
    whole = list(loader.epoch(1))[start:]
    assert len(rest) == len(whole) == 4 - start
    for (x, y), (x_whole, y_whole) in zip(rest, whole, strict=True):
        np.testing.assert_array_equal(x, x_whole)
        np.testing.assert_array_equal(y, y_whole)


def test_a_transform_gets_the_stream_of_its_batch(data):
    seen = []

    def spy(x, rng):
        seen.append(rng.key)
        return x + 1

    loader = Loader(data, 5, shuffle=False, transform=spy, rng=Stream((3,)))
    x, _ = next(loader.epoch(2, 1))
    assert seen == [(3, "augment", 2, 1)]
    assert x[0, 0, 0, 0] == 6


def test_a_transform_of_samples_is_told_them(data):
    seen = []

    class Spy:
        def __call__(self, x, rng):
            raise AssertionError

        def apply_to_samples(self, x, rng, samples):
            seen.append((rng.key, samples.indices.tolist(), samples.epoch, samples.rng.key))
            return x + samples.indices[:, None, None, None].astype(np.float32)

    loader = Loader(data, 4, transform=Spy(), rng=Stream((3,)))
    whole = list(loader.epoch(2))
    order = Stream((3,)).child("shuffle", 2).permutation(10).tolist()
    assert seen == [((3, "augment", 2, i), order[4 * i : 4 * i + 4], 2, (3, "sample")) for i in range(3)]
    x, y = loader.batch(2, 1)
    assert seen[3] == seen[1]
    np.testing.assert_array_equal(x, whole[1][0])
    np.testing.assert_array_equal(x[:, 0, 0, 0], 2 * y)


def test_numpy_integers_name_the_same_batches(data):
    loader = Loader(data, 3, transform=RandomCrop(2))
    x, y = loader.batch(2, 1)
    x_numpy, y_numpy = loader.batch(np.int64(2), np.int64(1))
    np.testing.assert_array_equal(x, x_numpy)
    np.testing.assert_array_equal(y, y_numpy)


def test_only_the_samples_of_a_batch_are_asked_for():
    asked = []

    class Lazy:
        shape = (1,)

        def __len__(self):
            return 1000

        def batch(self, indices):
            asked.append(indices.tolist())
            return np.zeros((len(indices), 1), np.float32), indices

    batches = Loader(Lazy(), 2, shuffle=False).epoch(0, 7)
    assert asked == []
    next(batches)
    assert asked == [[14, 15]]


@pytest.mark.parametrize("size", [0, -1, 2.0, True, "4"])
def test_a_batch_size_that_means_nothing_is_refused(data, size):
    with pytest.raises(ArgumentError) as error:
        Loader(data, size)
    assert str(error.value) == f"batch_size: expected an int of at least 1, got {size!r}"


def test_dropping_the_only_batch_is_refused(data):
    with pytest.raises(ArgumentError) as error:
        Loader(data, 11, drop_last=True)
    assert str(error.value) == (
        "drop_last: expected at least one full batch of 11, got 10 samples; "
        "use a smaller batch_size, or drop_last=False"
    )


def test_no_samples_are_refused():
    with pytest.raises(DataError) as error:
        Sampler(0, 4, shuffle=True, drop_last=False, rng=Stream())
    assert str(error.value) == "data: expected at least one sample, got none"


def test_numbers_that_name_no_batch_are_refused_at_once(data):
    loader = Loader(data, 4)
    cases = {
        "epoch: expected an int of at least 0, got -1": lambda: loader.epoch(-1),
        "start: expected a batch number from 0 to 3, got 4": lambda: loader.epoch(0, 4),
        "start: expected a batch number from 0 to 3, got -1": lambda: loader.epoch(0, -1),
        "index: expected a batch number from 0 to 2, got 3": lambda: loader.batch(0, 3),
        "index: expected a batch number from 0 to 2, got -1": lambda: loader.batch(0, -1),
    }
    for message, call in cases.items():
        with pytest.raises(ArgumentError) as error:
            call()
        assert str(error.value) == message


def test_a_loader_does_not_change(data):
    with pytest.raises(dataclasses.FrozenInstanceError):
        Loader(data, 4).batch_size = 5
