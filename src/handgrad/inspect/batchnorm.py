"""A look at every batch normalization of a model, with data."""

from __future__ import annotations

import warnings
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

import numpy as np

from handgrad.data import Dataset, Loader, as_dataset
from handgrad.errors import ArgumentError
from handgrad.graph import Graph, Node
from handgrad.inspect.health import BatchNormHealth, LayerHealth
from handgrad.inspect.problems import diagnosed
from handgrad.kernels import Kernels, default_kernels, reuse_memory
from handgrad.layers import BatchNormalization, ReLU, Run
from handgrad.rng import Stream
from handgrad.typing import Array


@reuse_memory()
def batchnorm(
    model: Graph, x: Any, y: Any = None, *, batch_size: int = 64, kernels: Kernels | None = None
) -> BatchNormHealth:
    r"""Look at every batch normalization of a model.

    Parameters
    ----------
    model : Graph
        Is left as it is.
    x : (n, ...) array, (x, y), Dataset or Loader
        Data to look with; best those that it was trained on, in batches as large.
    y : array, optional
        Labels, which are not needed.
    batch_size : int, default 64
        How many samples at once; not for a Loader, which has its own.
    kernels : Kernels, optional
        The table of functions that compute.

    Returns
    -------
    BatchNormHealth
        Printable: per layer and channel the statistics of these data and the running ones, how far apart they
        are, dead channels, and what to do.

    Raises
    ------
    ArgumentError
        If the model has no batch normalization.
    ShapeError, DataError
        If the data do not fit.

    Notes
    -----
    The model runs as in training: each batch is normalized by its own statistics, dropout drops, and so every
    layer sees what it saw there. The layer's running statistics are compared with those of all batches
    together. What that does to inference is the `gap`

    .. math:: \sqrt{\tfrac1m \sum_i \bigl((x_i - \mu_r)\,s_r - (x_i - \mu)\,s\bigr)^2}
        = \sqrt{\sigma^2 (s_r - s)^2 + (\mu - \mu_r)^2 s_r^2},

    the root mean square difference of the normalized values, r for the running ones. It counts as one where
    it is above 0.1, and above twice the same difference between single batches.

    A last batch of one sample, which may have no variance, is left out.

    Examples
    --------
    >>> import handgrad as hg
    >>> layers = [hg.layers.BatchNormalization(name="bn"), hg.layers.Dense(2)]
    >>> model = hg.Sequential(layers, input_shape=(3,))
    >>> x = 5 + hg.rng.Stream((1,)).normal((256, 3))
    >>> health = hg.inspect.batchnorm(model, x)
    >>> health.ok, [problem.kind for problem in health["bn"].problems]
    (False, ['unfitted'])
    >>> round(float(health["bn"].mean[0]))
    5
    """
    if not isinstance(model, Graph):
        raise ArgumentError("batchnorm model", expected="a Graph or Sequential", got=type(model).__name__)
    looks = _looks(model)
    run, samples, batches = Run(training=True, kernels=kernels or default_kernels()), 0, 0
    for i, xb in enumerate(_batches(model, x, y, batch_size)):
        xb = model.check_input(xb)
        _look(model, looks, xb, Run(training=True, kernels=run.kernels, rng=Stream(("inspect", i))))
        samples, batches = samples + len(xb), batches + 1
    return BatchNormHealth(tuple(look.health() for look in looks.values()), samples, batches)


class _Look:
    """What is seen of one layer."""

    def __init__(self, name: str, layer: BatchNormalization) -> None:
        self.name, self.layer = name, layer
        self.statistics: list[tuple[int, Array, Array]] = []
        self.active: Array | None = None
        self.passed = 0

    def see_input(self, x: Array, kernels: Kernels) -> None:
        """Take the statistics of a batch."""
        rows = self.layer.rows(x)
        self.statistics.append((len(rows), *kernels.batch_norm_statistics(rows)))

    def see_relu(self, y: Array) -> None:
        """Count what a ReLU lets through."""
        rows = self.layer.rows(y)
        count = np.count_nonzero(rows > 0, axis=0)
        self.active = count if self.active is None else self.active + count
        self.passed += len(rows)

    def health(self) -> LayerHealth:
        """Return what was seen, with what is wrong."""
        layer = self.layer
        counts = np.array([m for m, _, _ in self.statistics])
        means, variances = (np.stack([s[i] for s in self.statistics]) for i in (1, 2))
        weights = (counts / counts.sum())[:, None]
        with np.errstate(all="ignore"):
            mean = (weights * means).sum(axis=0)
            var = (weights * (variances + (means - mean) ** 2)).sum(axis=0)
            running = layer.running_statistics
            running_mean, running_var = layer.inference_statistics() if running else (mean, var)
            gaps = _gap(mean, var, means, variances, layer.epsilon)
            noise = np.sqrt((weights * gaps**2).sum(axis=0)) if len(counts) > 1 else None
            s = 1 / np.sqrt(var + layer.epsilon)
            gamma, beta = layer.scale_and_shift()
            seen = LayerHealth(
                self.name, int(counts.sum()), layer.momentum, layer.epsilon,
                int(layer.updates.value) if running else None, not layer.trainable,
                mean, var, running_mean, running_var,
                shift=(running_mean - mean) * s,
                ratio=np.sqrt(running_var + layer.epsilon) * s,
                gap=_gap(mean, var, running_mean, running_var, layer.epsilon),
                noise=noise,
                gamma=None if gamma is None else gamma.astype(np.float64),
                beta=None if beta is None else beta.astype(np.float64),
                active=None if self.active is None else self.active / self.passed,
            )  # fmt: skip
        own = type(layer).commit is BatchNormalization.commit
        return diagnosed(seen, began_at_zero=own and not layer.debias)


def _gap(mean: Array, var: Array, other_mean: Array, other_var: Array, epsilon: float) -> Array:
    """Return ``sqrt(var*(s_other - s)^2 + ((mean - other_mean)*s_other)^2)``."""
    s, s_other = 1 / np.sqrt(var + epsilon), 1 / np.sqrt(other_var + epsilon)
    gap: Array = np.sqrt(var * (s_other - s) ** 2 + ((mean - other_mean) * s_other) ** 2)
    return gap


def _looks(model: Graph) -> dict[int, _Look]:
    """Return a look for every batch normalization, by its identity."""
    looks: dict[int, _Look] = {}
    for node in model.nodes:
        if isinstance(node.layer, BatchNormalization):
            looks.setdefault(id(node.layer), _Look(node.name, node.layer))
    if not looks:
        do = "look at the model that it was folded of" if model.original is not None else ""
        raise ArgumentError("batchnorm model", expected="one with a BatchNormalization", got="none", do=do)
    return looks


def _look(model: Graph, looks: dict[int, _Look], x: Array, run: Run) -> None:
    """Run one batch as in training."""
    takers: dict[int, list[_Look]] = defaultdict(list)  # of a value, 0 being the input
    relus: dict[str, _Look] = {}
    users: dict[int, list[Node]] = defaultdict(list)
    for node in model.nodes:
        for value in node.inputs:
            users[value].append(node)
    numbers = {node.name: k for k, node in enumerate(model.nodes, 1)}
    for node in model.nodes:
        if look := looks.get(id(node.layer)):
            takers[node.inputs[0]].append(look)
            after = users[numbers[node.name]]
            if after and all(type(user.layer) is ReLU for user in after):
                relus[after[0].name] = look

    def watch(node: Node, value: Array) -> None:
        for taker in takers[numbers[node.name]]:
            taker.see_input(value, run.kernels)
        if node.name in relus:
            relus[node.name].see_relu(value)

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore", UserWarning)  # of frozen layers that were never fitted: it is told
        for taker in takers[0]:
            taker.see_input(x, run.kernels)
        model.forward(x, run, keep=False, watch=watch)


def _batches(model: Graph, x: Any, y: Any, batch_size: int) -> Iterator[Array]:
    """Yield batches of samples, but for a last one of one sample."""
    if isinstance(x, Loader):
        loader = x
    else:
        if y is None and not isinstance(x, tuple | Dataset):
            y = np.zeros(len(x), np.int64)
        loader = Loader(as_dataset(x, y, dtype=model.dtype), batch_size, shuffle=False)
    for i, (xb, _) in enumerate(loader.epoch(0)):
        if len(xb) > 1 or i == 0:
            yield xb
