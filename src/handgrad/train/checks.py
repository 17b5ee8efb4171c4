"""What is known to go wrong, or not to be meant, before a model is trained."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from handgrad.arguments import check_count
from handgrad.data import Dataset
from handgrad.data.sampler import Sampler
from handgrad.errors import ArgumentError
from handgrad.graph import Graph
from handgrad.kernels import Kernels
from handgrad.layers import Flatten, Layer, Reshape, Run, Sigmoid, Softmax
from handgrad.losses import Loss
from handgrad.train.micro_batches import ghost_sizes, parts_of


def check_trainer(model: Any, precision: str, micro_batch_size: Any) -> None:
    """Raise ArgumentError if a trainer's arguments do not fit each other."""
    if not isinstance(model, Graph):
        raise ArgumentError("Trainer model", expected="a Graph or Sequential", got=type(model).__name__)
    if precision == "bfloat16" and model.dtype != np.float32:
        raise ArgumentError(
            "Trainer precision",
            expected="a model of dtype float32 for bfloat16",
            got=f"one of {model.dtype}",
            do="build the model with dtype float32, which its parameters keep in training",
        )
    if micro_batch_size is None:
        return
    check_count("Trainer", "micro_batch_size", micro_batch_size)
    for where, size in ghost_sizes(model).items():
        if micro_batch_size < size:
            raise ArgumentError(
                "Trainer",
                expected=f"micro_batch_size of at least {size}, the ghost_size of {where}",
                got=repr(micro_batch_size),
                do="statistics are taken of whole ghost batches, which are computed at once",
            )


def check_micro_batches(model: Graph, sampler: Sampler, size: int | None) -> None:
    """Raise ArgumentError if a batch cannot be computed in parts of about `size` samples."""
    if size is None:
        return
    whole, rest = min(sampler.n, sampler.batch_size), sampler.n % sampler.batch_size
    for batch in (whole, *([rest] if rest and not sampler.drop_last else [])):
        parts_of(batch, size, ghost_sizes(model))


def check_data(model: Graph, loss: Loss, dataset: Dataset) -> None:
    """Raise what a step would raise of the shape of samples, or of labels that are at hand."""
    model.check_shape((len(dataset), *dataset.shape))
    labels = getattr(dataset, "labels", None)
    if labels is not None:
        loss.check((len(dataset), *model.output_shape), labels)


def try_single(model: Graph, dataset: Dataset, kernels: Kernels) -> None:
    """Raise what the last batch of an epoch would, of one sample: some normalizations need more."""
    x, _ = dataset.batch(np.arange(1))
    with np.errstate(over="ignore", invalid="ignore", divide="ignore"):
        model.forward(x, Run(training=True, kernels=kernels), keep=False)


def warn_of_probabilities(model: Graph, loss: Loss) -> None:
    """Warn of a model that ends with what its loss, which takes logits, does itself."""
    layer = _last(model)
    if loss.outputs in ("classes", "labels") and isinstance(layer, Softmax | Sigmoid):
        own = "softmax" if loss.outputs == "classes" else "sigmoid"
        warnings.warn(
            f"{layer.where}: {loss.where} takes logits and applies {own} to what this layer returns; leave "
            "the layer out, for gradients that do not vanish and probabilities that are right",
            stacklevel=3,
        )


def _last(model: Graph) -> Layer | None:
    """Return the layer that computes the outputs, apart from their shape."""
    value = len(model.nodes)
    while value:
        node = model.nodes[value - 1]
        if not isinstance(node.layer, Flatten | Reshape):
            return node.layer
        value = node.inputs[0]
    return None


def warn_of_untrained(model: Graph) -> None:
    """Warn if training moves nothing."""
    if not model.trainable_parameters():
        why = "all its layers with parameters are frozen" if model.parameters() else "it has no parameters"
        where = model.name or type(model).__name__
        warnings.warn(f"{where}: training moves no parameter, as {why}", stacklevel=5)
