"""Training."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import numpy as np

from handgrad import losses, optim
from handgrad.arguments import check_count, unmasked
from handgrad.data import Dataset, Loader, Transform, as_dataset
from handgrad.errors import ArgumentError, CheckpointError, NonFiniteError
from handgrad.graph import Graph
from handgrad.graph.fuse import fuse as fused
from handgrad.io import Checkpoint, load_checkpoint, model_config, save_checkpoint
from handgrad.io.model import in_file
from handgrad.kernels import Kernels, default_kernels, release_memory, reuse_memory
from handgrad.layers import Run
from handgrad.rng import Stream
from handgrad.train.callbacks import Callback
from handgrad.train.callbacks.kept import resume
from handgrad.train.callbacks.several import checked, keyed
from handgrad.train.diagnose import diagnose, finite_gradients
from handgrad.train.environment import changed, environment
from handgrad.train.evaluate import evaluate
from handgrad.train.history import History
from handgrad.train.metrics import get_metrics
from handgrad.train.micro_batches import Step, forward_backward
from handgrad.train.outputs import check_preprocessing, model_info, saved_info
from handgrad.train.standing import Standing, Told, Where, switched
from handgrad.train.totals import Totals
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
        return a number for every sample.
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
    history : History
        A list for every quantity, with a value for each epoch.
    progress : Where
        The next batch.
    quantities : tuple of str
        What the logs of this fit hold after an epoch: ``"loss"``, the metrics, and ``"val_..."`` of each.
    stop_training : bool
        Set it from a callback to end the fit after this step.
    failed : bool
        Whether the fit was ended by an error, perhaps in the middle of a step.
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
        if not isinstance(model, Graph):
            raise ArgumentError("Trainer model", expected="a Graph or Sequential", got=type(model).__name__)
        self.model = model
        self._graph = fused(model) if fuse else model  # what runs: the same parameters and buffers
        self.loss = losses.get(loss)
        self.optimizer = optim.get(optimizer)
        self.optimizer.check(model.parameters())
        self.metrics = get_metrics(metrics)
        self.rng = Stream((int(seed),)).child("train")
        if precision == "bfloat16" and model.dtype != np.float32:
            raise ArgumentError(
                "Trainer precision",
                expected="a model of dtype float32 for bfloat16",
                got=f"one of {model.dtype}",
                do="build the model with dtype float32, which its parameters keep in training",
            )
        if micro_batch_size is not None:
            check_count("Trainer", "micro_batch_size", micro_batch_size)
        self.micro_batch_size = micro_batch_size
        self.kernels = kernels or default_kernels(precision)
        self.history = History()
        self.progress = Where()
        self.stop_training = self.failed = False
        self.samples, self.waited = 0, 0.0
        self.quantities: tuple[str, ...] = ()
        self._totals = Totals(self.metrics)
        self._callbacks: tuple[Callback, ...] = ()
        self._waiting: Told = {}
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
            If data or arguments do not fit; nothing has been changed then.
        NonFiniteError
            If a loss or gradient is not finite and no callback goes on; parameters are as before that step.
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
        validation = None if validation is None else as_dataset(validation, dtype=self.model.dtype)
        self._check(loader.dataset)
        if validation is not None:
            self._check(validation)
        if len(loader.dataset) % batch_size == 1 and not drop_last:
            self._try_single(loader.dataset)
        callbacks = checked(callbacks)
        for name, number, least in (("epochs", epochs, 1), ("initial_epoch", initial_epoch or 0, 0)):
            if not is_integer(number) or number < least:
                raise ArgumentError(f"fit {name}", expected=f"an int, at least {least}", got=repr(number))
        at = self.progress
        if at.batch and at.batches != len(loader):
            at.batch, self._totals = 0, Totals(self.metrics)
        at.last = (at.epoch if initial_epoch is None else int(initial_epoch)) + int(epochs)
        at.batches = len(loader)
        measured = tuple(self._totals.sums)
        self.quantities = measured + tuple(f"val_{name}" for name in measured if validation is not None)
        self.model.info = model_info(self.model, self.loss, loader.dataset, transform)
        self._validation = validation
        if validation is not None:
            check_preprocessing(self.model.info, validation, stacklevel=2)
        self._begin(callbacks)
        with ExitStack() as begun:
            begun.callback(release_memory)
            begun.callback(setattr, self, "_validation", None)
            begun.enter_context(reuse_memory())
            for callback in callbacks:
                callback.on_train_begin()
                begun.callback(callback.on_train_end)
            try:
                while at.epoch < at.last and not self.stop_training:
                    self._epoch(loader, validation)
            except BaseException:
                self.failed = True
                raise
        return self.history

    def _epoch(self, loader: Loader, validation: Dataset | None) -> None:
        at = self.progress
        for callback in self._callbacks:
            callback.on_epoch_begin(at.epoch)
        with closing(loader.epoch(at.epoch, at.batch)) as batches:
            for xb, yb in self._waited_for(batches):
                for callback in self._callbacks:
                    callback.on_train_batch_begin(at.batch)
                self.samples += len(yb)
                try:
                    loss, z = self._step(xb, yb)
                except NonFiniteError as error:
                    handled = [callback.on_nonfinite(error) for callback in self._callbacks]
                    if not any(handled):
                        raise
                    at.batch, at.step = at.batch + 1, at.step + 1
                else:
                    self._totals.add(loss, z, yb)
                    at.batch, at.step = at.batch + 1, at.step + 1
                    logs = self._totals.means()
                    for callback in self._callbacks:
                        callback.on_train_batch_end(at.batch - 1, logs)
                if self.stop_training:
                    return
        for callback in self._callbacks:
            callback.on_epoch_trained(at.epoch)
        logs = self._totals.means()
        if validation is not None:
            logs |= {f"val_{name}": value for name, value in self.evaluate(validation).items()}
        self.history.append(logs)
        at.epoch, at.batch = at.epoch + 1, 0
        self._totals = Totals(self.metrics)
        for callback in self._callbacks:
            callback.on_epoch_end(at.epoch - 1, logs)

    def _waited_for(self, batches: Iterator[tuple[Array, Array]]) -> Iterator[tuple[Array, Array]]:
        """Yield the batches, and measure how long each kept the trainer waiting."""
        while True:
            begun = time.perf_counter()
            batch = next(batches, None)
            self.waited += time.perf_counter() - begun
            if batch is None:
                return
            yield batch

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
        loss, _ = self._step(self.model.check_input(x), unmasked("labels", y))
        if self.model.info.kind is None:
            self.model.info = model_info(self.model, self.loss)
        self.progress.step += 1
        return loss

    def _step(self, x: Array, y: Array) -> tuple[float, Array]:
        """Do the step; return the loss and the outputs."""
        model, at = self.model, self.progress
        run = Run(training=True, kernels=self.kernels, rng=self.rng.child("step", at.step))
        # what is not finite is found below
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            loss, z, commit = self._gradients(x, y, run)
            if not (np.isfinite(loss) and finite_gradients(model, self.kernels)):
                where = f"epoch {at.epoch + 1}, step {at.step + 1}"
                raise diagnose(model, x, run, where, lambda z: self.loss(z, y, self.kernels))
            commit()
            self.optimizer.step(model.trainable_parameters(), self.kernels)
        return loss, z

    def _gradients(self, x: Array, y: Array, run: Run) -> Step:
        """Set the gradients to those of the batch, unless the loss is not finite."""
        graph, size = self._graph, self.micro_batch_size
        if size is not None and len(x) > size:
            self.model.zero_grad()
            return forward_backward(graph, self.loss, x, y, run, size)
        z, trace = graph.forward(x, run)
        loss, dz = self.loss(z, y, self.kernels)
        if np.isfinite(loss):
            self.model.zero_grad()
            graph.backward(dz, trace, run, release=True)
        return Step(loss, z, lambda: graph.commit(trace))

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
        dataset = as_dataset(x, y, dtype=self.model.dtype)
        self._check(dataset)
        if dataset is not self._validation:
            check_preprocessing(self.model.info, dataset, stacklevel=2)
        return evaluate(
            self._graph, self.loss, self.metrics, dataset, None, batch_size, views=views, kernels=self.kernels
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write all that training goes on from: model, optimizer, where it is, history, callbacks."""
        told = {
            key: (callback.state(), callback.arrays()) for key, callback in keyed(self._callbacks).items()
        }
        standing = Standing(self.progress, self._totals, self.history, told | self._waiting)
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
            If it is missing, damaged, or of another model, optimizer or seed; nothing has been changed then.

        Warns
        -----
        UserWarning
            If a layer's switches, as `freeze` sets them, or its `renorm` were others when it was saved. They
            stay as they are: a step is then another one than it was. If it was saved by another version,
            other kernels, in another precision or with another number of threads, which may round otherwise.
        """
        checkpoint = load_checkpoint(path)
        standing = Standing.unpack(checkpoint, os.fspath(path), self.rng, self.metrics)
        info = saved_info(checkpoint.model, os.fspath(path))
        try:
            self.model.check_state(checkpoint.state)
            self.optimizer.load_state(checkpoint.optimizer, self.model.parameters())
        except CheckpointError as error:
            raise in_file(path, error) from error
        self.model.load_state(checkpoint.state)
        self.progress, self._totals, self.history = standing.where, standing.totals, standing.history
        self._callbacks, self._waiting = (), standing.told
        self.model.info = info or self.model.info
        if differing := switched(checkpoint.model, self.model):
            warnings.warn(f"{os.fspath(path)}: {'; '.join(differing)}", stacklevel=2)
        if elsewhere := changed(checkpoint.progress.get("environment"), environment(self.kernels)):
            said = f"saved with {'; '.join(elsewhere)}: what follows may differ in the last bits"
            warnings.warn(f"{os.fspath(path)}: {said}", stacklevel=2)

    def told(self, callback: Callback) -> tuple[Config, dict[str, Array]] | None:
        """Return what a loaded checkpoint holds for a callback of this class, if no fit has taken it."""
        return self._waiting.get(next(iter(keyed((callback,)))))

    def _begin(self, callbacks: tuple[Callback, ...]) -> None:
        self._callbacks = callbacks
        self.stop_training = self.failed = False
        self.samples, self.waited = 0, 0.0
        for key, callback in keyed(callbacks).items():
            callback.set_trainer(self)
            if key in self._waiting:
                resume(key, callback, *self._waiting[key])
        self._waiting = {}

    def _try_single(self, dataset: Dataset) -> None:
        """Raise what the last batch of an epoch would, of one sample: some normalizations need more."""
        x, _ = dataset.batch(np.arange(1))
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
            self.model.forward(x, Run(training=True, kernels=self.kernels), keep=False)

    def _check(self, dataset: Dataset) -> None:
        """Raise before the first step what would be raised in one: samples and labels that do not fit."""
        # of the right length and no memory, for the message
        self.model.check_input(
            np.broadcast_to(np.zeros((), self.model.dtype), (len(dataset), *dataset.shape))
        )
        labels = getattr(dataset, "labels", None)
        if labels is not None:
            self.loss.check((len(dataset), *self.model.output_shape), labels)
