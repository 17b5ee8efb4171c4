"""A recipe carried out in a folder."""

from __future__ import annotations

import os
import platform
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from handgrad.data import Dataset, Loader, Subset
from handgrad.errors import ArgumentError, CheckpointError, HandgradError
from handgrad.graph import Graph
from handgrad.io import load, save
from handgrad.train.callbacks import Callback, Checkpoint, FreezeAfter, HistoryWriter, Spent, Stopwatch
from handgrad.train.environment import changed, environment
from handgrad.train.recipe import Recipe, spread
from handgrad.train.run_folder import RunFolder, resumed_otherwise
from handgrad.train.trained_on import TrainedOn, check_same, describe
from handgrad.train.trainer import Trainer
from handgrad.typing import Config


class Experiment:
    """A training run with all it leaves behind in one folder.

    ``config.json``
        The recipe; what it was run with and on: versions, kernels, threads, names of classes, numbers of
        images and fingerprints of their lists; and what was otherwise when it was resumed.
    ``last.safetensors``
        The checkpoint that `run` goes on from after a break, be it by Ctrl-C or by a crash.
    ``history.csv``, ``history.json``
        Loss and accuracy of every epoch.
    ``model.safetensors``, ``result.json``
        The trained model, for `handgrad.load`, and its loss and accuracy on the test images, when the run has
        ended.

    The folder belongs to one process while it is written: `run` is refused where another one has it.

    Parameters
    ----------
    folder : path
        Of the run.
    recipe : Recipe, optional
        For a new run; the folder must not hold one. Without it, the run in the folder is opened.
    epochs : int, optional
        For a run in a folder: how many epochs it shall have, in place of its recipe's. One that has ended
        goes on. A schedule of the learning rate over all steps becomes that of the new number from the next
        step on: the model is not the one that so many epochs make from the beginning.
    numbered : bool, default False
        Whether a new run takes the next free number behind the folder's name, where there is one of its name
        when it begins.

    Attributes
    ----------
    trainer : Trainer
        Ready to train, or where the run is.
    class_names : tuple of str
        Of the data.
    spent : Spent
        Seconds of training, in all its parts, once it has ended.
    epochs_before : int
        How many epochs the run was to have before `epochs` changed it.

    Raises
    ------
    CheckpointError
        If the folder holds a run already, or, without a recipe, none; if the classes have other names than
        those that it was trained on.
    ArgumentError
        If fewer epochs are asked for than are done.
    DataError
        If the data are missing.

    Warns
    -----
    UserWarning
        If a run is opened with other images, versions, kernels or threads than it was saved with.

    Notes
    -----
    The recipe in ``config.json`` makes the same model again, and a run that was broken off ends where an
    unbroken one ends, bit for bit, with the same images, the same versions of handgrad and NumPy, kernels and
    number of threads, on a machine of that kind. ``"resumed"`` in ``config.json`` says where that was not so.
    """

    def __init__(
        self,
        folder: str | os.PathLike[str],
        recipe: Recipe | None = None,
        *,
        epochs: int | None = None,
        numbered: bool = False,
    ) -> None:
        self._files, self._new, self._numbered = RunFolder(folder), recipe is not None, numbered
        self.spent = Spent()
        if recipe is None:
            self._files.require_run()
            with warnings.catch_warnings():
                warnings.filterwarnings("ignore", "(?s).*resumed otherwise than it began")
                recipe = Recipe.read(self.config_path)
        elif not numbered:
            self._files.refuse_another_run()
        self._config = {} if self._new else self._files.config()
        self.recipe = self._located(recipe if epochs is None else recipe.changed(epochs=epochs))
        self.epochs_before = recipe.epochs
        self.train_data, self.test_data, self.class_names = self.recipe.data()
        self._data = describe(self.train_data, self.test_data, self.class_names)
        model = self.recipe.build(self.train_data.shape, len(self.class_names))
        self.recipe.prepare(model, self.train_data)
        self._try(model)
        self.trainer: Trainer = self.recipe.trainer(model, len(self.train_data))
        self._seen: object = None
        if not self._new:  # or another run may have begun in the folder meanwhile, which `claimed` finds
            self._load()

    def _located(self, recipe: Recipe) -> Recipe:
        """Return the recipe with the whole path of its folder of images."""
        try:
            return recipe.located()
        except ArgumentError as error:
            if self._new or Path(recipe.dataset).is_absolute():
                raise
            do = "go to the directory that the run was begun in, which its config.json does not name"
            raise ArgumentError(error.where, expected=error.expected, got=error.got, do=do) from None

    def _try(self, model: Graph) -> None:
        """Raise now what would be raised after hours, or in a folder that has been made."""
        FreezeAfter(self.recipe.freeze_after).check(model)
        one = Subset(self.train_data, [0])
        try:
            x, _ = Loader(one, 1, transform=self.recipe.transform()).batch(0, 0)
        except (MemoryError, OverflowError, TypeError, ValueError) as error:
            if isinstance(error, HandgradError):
                raise
            got = f"{self.recipe.augment!r}, which fails: {error or 'there is not enough memory'}"
            raise ArgumentError("augment", expected="what changes these images", got=got) from error
        if (views := self.recipe.test_views()) is not None:
            list(views(x))

    def _load(self) -> None:
        """Go where the last checkpoint is, if there is one."""
        self._seen = self._stamp()
        if self._seen is None:
            return
        where, same = str(self.folder), self._config.get("data")
        check_same(where, same, self._data)  # before a model with another number of classes is refused
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            self.trainer.load(self.checkpoint.last_path)
        for warning in caught:
            if not self._is_meant(str(warning.message)):
                warnings.warn(warning.message, stacklevel=3)
        told = self.trainer.told(self._trained_on)
        if said := check_same(where, told and told[0], self._data):
            text = f"{where}: {'; '.join(said)}: it does not end where an unbroken run does"
            warnings.warn(text, stacklevel=3)
        at = self.trainer.progress
        done = at.epoch + (at.batch > 0)
        if self.recipe.epochs < done:
            raise ArgumentError(
                "epochs", expected=f"at least the {done} that {where} has begun", got=str(self.recipe.epochs)
            )

    def _is_meant(self, warning: str) -> bool:
        """Whether a difference that the trainer warns of is the recipe's, or nothing is trained any more."""
        frozen = self.recipe.freeze_after and "was saved with trainable=False" in warning  # and will be again
        longer = self.trainer.progress.last != self.recipe.epochs and "was saved with lr=" in warning
        over = self.ended and "what follows may differ" in warning
        return bool(frozen or longer or over)

    def _stamp(self) -> object:
        """Return what tells one checkpoint from another; None where there is none."""
        try:
            stat = self.checkpoint.last_path.stat()
        except FileNotFoundError:
            return None
        return stat.st_ino, stat.st_size, stat.st_mtime_ns

    @property
    def folder(self) -> Path:
        """The folder."""
        return self._files.path

    @property
    def config_path(self) -> Path:
        """Where the recipe is."""
        return self._files.config_path

    @property
    def model_path(self) -> Path:
        """Where the trained model is."""
        return self._files.model_path

    @property
    def result_path(self) -> Path:
        """Where the test results are."""
        return self._files.result_path

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

    @property
    def _trained_on(self) -> TrainedOn:
        return TrainedOn(self._data)

    @contextmanager
    def claimed(self) -> Iterator[None]:
        """Have the folder for this process alone, as `run` does while it runs.

        Raises
        ------
        CheckpointError
            If another process has it, or has changed it since it was opened.
        """
        with self._files.claimed(new=self._numbered and self._new):
            self._take()
            yield

    def _take(self) -> None:
        """Write what the folder says of the run; be where its last checkpoint is."""
        if self._new:
            self._files.refuse_another_run()
        elif self._files.config() != self._config:
            raise CheckpointError(
                str(self.folder), expected="the run that was opened", got="one that was changed meanwhile"
            )
        elif self._seen != self._stamp():
            self._load()
        config = self._described()
        if config != self._config:
            self._files.write_config(config)
        if self._seen is not None and not self.ended:  # of a run that had ended and goes on
            self.result_path.unlink(missing_ok=True)
        self._new, self._config = False, self._files.config()

    def _described(self) -> Config:
        """Return what ``config.json`` is to hold."""
        now = environment(self.trainer.kernels)
        begun: Config = {
            "recipe": self.recipe.to_json(),
            **now,
            "python": platform.python_version(),
            "data": self._data,
        }
        if self._seen is None and self._result() is None:  # it begins now
            return begun
        before = self._config
        differing = changed(before, now) + check_same(str(self.folder), before.get("data"), self._data)
        earlier = resumed_otherwise(before)
        said = earlier[-1]["changed"] if earlier else []
        if before.get("recipe", before).get("epochs", self.epochs_before) != self.recipe.epochs:
            differing.insert(0, f"{self.epochs_before} epochs, now {self.recipe.epochs}")
        elif all(text in said for text in differing):
            return before
        at = self.trainer.progress
        entry = {"epoch": at.epoch, "batch": at.batch, "changed": differing}
        return {**before, "recipe": self.recipe.to_json(), "resumed": [*earlier, entry]}

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
            has ended, what it came to then; where its model or result is missing or damaged, it is made again
            from the last checkpoint.

        Raises
        ------
        CheckpointError
            If another process has the folder.
        """
        with self.claimed():
            if (result := self._result()) is not None:
                self.spent = Spent(*(result.pop(name, 0.0) for name in Spent._fields))
                return result
            watch = Stopwatch()
            try:
                if not self.ended:
                    self._fit(callbacks, watch)
            finally:
                self._seen = self._stamp()
            return self._finish(watch) if self.ended else None

    def _result(self) -> dict[str, float] | None:
        """Return what the run came to, if it has ended and left model and result whole."""
        if self._new or not (self.ended or self._seen is None):
            return None
        try:
            load(self.model_path)
        except CheckpointError:
            return None
        return self._files.result()

    def _fit(self, callbacks: Sequence[Callback], watch: Stopwatch) -> None:
        recipe = self.recipe
        kept = [watch, self._trained_on, HistoryWriter(self.folder), self.checkpoint]
        self.trainer.fit(
            self.train_data,
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            validation=self.validation_data,
            transform=recipe.transform(),
            callbacks=[FreezeAfter(recipe.freeze_after), *callbacks, *kept],
            initial_epoch=0,
        )

    def _finish(self, watch: Stopwatch) -> dict[str, float]:
        """Save the model, before the test and with its results; the test is part of the run."""
        recipe = self.recipe
        about: Config = {"classes": list(self.class_names), "dataset": recipe.dataset}
        about |= {"loss": self.trainer.loss.config()}
        of_the_test = {"views": recipe.views, "holdout": recipe.holdout}
        about |= {name: value for name, value in of_the_test.items() if value}
        save(self.trainer.model, self.model_path, about=about)
        self.trainer.history.save(self.folder)
        measured = self._tested(watch)
        result = {f"test_{name}": value for name, value in measured.items()}
        self.spent = Spent(*(round(seconds, 3) for seconds in watch.spent))
        save(self.trainer.model, self.model_path, about={**about, **result})
        self._files.write_result({**result, **self.spent._asdict()})
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
