"""One training step: its gradients are computed and looked at, then it is done wholly or not at all."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np

from handgrad.arguments import check_count
from handgrad.data import Dataset, Loader
from handgrad.data.samples import to_labels
from handgrad.graph import Graph
from handgrad.layers import Layer, Parameter, Run
from handgrad.losses import Loss
from handgrad.losses.loss import checked
from handgrad.optim import MultiOptimizer, Optimizer
from handgrad.optim.names import OPTIMIZERS
from handgrad.train.diagnose import diagnose, finite_gradients
from handgrad.train.metrics import measured, metrics_for
from handgrad.train.micro_batches import Step, forward_backward
from handgrad.train.uninterrupted import uninterrupted
from handgrad.typing import Array

if TYPE_CHECKING:
    from handgrad.train.trainer import Trainer


def gradients(trainer: Trainer, x: Array, y: Array, source: Callable[[int], str] | None = None) -> Step:
    """Set the gradients to those of a batch, and return its loss and outputs.

    Parameters
    ----------
    trainer : Trainer
        Nothing of it but gradients changes.
    x, y : arrays
        The batch.
    source : callable, optional
        Says where sample i of the batch is from, for errors.

    Raises
    ------
    NonFiniteError
        If the loss or a gradient is not finite.
    """
    model, loss, at, kernels = trainer.model, trainer.loss, trainer.progress, trainer.kernels
    run = Run(training=True, kernels=kernels, rng=trainer.rng.child("step", at.step))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # what is not finite is found below
        step = _computed(model, trainer.graph, loss, x, y, run, trainer.micro_batch_size)
        if not (np.isfinite(step.loss) and finite_gradients(model, kernels)):
            where = f"epoch {at.epoch + 1}, step {at.step + 1}"
            raise diagnose(model, x, run, where, lambda z: loss(z, y, kernels), source)
    return step


def _computed(model: Graph, graph: Graph, loss: Loss, x: Array, y: Array, run: Run, size: int | None) -> Step:
    """Set the gradients of `model`, which runs as `graph`, unless the loss is not finite."""
    if size is not None:
        check_count("Trainer", "micro_batch_size", size)
    if size is not None and len(x) > size:
        model.zero_grad()
        return forward_backward(graph, loss, x, y, run, size)
    z, trace = graph.forward(x, run)
    value, dz = checked(loss.where, z, loss(z, y, run.kernels))
    if np.isfinite(value):
        model.zero_grad()
        graph.backward(dz, trace, run, release=True)
    return Step(value, z, lambda: graph.commit(trace))


@contextmanager
def done(trainer: Trainer, step: Step) -> Iterator[None]:
    """Do a step, and with it what the block does: wholly, or if anything fails not at all."""
    parameters = trainer.model.trainable_parameters()
    silent = np.errstate(over="ignore", invalid="ignore", divide="ignore")
    with uninterrupted(), _undone_on_error(trainer.model, trainer.optimizer), silent:
        step.commit()
        trainer.optimizer.step(parameters, trainer.kernels)
        yield
        trainer.progress.step += 1


@contextmanager
def _undone_on_error(model: Graph, optimizer: Optimizer) -> Iterator[None]:
    """Put buffers back as they were if the block raises; parameters and the optimizer's state as well.

    handgrad's optimizers check all they are given before they move the first parameter. So the latter two are
    kept only for others, which may fail in between: a copy of them costs more than many a step.
    """
    committing = (n.layer for n in model.nodes if type(n.layer).commit is not Layer.commit)
    buffers = [(b, b.value.copy()) for layer in committing for b in layer.buffers().values()]
    parameters: list[tuple[Parameter, Array]] = []
    state = None
    if not _checks_first(optimizer):
        parameters = [(p, p.value.copy()) for p in model.trainable_parameters().values()]
        state = optimizer.state()
    try:
        yield
    except BaseException:
        for buffer, value in buffers:
            buffer.assign(value)
        for p, value in parameters:
            p.assign(value)
        if state is not None:
            optimizer.load_state(state)
        raise


def _checks_first(optimizer: Optimizer) -> bool:
    if type(optimizer) is MultiOptimizer:
        return all(map(_checks_first, optimizer.optimizers.values()))
    return type(optimizer) in OPTIMIZERS


def try_labels(trainer: Trainer, data: Dataset, z: Array, y: Array) -> None:
    """Raise what loss and metrics would of the labels of `data`, where these have another form than `y`.

    Parameters
    ----------
    trainer : Trainer
        Its loss and metrics.
    data : Dataset
        Such as the one for validation.
    z, y : arrays
        Outputs and labels of a batch of other samples, for which both are known to work.
    """
    n, labels, loss = min(len(z), len(data), 2), getattr(data, "labels", None), trainer.loss
    if labels is None:
        _, of_data = data.batch(np.arange(n))
    else:
        of_data = to_labels(np.asarray(labels[:n]), trainer.model.dtype)
    if (of_data.shape[1:], of_data.dtype.kind) != (y.shape[1:], y.dtype.kind):
        checked(loss.where, z[:n], loss(z[:n], of_data, trainer.kernels))
        found = metrics_for(trainer.metrics, loss, z.shape[1:], of_data if labels is None else labels)
        measured(found, z[:n], of_data)


def source(loader: Loader, epoch: int, batch: int, i: int) -> str:
    """Say where sample i of a batch is from."""
    number = int(next(loader.sampler.batches(epoch, batch))[i])
    return f", number {number} of the data set" + (", after the transform" if loader.transform else "")
