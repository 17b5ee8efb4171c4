"""Recipes: everything that decides what a training run comes to, in a few readable fields."""

from __future__ import annotations

import math
import os
import warnings
from dataclasses import asdict, dataclass, field, fields, replace
from inspect import signature
from pathlib import Path
from typing import Any

import numpy as np

from handgrad import data, losses, models, optim
from handgrad.data import ArrayDataset, Compose, Dataset, ImageFolder, MappedDataset, Subset, Transform
from handgrad.data.transform_config import fixed_steps
from handgrad.errors import ArgumentError, CheckpointError, DataError, HandgradError
from handgrad.graph import Graph
from handgrad.layers import Conv2D, whiten
from handgrad.rng import Stream
from handgrad.train.callbacks import FreezeAfter
from handgrad.train.recipe_file import read_toml_or_json
from handgrad.train.run_folder import resumed_otherwise
from handgrad.train.trainer import Trainer
from handgrad.train.views import Views
from handgrad.typing import Array, Config, Shape, is_integer

_WHITENED = 5000
_FOLDER = Path(__file__).parent / "recipes"
_COUNTS = (
    ("epochs", 1),
    ("batch_size", 1),
    ("seed", 0),
    ("validation_images", 1),
    ("holdout", 0),
)
_MOST = 2**31 - 1


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


@dataclass(frozen=True)
class Recipe:
    """What a training run follows from: the same recipe gives the same model.

    It does so bit for bit with the same images, versions of handgrad and NumPy, kernels and number of
    threads, on a machine of the same kind.

    Parameters
    ----------
    dataset : str
        Name of a known set, or a folder with ``train`` and ``test`` in it, each with one directory of images
        per class.
    model : str
        Name of a model in `handgrad.models`.
    model_options : dict
        Its other arguments, such as ``{"width": 16}``.
    epochs, batch_size : int
        How often through the training images, and how many in a step.
    lr : float
        The highest learning rate: it rises to it and falls again (one cycle).
    weight_decay : float
        Decoupled (AdamW); not on biases and normalizations.
    optimizer : dict or None
        Configuration of another optimizer, in place of AdamW with `lr` and `weight_decay`. A schedule in it
        may have a ``share`` of all steps where it takes ``steps``.
    label_smoothing : float
        Of the cross entropy.
    augment : dict or None
        Configuration of a transform of the training images, as `handgrad.data.to_config` gives it. Steps of
        it that are no chance, such as `Normalize`, test images pass through, too.
    whiten : str or None
        Name of a convolution that is set from 5,000 training images, by `handgrad.layers.whiten`.
    freeze_after : dict of int
        Layers, by pattern over their names, that are trained for so many epochs only.
    views : dict or None
        Fields of `Views`, over which the outputs for a test image are averaged at the end.
    validation_images : int or None
        How many of the test images are looked at after each epoch; all by default, and at the end.
    holdout : int
        So many training images are not trained on but stand in for the test images, which are then not
        looked at: for all choices that one makes.
    image_size : (int, int) or None
        Height and width that images of a folder are brought to; known sets have their own.
    seed : int
        Of initial values, order, augmentation and dropout.
    """

    dataset: str
    model: str = "small_cnn"
    model_options: Config = field(default_factory=dict)
    epochs: int = 10
    batch_size: int = 64
    lr: float = 4e-3
    weight_decay: float = 0.02
    optimizer: Config | None = None
    label_smoothing: float = 0.1
    augment: Config | None = None
    whiten: str | None = None
    freeze_after: dict[str, int] = field(default_factory=dict)
    views: Config | None = None
    validation_images: int | None = None
    holdout: int = 0
    image_size: tuple[int, int] | None = None
    seed: int = 0

    def __post_init__(self) -> None:
        for name, kind in (("dataset", str), ("model", str), ("model_options", dict)):
            if not isinstance(getattr(self, name), kind):
                raise ArgumentError(name, expected=f"a {kind.__name__}", got=repr(getattr(self, name)))
        for name, least in _COUNTS:
            value = getattr(self, name)
            if value is None and name == "validation_images":
                continue
            if not is_integer(value) or value < least:
                raise ArgumentError(name, expected=f"an int, at least {least}", got=repr(value))
            if name != "seed" and value > _MOST:
                raise ArgumentError(name, expected=f"an int, at most {_MOST:,}", got=repr(value))
        if not (_is_number(self.lr) and 0 < self.lr < math.inf):
            raise ArgumentError("lr", expected="a number above 0", got=repr(self.lr))
        if not (_is_number(self.weight_decay) and 0 <= self.weight_decay < math.inf):
            raise ArgumentError(
                "weight_decay", expected="a number of at least 0", got=repr(self.weight_decay)
            )
        if not (_is_number(self.label_smoothing) and 0 <= self.label_smoothing < 1):
            raise ArgumentError("label_smoothing", expected="0 <= number < 1", got=repr(self.label_smoothing))
        size = self.image_size
        pair = isinstance(size, tuple) and len(size) == 2 and all(is_integer(n) and n > 0 for n in size)
        if size is not None and not pair:
            raise ArgumentError("image_size", expected="a height and a width, positive ints", got=repr(size))
        self.transform()
        self.test_views()
        FreezeAfter(self.freeze_after)
        self.make_optimizer(1)

    def transform(self) -> Transform | None:
        """Return the transform of the training images that `augment` describes."""
        if self.augment is None:
            return None
        if not isinstance(self.augment, dict):
            raise ArgumentError("augment", expected="a transform's configuration", got=repr(self.augment))
        return data.from_config(self.augment)

    def test_views(self) -> Views | None:
        """Return the views that outputs for test images are averaged over."""
        return None if self.views is None else Views.from_config(self.views)

    def make_optimizer(self, steps: int) -> optim.Optimizer:
        """Return the optimizer for a training of so many steps."""
        if self.optimizer is None:
            return optim.AdamW(optim.schedules.OneCycle(self.lr, steps), weight_decay=self.weight_decay)
        return optim.get(_with_steps(self.optimizer, steps))

    def data(self) -> tuple[Dataset, Dataset, tuple[str, ...]]:
        """Return the training set, the test set (or what is held out), and the names of the classes.

        Test images pass through those steps of `augment` that are no chance, such as `Normalize`.

        Raises
        ------
        DataError, ArgumentError
            If there is no such set, or it cannot be used.
        """
        train, test, names = self._sets()
        if self.holdout >= len(train):
            raise ArgumentError(
                "holdout", expected=f"fewer than all {len(train)} images", got=str(self.holdout)
            )
        if self.holdout:
            order = Stream((0,)).child("holdout").permutation(len(train))
            train, test = Subset(train, order[self.holdout :]), Subset(train, order[: self.holdout])
        fixed = fixed_steps(self.transform())
        return train, MappedDataset(test, Compose(fixed)) if fixed else test, names

    def located(self) -> Recipe:
        """Return the recipe with the whole path of its folder, which means the same in any directory."""
        if _known_set(self.dataset) is not None:
            return self
        return replace(self, dataset=str(Path(self.dataset).absolute()))

    def _sets(self) -> tuple[Dataset, Dataset, tuple[str, ...]]:
        name = _known_set(self.dataset)
        if name is None:
            return self._folders()
        if self.image_size is not None:
            raise ArgumentError(
                "image_size", expected=f"none for {name}, which has its own", got=f"{self.image_size}"
            )
        images = data.load(name)
        names = images.class_names
        return (
            ArrayDataset(images.x_train, images.y_train, class_names=names),
            ArrayDataset(images.x_test, images.y_test, class_names=names),
            names,
        )

    def _folders(self) -> tuple[Dataset, Dataset, tuple[str, ...]]:
        size = self.image_size or (32, 32)
        train, test = (ImageFolder(Path(self.dataset) / part, size) for part in ("train", "test"))
        for part in (train, test):
            part.check()
        if train.class_names != test.class_names:
            raise DataError(
                self.dataset,
                expected=f"the classes of train in test, {', '.join(train.class_names)}",
                got=", ".join(test.class_names),
            )
        return train, test, train.class_names

    def build(self, shape: Shape, classes: int) -> Graph:
        """Return the model for images of `shape`; raise ArgumentError if it has no such options."""
        make = models.get(self.model)
        options = [p.name for p in signature(make).parameters.values() if p.kind is p.KEYWORD_ONLY]
        options.remove("seed")
        for name in self.model_options:
            if name not in options:
                raise ArgumentError("model_options", expected=f"some of {', '.join(options)}", got=repr(name))
        try:
            return make(shape, classes, seed=self.seed, **self.model_options)
        except (MemoryError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, HandgradError):
                raise
            got = f"{self.model_options!r}, which fail: {error or 'there is not enough memory'}"
            raise ArgumentError("model_options", expected=f"what {self.model} takes", got=got) from error

    def prepare(self, model: Graph, train: Dataset) -> None:
        """Set of a new model what comes from the data."""
        if self.whiten is None:
            return
        found = [layer for layer in model.layers if layer.name == self.whiten]
        if not found or not isinstance(found[0], Conv2D):
            raise ArgumentError("whiten", expected="the name of a Conv2D of the model", got=repr(self.whiten))
        images, _ = train.batch(spread(len(train), _WHITENED))
        whiten(found[0], Compose(fixed_steps(self.transform()))(images, Stream()))

    def trainer(self, model: Graph, samples: int) -> Trainer:
        """Return the trainer of `model` for so many training images."""
        return Trainer(
            model,
            losses.CrossEntropy(label_smoothing=self.label_smoothing),
            self.make_optimizer(self.epochs * math.ceil(samples / self.batch_size)),
            metrics=["accuracy"],
            seed=self.seed,
        )

    def changed(self, **changes: Any) -> Recipe:
        """Return the recipe with fields changed, options added to the model's; None changes nothing."""
        given = {name: value for name, value in changes.items() if value is not None}
        if self.optimizer is not None and (
            unused := [name for name in ("lr", "weight_decay") if name in given]
        ):
            raise ArgumentError(
                unused[0],
                expected="none, as the recipe has an optimizer of its own",
                got=str(given[unused[0]]),
                do="change it in a copy of the recipe, and train by that with --config",
            )
        if "model_options" in given:
            given["model_options"] = {**self.model_options, **given["model_options"]}
        return replace(self, **given)

    def to_json(self) -> Config:
        """Return the fields, as JSON can hold them."""
        return asdict(self)

    @classmethod
    def from_json(cls, config: Config, where: str = "recipe") -> Recipe:
        """Return the recipe with these fields; those not given have their defaults.

        Raises
        ------
        ArgumentError
            If there is a field of another name, a value that means nothing, or no dataset.
        """
        known = [f.name for f in fields(cls)]
        for name in config:
            if name not in known:
                raise ArgumentError(where, expected=f"fields among {', '.join(known)}", got=repr(name))
        if "dataset" not in config:
            raise ArgumentError(where, expected="a field dataset", got=", ".join(config) or "no fields")
        size = config.get("image_size")
        return cls(**{**config, "image_size": tuple(size) if isinstance(size, list) else size})

    @classmethod
    def read(cls, path: str | os.PathLike[str]) -> Recipe:
        """Return the recipe in a JSON or TOML file, or under ``"recipe"`` in a run's ``config.json``.

        Raises
        ------
        CheckpointError
            If there is no such file or it is neither JSON nor, with the name ``*.toml``, TOML.

        Warns
        -----
        UserWarning
            If it is of a run that was extended, or resumed with other images, versions, kernels or threads.
        """
        path = Path(path)
        config = read_toml_or_json(path)
        recipe = config.get("recipe", config) if isinstance(config, dict) else config
        if not isinstance(recipe, dict):
            raise CheckpointError(str(path), expected="a recipe, as an object", got=type(recipe).__name__)
        if entries := resumed_otherwise(config):
            changes = "; ".join(str(text) for entry in entries for text in entry["changed"])
            warnings.warn(
                f"{path}: this run was resumed otherwise than it began ({changes}); its recipe alone makes "
                "another model",
                stacklevel=2,
            )
        return cls.from_json(recipe, str(path))


RECIPES: dict[str, Recipe] = {
    "digits": Recipe("digits", epochs=40, augment={"class": "RandomCrop", "padding": 1}),
    "mnist": Recipe(
        "mnist",
        model_options={"width": 16},
        epochs=3,
        batch_size=128,
        augment={"class": "RandomCrop", "padding": 2},
    ),
    "fashion_mnist": Recipe("fashion_mnist", epochs=5, batch_size=128, augment={"class": "RandomFlip"}),
    "cifar10": Recipe("cifar10", epochs=10, batch_size=128),
}
"""What `handgrad train NAME` does.

Within a run nothing is chosen by the test images; the numbers of the digits' recipe were chosen looking at
them.
"""


def recipe_for(dataset: str, recipe: str | None = None, **changes: Any) -> Recipe:
    """Return the recipe of a known set, or one for a folder, with fields changed; None changes nothing.

    Parameters
    ----------
    dataset : str
        The set, or the folder.
    recipe : str, optional
        Name of another recipe than the set's own, such as ``"fast94"``; `named_recipes` lists them.
    **changes
        Fields of `Recipe`.

    Raises
    ------
    ArgumentError
        If there is no such set and no such folder, or no such recipe for it.
    """
    name = _known_set(dataset)
    if recipe is None:
        return (RECIPES.get(name or "") or Recipe(name or dataset)).changed(**changes)
    named = {key: value for key, value in named_recipes().items() if value.dataset == name}
    if recipe not in named:
        known = f"one of {', '.join(named)}" if named else "no named recipe, as there is none,"
        raise ArgumentError("recipe", expected=f"{known} for {dataset}", got=repr(recipe))
    return named[recipe].changed(**changes)


def named_recipes() -> dict[str, Recipe]:
    """Return the recipes that have a name: the TOML files in ``handgrad/train/recipes``."""
    return {path.stem: Recipe.read(path) for path in sorted(_FOLDER.glob("*.toml"))}


def spread(n: int, most: int) -> Array:
    """Return at most so many of the numbers 0, ..., n - 1, evenly spread: images may lie class by class."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def _with_steps(config: Any, steps: int) -> Any:
    """Return a configuration with ``steps`` for the ``share`` of them that a schedule has."""
    if isinstance(config, list):
        return [_with_steps(c, steps) for c in config]
    if not isinstance(config, dict):
        return config
    made = {key: _with_steps(value, steps) for key, value in config.items()}
    if "share" in made:
        share = made.pop("share")
        if not _is_number(share) or not 0 < share <= 1 or "steps" in made:
            raise ArgumentError("optimizer", expected="0 < share <= 1 in place of steps", got=repr(config))
        made["steps"] = max(1, round(share * steps))
    return made


def _known_set(dataset: str) -> str | None:
    """Return the name of a known set, or None for a folder; raise ArgumentError if it is neither."""
    name, known = dataset.replace("-", "_"), [info.name for info in data.available()]
    if name in known:
        return name
    if not dataset or not _is_folder(dataset):
        raise ArgumentError(
            "dataset",
            expected=f"one of {', '.join(known)}, or a folder with train and test in it",
            got=repr(dataset),
        )
    return None


def _is_folder(path: str) -> bool:
    try:
        return Path(path).is_dir()
    except (OSError, ValueError):  # a name that no file system takes
        return False
