"""Classes of a data set as the classes of a model, found by their names."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from handgrad.cli.printable import complain
from handgrad.data import Dataset
from handgrad.errors import DataError
from handgrad.typing import Array, Shape


class Renumbered:
    """A data set whose class numbers are those of a model, as a `Dataset`.

    Parameters
    ----------
    dataset : Dataset
        With labels that are class numbers.
    numbers : (k,) int array
        The model's number for each class.
    one_hot : int, optional
        Of how many classes labels are to be one-hot rows.
    """

    def __init__(self, dataset: Dataset, numbers: Array, one_hot: int | None = None) -> None:
        self.dataset, self.numbers, self.one_hot = dataset, numbers, one_hot

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.dataset)

    @property
    def shape(self) -> Shape:
        """The shape of one sample."""
        return self.dataset.shape

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the samples at `indices`, and their labels as the model has them."""
        x, y = self.dataset.batch(indices)
        y = self.numbers[y]
        return x, y if self.one_hot is None else np.eye(self.one_hot, dtype=x.dtype)[y]


def class_numbers(where: str, names: Sequence[str], known: Sequence[str], *, named: bool) -> Array:
    """Return a model's number for each class of a data set.

    Parameters
    ----------
    where : str
        The data set, for messages.
    names : sequence of str
        Of its classes.
    known : sequence of str
        Of the model's classes.
    named : bool
        Whether the model has names of its own; else `known` are numbers.

    Raises
    ------
    DataError
        If there is a class that the model does not know.
    """
    if named or set(names) <= set(known):
        if unknown := [name for name in names if known.count(name) != 1]:
            twice = [name for name in unknown if name in known]
            raise DataError(
                where,
                expected=f"classes that the model knows, {', '.join(known)}",
                got=f"{', '.join(twice)}, which it has twice" if twice else ", ".join(unknown),
                do="" if twice else "give them the model's names, or leave them out",
            )
        if absent := [name for name in known if name not in names]:
            complain(
                f"warning: {where}: {len(names)} of the model's {len(known)} classes are here; there is no "
                f"image of {', '.join(absent)}"
            )
        return np.array([known.index(name) for name in names])
    if len(names) != len(known):
        raise DataError(
            where,
            expected=f"{len(known)} classes, as a model without names of its classes has outputs",
            got=f"{len(names)}, {', '.join(names)}",
            do="save the model with model.info = handgrad.ModelInfo(kind, classes=...)",
        )
    pairs = ", ".join(f"{k} for {name}" for k, name in enumerate(names))
    complain(
        f"warning: {where}: the model has no names of its classes; its numbers are taken in order, {pairs}"
    )
    return np.arange(len(names))
