"""Helpers that programs import beside the network."""

import numpy as np
import pytest

from handgrad.compat import mlfromscratch as m
from handgrad.errors import ArgumentError, DataError
from tests.compat.networks import normal


def test_one_hot_rows():
    wanted = [[0, 0, 1, 0], [1, 0, 0, 0]]
    np.testing.assert_array_equal(m.to_categorical(np.array([2, 0]), n_col=4), wanted)
    assert m.to_categorical(np.array([2, 0])).shape == (2, 3)
    assert m.to_categorical(np.array([0, 1], np.uint8)).dtype == np.float64
    assert m.to_categorical(np.array([], int), 3).shape == (0, 3)


@pytest.mark.parametrize(
    ("x", "message"),
    [
        (
            np.array([0.0, 1.0]),
            "to_categorical: expected integers (n,), got shape (2,) of float64; "
            "convert them with x.astype(int)",
        ),
        (np.array([-1, 1]), "to_categorical: expected classes in 0..1, got -1 to 1"),
    ],
)
def test_labels_that_are_no_classes(x, message):
    with pytest.raises(DataError) as caught:
        m.to_categorical(x)
    assert str(caught.value) == message
    with pytest.raises(DataError, match=r"expected classes in 0\.\.2, got 0 to 3"):
        m.to_categorical(np.arange(4), 3)


def test_a_split_has_every_sample_once_with_its_label():
    X, y = normal(1797, 3), np.arange(1797)
    parts = m.train_test_split(X, y, test_size=0.4, seed=1)
    X_train, X_test, y_train, y_test = parts
    assert [len(p) for p in parts] == [1079, 718, 1079, 718]
    assert sorted([*y_train, *y_test]) == list(range(1797))
    np.testing.assert_array_equal(X_train, X[y_train])
    np.testing.assert_array_equal(X_test, X[y_test])
    assert (y_train[:-1] > y_train[1:]).any()


def test_the_seed_decides_the_split():
    y = np.arange(50)
    first, again, other, none, zero = (m.train_test_split(y, y, seed=s)[0] for s in (1, 1, 2, None, 0))
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(none, zero)
    assert (first != other).any()
    assert (first != zero).any()


def test_a_split_without_shuffling():
    y = np.arange(10)
    for size, test in ((0.5, 5), (0.7, 7), (0.3, 3), (0.25, 2)):
        X_train, X_test, _, _ = m.train_test_split(y, y, test_size=size, shuffle=False)
        np.testing.assert_array_equal(X_test, y[10 - test :])
        np.testing.assert_array_equal(X_train, y[: 10 - test])
    assert 100 * 0.29 < 29
    assert len(m.train_test_split(np.arange(100), np.arange(100), test_size=0.29)[1]) == 29
    with pytest.raises(ArgumentError) as caught:
        m.train_test_split(y, y, test_size=40)
    assert str(caught.value) == "train_test_split: expected test_size between 0 and 1, got 40"


def test_shuffling_changes_neither_samples_nor_the_global_generator():
    X = normal(30, 2)
    state = np.random.get_state()[1].copy()  # noqa: NPY002
    mixed, labels = m.shuffle_data(X, np.arange(30), seed=3)
    np.testing.assert_array_equal(mixed, X[labels])
    assert sorted(labels) == list(range(30))
    np.testing.assert_array_equal(np.random.get_state()[1], state)  # noqa: NPY002


def test_normalize():
    X = np.array([[3.0, 4.0], [0.0, 0.0]])
    np.testing.assert_allclose(m.normalize(X), [[0.6, 0.8], [0, 0]])
    np.testing.assert_allclose(m.normalize(X, axis=0, order=1), [[1, 1], [0, 0]])


def test_accuracy_of_labels_and_of_sequences():
    assert m.accuracy_score([1, 2, 3, 4], [1, 2, 0, 4]) == 0.75
    np.testing.assert_array_equal(m.accuracy_score(np.array([[1, 2], [3, 4]]), [[1, 0], [3, 4]]), [1, 0.5])
