"""What programs around a network use: labels, splits, accuracy."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, DataError
from handgrad.rng import Stream
from handgrad.typing import Array

__all__ = ["accuracy_score", "normalize", "shuffle_data", "to_categorical", "train_test_split"]


def to_categorical(x: Any, n_col: int | None = None) -> Array:
    """Return class numbers as one-hot rows.

    Parameters
    ----------
    x : (n,) integers from 0
        Class numbers.
    n_col : int, optional
        Number of classes; the greatest in `x` and one by default.

    Returns
    -------
    (n, n_col) float64 array

    Raises
    ------
    DataError
        If `x` holds something else than class numbers.

    Examples
    --------
    >>> to_categorical(np.array([1, 0, 2]))
    array([[0., 1., 0.],
           [1., 0., 0.],
           [0., 0., 1.]])
    """
    x = np.asarray(x)
    if x.ndim != 1 or x.dtype.kind not in "iu":
        got = f"shape {x.shape} of {x.dtype}"
        raise DataError(
            "to_categorical", expected="integers (n,)", got=got, do="convert them with x.astype(int)"
        )
    x = x.astype(np.int64)
    columns = n_col or int(x.max(initial=-1)) + 1
    if x.size and not 0 <= x.min() <= x.max() < columns:
        raise DataError(
            "to_categorical", expected=f"classes in 0..{columns - 1}", got=f"{x.min()} to {x.max()}"
        )
    rows: Array = np.eye(columns)[x]
    return rows


def normalize(X: Array, axis: int = -1, order: float = 2) -> Array:
    """Return `X` divided by its norms along an axis; where the norm is 0 it is left as it is.

    Parameters
    ----------
    X : array
        Numbers.
    axis : int, default -1
        Along which norms are taken.
    order : float, default 2
        Of the norm, as in ``numpy.linalg.norm``.
    """
    norms = np.linalg.norm(X, order, axis, keepdims=True)
    scaled: Array = X / np.where(norms == 0, 1, norms)
    return scaled


def shuffle_data(X: Array, y: Array, seed: int | None = None) -> tuple[Array, Array]:
    """Return samples and labels in another order, the same for both.

    Parameters
    ----------
    X, y : (n, ...) arrays
        Samples and labels.
    seed : int, optional
        Of the order; None is 0.
    """
    order = Stream((seed or 0,)).child("shuffle").permutation(len(X))
    return X[order], y[order]


def train_test_split(
    X: Array, y: Array, test_size: float = 0.5, shuffle: bool = True, seed: int | None = None
) -> tuple[Array, Array, Array, Array]:
    """Divide samples and labels into a training part and a test part.

    Parameters
    ----------
    X, y : (n, ...) arrays
        Samples and labels.
    test_size : float, default 0.5
        The share of the test part, which has ``int(n*test_size)`` samples, between 0 and 1.
    shuffle : bool, default True
        Whether they are put into another order before; otherwise the last ones are for testing.
    seed : int, optional
        Of the order; None is 0.

    Returns
    -------
    X_train, X_test, y_train, y_test : arrays

    Examples
    --------
    >>> X, y = np.zeros((1797, 64)), np.zeros(1797)
    >>> X_train, X_test, y_train, y_test = train_test_split(X, y, test_size=0.4)
    >>> len(X_train), len(X_test)
    (1079, 718)
    """
    if not 0 < test_size < 1:
        raise ArgumentError("train_test_split", expected="test_size between 0 and 1", got=repr(test_size))
    if shuffle:
        X, y = shuffle_data(X, y, seed)
    # the small term keeps 100*0.29 from being 28.999...
    first = len(X) - int(len(X) * test_size + 1e-9)
    return X[:first], X[first:], y[:first], y[first:]


def accuracy_score(y_true: Any, y_pred: Any) -> Any:
    """Return the share of samples with the right label: a number, or one for each column of labels."""
    return np.mean(np.asarray(y_true) == np.asarray(y_pred), axis=0)
