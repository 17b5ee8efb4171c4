"""Training."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import replace
from typing import Any

import numpy as np

from handgrad import losses, optim
from handgrad.data import Dataset, Loader, Transform, as_dataset
from handgrad.data.samples import to_targets
from handgrad.errors import ArgumentError
from handgrad.graph import Graph
from handgrad.graph.fuse import fuse as fused
from handgrad.io import Checkpoint, model_config, save_checkpoint
from handgrad.kernels import Kernels, default_kernels, release_memory, reuse_memory
from handgrad.rng import Stream
from handgrad.train.callbacks import Callback
from handgrad.train.callbacks.kept import resume
from handgrad.train.callbacks.several import checked, keyed
from handgrad.train.checks import (
    check_data,
    check_micro_batches,
    check_trainer,
    try_single,
    warn_of_probabilities,
)
from handgrad.train.environment import environment
from handgrad.train.evaluate import evaluate
from handgrad.train.history import History
from handgrad.train.loop import Loop
from handgrad.train.metrics import get_metrics, metrics_for
from handgrad.train.outputs import check_preprocessing, model_info
from handgrad.train.settings import Settings, restore
from handgrad.train.standing import Standing, Told, Where
from handgrad.train.step import done, gradients
from handgrad.train.totals import Totals
from handgrad.train.uninterrupted import uninterrupted
from handgrad.train.views import Views
from handgrad.typing import Array, Config, is_integer


class Trainer:
    """Trains a model: forward, loss, backward, commit, optimizer step, again and again.

    Parameters
    ----------
    model : Graph
        Is trained in place.
    loss : Loss or str
        Such as ``losses.CrossEntropy()`` or ``"cross_entropy"``.
    optimizer : Optimizer or str
        Such as ``optim.Adam(1e-3)`` or ``"adam"``.
    metrics : sequence of str or functions, optional
        ``"accuracy"``, ``"top5_accuracy"``, ``"mean_absolute_error"``, or functions of (outputs, labels) that
        return a number for every sample. Accuracy follows the loss, as `handgrad.train.accuracy_for` says:
        binary cross entropy counts each label, cross entropy the class.
    seed : int, default 0
        Of the order of samples, augmentation and random layers.
    kernels : Kernels, optional
        The table of functions that compute.
    precision : "float32", "strict" or "bfloat16", default "float32"
        "strict" computes every convolution as sums of products: slower, with about half the rounding of
        Winograd's algorithm. "bfloat16" stores activations and their gradients in numbers of two bytes, with
        float32's range and 8 bits of precision: for less memory, and less to move. Parameters, their
        gradients, the optimizer's state and statistics stay float32 or float64, and sums are taken in them; a
        checkpoint is the same, and can be gone on from in any precision. It needs ``ml_dtypes``, which
        ``pip install 'handgrad[bfloat16]'`` installs. Only where `kernels` is not given.
    fuse : bool, default True
        Whether layers that follow one another run as one where that is faster, as batch normalization,
        addition and ReLU do, and convolutions with the normalizations before and after them: with the same
        results, but for rounding. Without, each runs by itself, as in ``model.forward``, by its own entries
        of `kernels`.
    micro_batch_size : int, optional
        How many samples of a batch are computed at a time, for batches that do not fit into memory. A step is
        that of the whole batch, up to rounding: batch normalization takes the statistics of all its samples,
        and its gradients go through them. Where a layer does so, what layers save of all samples is in
        memory, as for the whole batch; else of one part at a time. Random layers draw other numbers than for
        a batch at once. The loss has to be a mean over samples, as handgrad's are.

    Raises
    ------
    ArgumentError
        If an argument means nothing; or for "bfloat16", if the model is not float32.
    MissingExtraError
        For "bfloat16" without ``ml_dtypes``.

    Attributes
    ----------
    graph : Graph
        What runs in place of `model`, with the same parameters and buffers.
    history : History
        A list for every quantity, with a value for each epoch.
    progress : Where
        The next batch.
    quantities : tuple of str
        What the logs of this fit hold after an epoch: ``"loss"``, the metrics, and ``"val_..."`` of each.
    callbacks : tuple of Callback
        Of this fit.
    stop_training : bool
        Set it from a callback to end the fit after this step.
    failed : bool
        Whether the fit was ended by an error.
    samples : int
        How many samples this fit has trained on.
    waited : float
        How many seconds this fit has waited for batches.

    Examples
    --------
    >>> import handgrad as hg
    >>> x = hg.rng.Stream((1,)).normal((64, 4))
    >>> y = (x[:, 0] > 0).astype(int)
    >>> model = hg.Sequential([hg.layers.Dense(2)], input_shape=(4,))
    >>> trainer = hg.Trainer(model, "cross_entropy", hg.optim.SGD(1.0), metrics=["accuracy"])
    >>> history = trainer.fit(x, y, epochs=20, batch_size=16)
    >>> history["accuracy"][-1] > 0.95
    True
    """

    def __init__(
        self,
        model: Graph,
        loss: losses.Loss | str,
        optimizer: optim.Optimizer | str = "adam",
        metrics: Any = (),
        *,
        seed: int = 0,
        kernels: Kernels | None = None,
        precision: str = "float32",
        fuse: bool = True,
        micro_batch_size: int | None = None,
    ) -> None:
        check_trainer(model, precision, micro_batch_size)
        self.model = model
        self.graph = fused(model) if fuse else model
        self.loss = losses.get(loss)
        self.optimizer = optim.get(optimizer)
        self.optimizer.check(model.parameters())
        self.metrics = metrics_for(get_metrics(metrics), self.loss, model.output_shape)
        self.rng = Stream((int(seed),)).child("train")
        self.micro_batch_size = micro_batch_size
        self.kernels = kernels or default_kernels(precision)
        self.precision = precision if kernels is None else None
        self.history = History()
        self.progress = Where()
        self.stop_training = self.failed = False
        self.samples, self.waited = 0, 0.0
        self.quantities: tuple[str, ...] = ()
        self.callbacks: tuple[Callback, ...] = ()
        self.totals = Totals(self.metrics)
        self.settings = Settings(self)
        self.waiting: Told = {}
        warn_of_probabilities(model, self.loss)
        self._validation: Dataset | None = None  # in a fit, which has compared it with training samples

    def fit(
        self,
        x: Any,
        y: Any = None,
        *,
        epochs: int = 1,
        batch_size: int = 32,
        validation: Any = None,
        callbacks: Iterable[Callback] = (),
        shuffle: bool = True,
        drop_last: bool = False,
        transform: Transform | None = None,
        prefetch: int = 1,
        initial_epoch: int | None = None,
    ) -> History:
        """Train for some epochs.

        Parameters
        ----------
        x, y : arrays or Dataset
            Samples (n, ...) with labels, or a Dataset that has both.
        epochs : int, default 1
            How often to go through all of them.
        batch_size : int, default 32
            Samples in a step.
        validation : (x, y) or Dataset, optional
            Is evaluated after every epoch; its results begin with ``val_``.
        callbacks : sequence of Callback
            Are told what happens, in order; of the end in the opposite one.
        shuffle : bool, default True
            Whether every epoch has an order of its own, from the seed.
        drop_last : bool, default False
            Whether a last batch that is not full is left out.
        transform : callable, optional
            Changes training batches, as the augmentations of `handgrad.data` do.
        prefetch : int, default 1
            How many batches are made ahead while the trainer trains, by one thread that lives as long as the
            epoch: it reads the data set and calls the transform, and nobody else does meanwhile but callbacks
            within an epoch. 0 makes each batch in between, in the thread that calls `fit`: for data or
            transforms that only work there, or for callbacks that use them or fork. Results are the same.
        initial_epoch : int, optional
            The epoch that `epochs` count from: by default the one the trainer is at, so that a second fit
            goes on where the first ended. 0 after `load` ends where the broken run would have. An epoch that
            was broken off goes on at its next batch, or begins anew if it has another number of batches now.

        Returns
        -------
        History
            Of all epochs so far: ``history["loss"]``, ``history["val_accuracy"]``, ...

        Raises
        ------
        DataError, ShapeError, ArgumentError
            If data or arguments do not fit, or a metric or the loss returns something else than it has to;
            nothing has been changed then. The first batch tries what its samples are needed for, before the
            first step.
        NonFiniteError
            If a loss or gradient is not finite and no callback goes on.

        Warns
        -----
        UserWarning
            If no parameter is trained.

        Notes
        -----
        Whatever is raised, also by Ctrl-C, a step has been done wholly, with the statistics, the optimizer's
        state and the progress, or not at all, but for gradients: a fit goes on from there.
        """
        loader = Loader(
            as_dataset(x, y, dtype=self.model.dtype),
            batch_size,
            shuffle=shuffle,
            drop_last=drop_last,
            transform=transform,
            rng=self.rng,
            prefetch=prefetch,
        )
        if validation is not None:
            validation = as_dataset(validation, dtype=self.model.dtype, part="test")
        self._check(loader.dataset, validation)
        check_micro_batches(self.model, loader.sampler, self.micro_batch_size)
        if len(loader.dataset) % batch_size == 1 and not drop_last:
            try_single(self.model, loader.dataset, self.kernels)
        callbacks = checked(callbacks)
        for name, number, least in (("epochs", epochs, 1), ("initial_epoch", initial_epoch or 0, 0)):
            if not is_integer(number) or number < least:
                raise ArgumentError(f"fit {name}", expected=f"an int, at least {least}", got=repr(number))
        at = self.progress
        with uninterrupted():
            before, totals = replace(at), self.totals
            if at.batch and at.batches != len(loader):
                at.batch, self.totals = 0, Totals(self.metrics)
            at.last = (at.epoch if initial_epoch is None else int(initial_epoch)) + int(epochs)
            at.batches = len(loader)
        measured = tuple(self.totals.sums)
        self.quantities = measured + tuple(f"val_{name}" for name in measured if validation is not None)
        info = self.model.info
        self.model.info = model_info(self.model, self.loss, loader.dataset, transform)
        self._validation = validation
        if validation is not None:
            check_preprocessing(self.model.info, validation, stacklevel=2)
        with ExitStack() as begun:
            begun.callback(release_memory)
            begun.callback(setattr, self, "_validation", None)
            begun.enter_context(reuse_memory())
            try:
                self._begin(callbacks)
                for callback in callbacks:
                    callback.on_train_begin()
                    begun.callback(callback.on_train_end)
                Loop(self, loader, validation).run()
            except BaseException:
                self.failed = True
                if (at.epoch, at.step) == (before.epoch, before.step):  # nothing has been done
                    with uninterrupted():
                        vars(at).update(vars(before))
                        self.totals, self.model.info = totals, info
                raise
        return self.history

    @reuse_memory()
    def train_step(self, x: Array, y: Array) -> float:
        """Do one step on one batch and return its loss, as it was before the step.

        Parameters
        ----------
        x, y : arrays
            A batch and its labels.

        Raises
        ------
        ShapeError, DataError
            If they do not fit.
        NonFiniteError
            If the loss or a gradient is not finite; nothing has been changed then.
        """
        step = gradients(self, self.model.check_input(x), to_targets(np.asarray(x), y, self.model.dtype))
        with done(self, step):
            pass
        if self.model.info.kind is None:
            self.model.info = model_info(self.model, self.loss)
        return step.loss

    def evaluate(
        self, x: Any, y: Any = None, batch_size: int = 256, *, views: Views | None = None
    ) -> dict[str, float]:
        """Return the mean loss and metrics over all samples, in inference mode.

        Parameters
        ----------
        x, y : arrays or Dataset
            Samples with labels, or a Dataset that has both.
        batch_size : int, default 256
            How many at once; the result does not depend on it, but for rounding.
        views : Views, optional
            Test-time augmentation: over which views of an image its outputs are averaged.

        Returns
        -------
        dict of str to float
            ``{"loss": ..., "accuracy": ...}``
        """
        dataset = as_dataset(x, y, dtype=self.model.dtype, part="test")
        self._check(dataset)
        if dataset is not self._validation:
            check_preprocessing(self.model.info, dataset, stacklevel=2)
        return evaluate(
            self.graph, self.loss, self.metrics, dataset, None, batch_size, views=views, kernels=self.kernels
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training goes on from: model, optimizer, where it is, history, callbacks."""
        told = {key: (callback.state(), callback.arrays()) for key, callback in keyed(self.callbacks).items()}
        settings = self.settings.pack(self)
        standing = Standing(self.progress, self.totals, self.history, told | self.waiting, settings)
        progress, arrays = standing.pack(self.rng)
        progress["environment"] = environment(self.kernels)
        model, optimizer = self.model, self.optimizer.state()
        save_checkpoint(path, Checkpoint(model_config(model), model.state(), optimizer, arrays, progress))

    def load(self, path: str | os.PathLike[str]) -> None:
        """Go on from what `save` wrote.

        With the same data, arguments, versions, kernels and number of threads, and on a machine of that kind,
        a fit ends bit for bit where the unbroken one ends.

        Parameters
        ----------
        path : path
            Of the file.

        Raises
        ------
        CheckpointError
            If it is missing, damaged, or of another model, optimizer, loss or seed; nothing has been changed
            then.

        Warns
        -----
        UserWarning
            If arguments of layers, such as the switches that `freeze` sets, of the optimizer or of the loss,
            or metrics, precision or `micro_batch_size` were others when it was saved. They stay as they are:
            a step is then another one than it was. If it was saved by another version, by other kernels or
            with another number of threads, which may round otherwise.

        Notes
        -----
        What a callback made of the optimizer's arguments, such as its learning rate, and of the loss is part
        of the file. It is taken over where this trainer has what that one had when it was made, or when its
        fit began.
        """
        for sentence in restore(self, os.fspath(path)):
            warnings.warn(f"{os.fspath(path)}: {sentence}", stacklevel=2)

    def told(self, callback: Callback) -> tuple[Config, dict[str, Array]] | None:
        """Return what a loaded checkpoint holds for a callback of this class, if no fit has taken it."""
        return self.waiting.get(next(iter(keyed((callback,)))))

    def _begin(self, callbacks: tuple[Callback, ...]) -> None:
        self.callbacks = callbacks
        self.settings.begin(self)
        self.stop_training = self.failed = False
        self.samples, self.waited = 0, 0.0
        for key, callback in keyed(callbacks).items():
            callback.set_trainer(self)
            if key in self.waiting:
                resume(key, callback, *self.waiting[key])
        self.waiting = {}

    def _check(self, *datasets: Dataset | None) -> None:
        """Raise before the first step what would be raised in one: samples and labels that do not fit."""
        for dataset in datasets:
            if dataset is not None:
                check_data(self.model, self.loss, dataset)
                labels = getattr(dataset, "labels", None)
                metrics_for(self.metrics, self.loss, self.model.output_shape, labels)
