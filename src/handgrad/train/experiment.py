"""A recipe carried out in a folder."""

from __future__ import annotations

import json
import math
import os
import platform
import shlex
import warnings
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.data import Dataset, Loader, Subset
from handgrad.errors import CheckpointError
from handgrad.graph import Graph
from handgrad.io import load, load_about, replace_file, save
from handgrad.train.callbacks import Callback, Checkpoint, FreezeAfter, HistoryWriter, Spent, Stopwatch
from handgrad.train.recipe import Recipe, spread
from handgrad.train.trainer import Trainer
from handgrad.typing import Config


class Experiment:
    """A training run with all it leaves behind in one folder.

    ``config.json``
        The recipe, and what it was run with.
    ``last.safetensors``
        The checkpoint that `run` goes on from after a break, be it by Ctrl-C or by a crash.
    ``history.csv``, ``history.json``
        Loss and accuracy of every epoch.
    ``model.safetensors``, ``result.json``
        The trained model, for `handgrad.load`, and its loss and accuracy on the test images, when the run has
        ended.

    Parameters
    ----------
    folder : path
        Of the run.
    recipe : Recipe, optional
        For a new run; the folder must not hold one. Without it, the run in the folder is opened.

    Attributes
    ----------
    trainer : Trainer
        Ready to train, or where the run is.
    class_names : tuple of str
        Of the data.
    spent : Spent
        Seconds of training, in all its parts, once it has ended.

    Raises
    ------
    CheckpointError
        If the folder holds a run already, or, without a recipe, none.
    DataError
        If the data are missing.
    """

    def __init__(self, folder: str | os.PathLike[str], recipe: Recipe | None = None) -> None:
        self.folder = Path(folder)
        self.spent = Spent()
        exists = self.config_path.is_file()
        if recipe is None and not exists:
            raise CheckpointError(
                str(self.folder), expected="a folder of a run, with config.json in it", got="none there"
            )
        if recipe is not None and exists:
            raise CheckpointError(
                str(self.folder),
                expected="a new folder",
                got="one that holds a run",
                do="resume it, or name another",
            )
        self.recipe = recipe or Recipe.read(self.config_path)
        self.train_data, self.test_data, self.class_names = self.recipe.data()
        model = self.recipe.build(self.train_data.shape, len(self.class_names))
        self.recipe.prepare(model, self.train_data)
        self._try(model)
        self.trainer: Trainer = self.recipe.trainer(model, len(self.train_data))
        if self.checkpoint.last_path.is_file():
            self._load()

    def _try(self, model: Graph) -> None:
        """Raise now what would be raised after hours, or in a folder that has been made."""
        FreezeAfter(self.recipe.freeze_after).check(model)
        one = Subset(self.train_data, [0])
        x, _ = Loader(one, 1, transform=self.recipe.transform()).batch(0, 0)
        if (views := self.recipe.test_views()) is not None:
            list(views(x))

    def _load(self) -> None:
        with warnings.catch_warnings():
            if self.recipe.freeze_after:  # which freezes again what was frozen
                warnings.filterwarnings("ignore", "(?s).*was saved with trainable=False")
            self.trainer.load(self.checkpoint.last_path)

    @property
    def config_path(self) -> Path:
        """Where the recipe is."""
        return self.folder / "config.json"

    @property
    def model_path(self) -> Path:
        """Where the trained model is."""
        return self.folder / "model.safetensors"

    @property
    def result_path(self) -> Path:
        """Where the test results are."""
        return self.folder / "result.json"

    @property
    def checkpoint(self) -> Checkpoint:
        """What keeps the last state."""
        return Checkpoint(self.folder)

    @property
    def validation_data(self) -> Dataset:
        """What is looked at after each epoch."""
        n = self.recipe.validation_images
        return self.test_data if n is None else Subset(self.test_data, spread(len(self.test_data), n))

    @property
    def ended(self) -> bool:
        """Whether all epochs are done."""
        return self.trainer.progress.epoch >= self.recipe.epochs

    def run(self, callbacks: Sequence[Callback] = ()) -> dict[str, float] | None:
        """Train to the end, from the beginning or from the last checkpoint.

        Parameters
        ----------
        callbacks : sequence of Callback
            Such as `Progress`; the history and the checkpoint are kept in any case.

        Returns
        -------
        dict of str to float, or None
            ``"test_loss"`` and ``"test_accuracy"``; None if a callback stopped before the end. Of a run that
            has ended, what it came to then.
        """
        recipe = self.recipe
        if not self.config_path.is_file():
            replace_file(self.config_path, json.dumps(self._config(), indent=1))
        if self.result_path.is_file():
            ended: dict[str, float] = json.loads(self.result_path.read_text())
            self.spent = Spent(*(ended.pop(name, 0.0) for name in Spent._fields))
            return {name: math.nan if value is None else value for name, value in ended.items()}
        watch = Stopwatch()
        if not self.ended:
            self.trainer.fit(
                self.train_data,
                epochs=recipe.epochs,
                batch_size=recipe.batch_size,
                validation=self.validation_data,
                transform=recipe.transform(),
                callbacks=[
                    FreezeAfter(recipe.freeze_after),
                    *callbacks,
                    watch,
                    HistoryWriter(self.folder),
                    self.checkpoint,
                ],
                initial_epoch=0,
            )
        if not self.ended:
            return None
        # the test is part of the run
        measured = self._tested(watch)
        result = {f"test_{name}": value for name, value in measured.items()}
        self.spent = Spent(*(round(seconds, 3) for seconds in watch.spent))
        about: Config = {"classes": list(self.class_names), "dataset": recipe.dataset}
        about |= {"loss": self.trainer.loss.config(), **result}
        of_the_test = {"views": recipe.views, "holdout": recipe.holdout}
        about |= {name: value for name, value in of_the_test.items() if value}
        save(self.trainer.model, self.model_path, about=about)
        finite = {name: value if math.isfinite(value) else None for name, value in result.items()}
        replace_file(self.result_path, json.dumps({**finite, **self.spent._asdict()}, indent=1))
        return result

    def _tested(self, watch: Stopwatch) -> dict[str, float]:
        """Return what the trained model comes to, and count its time with that of training."""
        told = self.trainer.told(watch)  # where the run broke off in its test
        if told is not None:
            watch.load_state(*told)
        watch.set_trainer(self.trainer)
        watch.on_train_begin()
        measured = self.trainer.evaluate(self.test_data, views=self.recipe.test_views())
        watch.on_train_end()
        return measured

    def _config(self) -> Config:
        return {
            "recipe": self.recipe.to_json(),
            "handgrad": metadata.version("handgrad"),
            "numpy": np.__version__,
            "python": platform.python_version(),
            "machine": platform.machine(),
        }


def open_model(path: str | os.PathLike[str]) -> tuple[Any, Config]:
    """Return the model of a run's folder, or of a file, and what is known about it.

    Raises
    ------
    CheckpointError
        If there is none; of a run that has not ended, says how to go on.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            str(path), expected="a run's folder or a model file", got="nothing of that name"
        )
    if path.is_dir():
        if (path / "config.json").is_file() and not (path / "model.safetensors").is_file():
            raise CheckpointError(
                str(path),
                expected="a run that has ended",
                got="one without its model",
                do=f"go on with: handgrad train --resume {shlex.quote(str(path))}",
            )
        path = path / "model.safetensors"
    return load(path), load_about(path)
