"""What images pass through before a model gets them: recorded with the model, done to others."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from handgrad.data.dataset import Dataset
from handgrad.data.mapped import MappedDataset
from handgrad.data.samples import numeric
from handgrad.data.transform import NoRandomNumbers, Transform
from handgrad.data.transform_config import PLAIN, from_config, to_config
from handgrad.data.transforms import Compose
from handgrad.errors import ArgumentError, DataError
from handgrad.graph import Graph, ModelInfo, Predictor
from handgrad.pixels import to_float
from handgrad.typing import Config, DTypeLike

UNKNOWN = "unknown"
"""Key of what stands in the place of a transform's configuration where it has none."""


def preprocess(x: Any, model: Graph | Predictor | ModelInfo, *, dtype: DTypeLike = np.float32) -> Any:
    """Do to images what was done to those that a model was trained on, before ``model.predict``.

    Parameters
    ----------
    x : (n, ...) array or Dataset
        Images as they were before: bytes, or numbers in [0, 1], as `read_image` returns them.
    model : Graph, Predictor or ModelInfo
        Whose ``info.preprocessing`` it is.
    dtype : dtype, default float32
        Of the result, where `x` is an array.

    Returns
    -------
    array or Dataset
        A `MappedDataset` where `x` is a data set; one that has passed through the same already as it is.

    Raises
    ------
    DataError
        If the model was trained on images that passed through something which a file cannot hold, such as a
        function of yours; or if `x` is a data set that has passed through something else.
    ArgumentError
        If `model` is none of these, or a transform is recorded that is unknown or draws random numbers.
    ShapeError
        If a transform does not fit.

    Examples
    --------
    >>> import handgrad as hg
    >>> digits = hg.data.digits()
    >>> train = hg.data.as_dataset(digits.x_train, digits.y_train)
    >>> normalize = hg.data.Normalize.fit(train)
    >>> model = hg.Sequential([hg.layers.Flatten(), hg.layers.Dense(10)], input_shape=(8, 8, 1))
    >>> trainer = hg.Trainer(model, "cross_entropy", hg.optim.Adam(0.01))
    >>> history = trainer.fit(hg.data.MappedDataset(train, normalize), epochs=3)
    >>> z = model.predict(hg.data.preprocess(digits.x_test, model))
    >>> bool((z == model.predict(normalize(digits.x_test, hg.rng.Stream()))).all())
    True
    """
    info = model if isinstance(model, ModelInfo) else getattr(model, "info", None)
    if not isinstance(info, ModelInfo):
        raise ArgumentError("preprocess", expected="a model or its info", got=type(model).__name__)
    transform = _recorded(info)
    if isinstance(x, Dataset):
        return _dataset(x, info, transform)
    x = to_float(numeric(x, "images"), dtype)
    return transform(x, NoRandomNumbers(where="preprocess", transform=repr(transform)))


def recorded(transforms: Iterable[Transform]) -> tuple[Config, ...]:
    """Return configurations of transforms, for `ModelInfo`; what has none is named by what it is."""
    return tuple(to_config(t) if type(t) in PLAIN else {UNKNOWN: _name(t)} for t in transforms)


def described(preprocessing: Iterable[Config]) -> str:
    """Return what people read of it."""
    names = [str(step.get(UNKNOWN) or step.get("class")) for step in preprocessing]
    return ", ".join(names) or "nothing"


def _name(transform: Transform) -> str:
    return str(getattr(transform, "__qualname__", type(transform).__qualname__))


def _recorded(info: ModelInfo) -> Compose:
    if unknown := [str(step[UNKNOWN]) for step in info.preprocessing or () if UNKNOWN in step]:
        raise DataError(
            "preprocess",
            expected="a model trained on images that passed through transforms of handgrad.data",
            got=f"one whose images passed through {', '.join(unknown)}, which a file cannot hold",
            do="let images pass through it yourself, and give them to model.predict",
        )
    try:
        return Compose(tuple(from_config(step) for step in info.preprocessing or ()))
    except RecursionError:  # a file may hold anything
        raise ArgumentError("preprocess", expected="a few transforms", got="too many within others") from None


def _dataset(dataset: Dataset, info: ModelInfo, transform: Compose) -> Dataset:
    passed: tuple[Transform, ...] | None = getattr(dataset, "preprocessing", None)
    if passed and recorded(passed) != (info.preprocessing or ()):
        raise DataError(
            "preprocess",
            expected=f"images as they are, or that passed through {described(info.preprocessing or ())}",
            got=f"a {type(dataset).__name__} of images that passed through {described(recorded(passed))}",
        )
    return dataset if passed or not info.preprocessing else MappedDataset(dataset, transform)
