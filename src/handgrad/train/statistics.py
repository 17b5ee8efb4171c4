"""Statistics of a whole data set for batch normalizations, and how far the running ones are from them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from handgrad.data import Dataset, Loader, as_dataset
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.graph import Graph, Node
from handgrad.kernels import reuse_memory
from handgrad.layers import BatchNormalization, Run
from handgrad.layers.batch_statistics import Moments, moments, pooled
from handgrad.typing import Array


@reuse_memory()
def precise_statistics(model: Graph, x: Any, batch_size: int = 256, *, run: Run | None = None) -> None:
    """Set the running statistics of every batch normalization to those of its inputs over a data set.

    Parameters
    ----------
    model : Graph
        Its running statistics are set, of layers that update them: those of a frozen layer, or with
        ``update_running_statistics=False``, stay as they are. Nothing else changes.
    x : array, (x, y) or Dataset
        The samples, of training as a rule. Labels are not looked at.
    batch_size : int, default 256
        How many at once; the result does not depend on it, nor on their order, but for rounding.
    run : Run, optional
        How the layers run; in inference mode.

    Raises
    ------
    ArgumentError
        If no layer of the model updates running statistics, or there is one value per channel.
    NonFiniteError
        If mean or variance of what arrives at a layer is not finite. After any error, and after an
        interruption, the statistics are as before.

    Notes
    -----
    Layer by layer, in the order they run: all samples go through the layers before it, in inference mode,
    with the statistics that these have been given already; mean and variance of all that arrives are pooled
    over the batches by Chan's formula, and become the layer's. So afterwards every
    layer normalizes what it gets in inference to mean 0 and variance 1 over the data set (the variance is
    unbiased where the layer's `running_variance` is). It takes as many passes over a part of the model as
    there are such layers; where that is too long, a part of the data will do.

    PyTorch's ``update_bn`` passes once, in training mode: dropout is active, every layer sees activations
    normalized by batches, and means of the batches' variances leave out how far the batches' means are apart.

    A layer that stands in several places gets the statistics of all of them together; what arrives at the
    later places depends on those of the earlier ones.

    References
    ----------
    .. [1] Y. Wu and J. Johnson, "Rethinking 'batch' in BatchNorm", arXiv:2105.07576, 2021.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> x = 5 + 3 * hg.rng.Stream((1,)).normal((100, 8, 8, 2))
    >>> model = hg.Sequential([hg.layers.BatchNormalization()], input_shape=(8, 8, 2))
    >>> hg.precise_statistics(model, x)
    >>> y = model.predict(x)
    >>> abs(float(y.mean())) < 1e-6, round(float(y.std()), 3)
    (True, 1.0)
    """
    run = _inference(run, "precise_statistics")
    nodes = [node for node, bn in _normalizations(model) if bn.update_running_statistics]
    if not nodes:
        raise ArgumentError(
            f"{model.name or type(model).__name__} precise_statistics",
            expected="a BatchNormalization that updates running statistics",
            got="none",
            do="unfreeze() those that are to be set",
        )
    before = {name: buffer.value.copy() for name, buffer in model.buffers().items()}
    try:
        known: dict[int, Moments] = {}
        for node in nodes:
            bn = _layer(node)
            arriving = _arriving(model, node, _batches(model, x, batch_size), run)
            known[id(bn)] = data = pooled([*([known[id(bn)]] if id(bn) in known else []), *arriving])
            _check(node, data)
            bn.set_inference_statistics(data.mean, data.variance(bn.running_variance))
    except BaseException:
        for name, buffer in model.buffers().items():
            buffer.assign(before[name])
        raise


def _inference(run: Run | None, where: str) -> Run:
    if run is not None and run.training:
        raise ArgumentError(
            f"{where} run",
            expected="one in inference mode",
            got="training=True",
            do="leave it out: of a batch in training mode, running statistics are not looked at",
        )
    return run or Run()


def _arriving(model: Graph, node: Node, batches: Iterator[Array], run: Run) -> Iterator[Moments]:
    """Yield the moments of what arrives at a node in inference, a batch at a time."""
    i = node.inputs[0]
    for batch in batches:
        with np.errstate(all="ignore"):  # what is not finite is told
            h = model.with_nodes(model.nodes[:i]).forward(batch, run, keep=False)[0] if i else batch
            found = moments(_layer(node).rows(h), None, run.kernels)
        yield found


def _check(node: Node, data: Moments) -> None:
    if data.m < 2:
        raise ArgumentError("precise_statistics x", expected="at least 2 values per channel", got=str(data.m))
    if not data.finite().all():
        raise NonFiniteError(
            "precise_statistics",
            expected=f"inputs of {node.layer.where} with finite mean and variance",
            got=f"others in channel {', '.join(map(str, np.flatnonzero(~data.finite())[:8]))}",
            do="look at the data and the parameters before it",
        )


class Gap(NamedTuple):
    """How far the running statistics of a layer are from those of its inputs over a data set.

    Attributes
    ----------
    mean : (c,) array
        ``(running mean - mean of the data)/sqrt(variance of the data + epsilon)`` of each channel.
    std : (c,) array
        ``sqrt((running variance + epsilon)/(variance of the data + epsilon))``: 1 where they agree.
    """

    mean: Array
    std: Array

    @property
    def largest(self) -> float:
        """The furthest channel: of ``abs(mean)`` and ``abs(log(std))``. 0 where all agree."""
        worst = np.maximum(np.abs(self.mean), np.abs(np.log(self.std)))
        return float(np.max(worst, initial=0.0))


@reuse_memory()
def statistics_gap(model: Graph, x: Any, batch_size: int = 256, *, run: Run | None = None) -> dict[str, Gap]:
    """Return how far running statistics are from those of the data, for every batch normalization by name.

    Parameters
    ----------
    model : Graph
        Is left as it is.
    x : array, (x, y) or Dataset
        The samples.
    batch_size : int, default 256
        How many at once; the result does not depend on it, but for rounding.
    run : Run, optional
        How the layers run; in inference mode.

    Returns
    -------
    dict of str to Gap
        For every place where a layer with running statistics stands. A large gap is why a model that trains
        well evaluates badly: `precise_statistics`, or a smaller momentum, closes it.

    Notes
    -----
    All samples go through the model once, in inference mode: each layer is measured on what it gets there.

    Examples
    --------
    >>> import handgrad as hg
    >>> x = 5 + hg.rng.Stream((1,)).normal((100, 2))
    >>> model = hg.Sequential([hg.layers.BatchNormalization()], input_shape=(2,))
    >>> hg.precise_statistics(model, x)
    >>> hg.statistics_gap(model, x)["batch_normalization"].largest < 0.01
    True
    """
    run = _inference(run, "statistics_gap")
    nodes = [node for node, _ in _normalizations(model)]
    parts: dict[str, list[Moments]] = {node.name: [] for node in nodes}
    names = {node.name: k + 1 for k, node in enumerate(model.nodes)}  # the value that a node computes

    def measure(value: int, h: Array) -> None:
        for node in nodes:
            if node.inputs[0] == value:
                parts[node.name].append(moments(_layer(node).rows(h), None, run.kernels))

    for batch in _batches(model, x, batch_size):
        measure(0, batch)
        model.forward(batch, run, keep=False, watch=lambda node, y: measure(names[node.name], y))
    return {node.name: _gap(_layer(node), pooled(parts[node.name])) for node in nodes}


def _gap(bn: BatchNormalization, data: Moments) -> Gap:
    mean, var = bn.inference_statistics()
    sigma = np.sqrt(data.var + bn.epsilon)
    return Gap((mean - data.mean) / sigma, np.sqrt(var + bn.epsilon) / sigma)


def _normalizations(model: Graph) -> Iterator[tuple[Node, BatchNormalization]]:
    for node in model.nodes:
        if isinstance(node.layer, BatchNormalization) and node.layer.running_statistics:
            yield node, node.layer


def _layer(node: Node) -> BatchNormalization:
    assert isinstance(node.layer, BatchNormalization)
    return node.layer


def _batches(model: Graph, x: Any, batch_size: int) -> Iterator[Array]:
    labelled = isinstance(x, Dataset | tuple)
    dataset = as_dataset(x, None if labelled else np.zeros(len(x), np.int64), dtype=model.dtype)
    for batch, _ in Loader(dataset, batch_size, shuffle=False).epoch(0):
        yield model.check_input(batch)
