"""Steps on batches that are computed a part at a time: the gradients are those of the whole batch.

Parts that know nothing of each other run one after the other, and only one of them is in memory. Batch
normalization takes statistics of all of them, forward and backward: then every layer runs for all parts
before the next one does, and each part asks the others through ``Run.comm``, as shares of a batch elsewhere
would.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.graph import Graph, executor
from handgrad.kernels import Kernels
from handgrad.layers import BatchNormalization, Layer, Merge, Run
from handgrad.layers.batch_statistics import ghosts
from handgrad.losses import Loss
from handgrad.losses.loss import checked
from handgrad.typing import Array

Result = TypeVar("Result")


class Step(NamedTuple):
    """What a forward and backward of all parts gave; gradients are in the parameters."""

    loss: float
    z: Array
    commit: Callable[[], None]
    """Moves the buffers on."""


def forward_backward(graph: Graph, loss: Loss, x: Array, y: Array, run: Run, size: int) -> Step:
    """Add the gradients of the mean loss over a batch, of which `size` samples are computed at a time.

    Parameters
    ----------
    graph : Graph
        Its gradients are added to.
    loss : Loss
        A mean over samples.
    x, y : arrays
        The batch.
    run : Run
        How layers run; every part has a random stream of its own.
    size : int
        Of a part at most, as `parts_of` says.
    """
    parts = parts_of(len(x), size, ghost_sizes(graph))
    try:
        return _apart(graph, loss, x, y, run, parts)
    except _Question:
        return _together(graph, loss, x, y, run, parts)


def ghost_sizes(graph: Graph) -> dict[str, int]:
    """Return the sizes of ghost batches, by the layers that take statistics of them."""
    return {
        layer.where: layer.ghost_size
        for layer in graph.layers
        if isinstance(layer, BatchNormalization) and layer.ghost_size and layer.use_batch_statistics
    }


def parts_of(n: int, size: int, of_ghosts: Mapping[str, int]) -> list[slice]:
    """Return the parts of a batch of n samples, of at most `size` each, that cut no ghost batch in two.

    A part of several whole ghost batches has just these as its own: where r samples are left over, each is
    at most r longer than its size, and all of a part together as well. One ghost batch that is longer than
    `size`, by what is left over, is a part.

    Raises
    ------
    ArgumentError
        If ghost batches of several sizes end together too seldom for parts of at most ``2*size``.
    """
    if not of_ghosts:
        return [slice(i, i + size) for i in range(0, n, size)]
    ends = sorted(set[int].intersection(*({g.stop for g in ghosts(n, k)} for k in of_ghosts.values())))
    parts, start = [], 0
    while start < n:
        fitting = [end for end in ends if start < end <= start + size]
        end = fitting[-1] if fitting else next(end for end in ends if end > start)
        parts.append(slice(start, end))
        start = end
    longest = max(part.stop - part.start for part in parts)
    if longest > 2 * size:
        sizes = ", ".join(f"{k} of {where}" for where, k in of_ghosts.items())
        raise ArgumentError(
            "micro_batch_size",
            expected=f"{longest}, to keep ghost batches whole in a batch of {n} samples (sizes: {sizes})",
            got=str(size),
        )
    return parts


def _apart(graph: Graph, loss: Loss, x: Array, y: Array, run: Run, parts: Sequence[slice]) -> Step:
    """Do each part's forward and backward before the next part's; raise _Question if one asks the others."""
    value, outputs, traces = 0.0, [], []
    for i, part in enumerate(parts):
        own = _run_of_part(run, i, _Known(()))
        z, trace = executor.forward(graph, x[part], own)
        part_value, dz = _share(loss, z, y[part], len(x), run.kernels)
        executor.backward(graph, dz, trace, own, release=True)
        value += part_value
        outputs.append(z)
        traces.append(trace)

    def commit() -> None:
        for trace in traces:
            executor.commit(graph, trace)

    return Step(value, np.concatenate(outputs), commit)


def _together(graph: Graph, loss: Loss, x: Array, y: Array, run: Run, parts: Sequence[slice]) -> Step:
    """Run each layer for all parts before the next one."""
    nodes = (replace(node, layer=_in_parts(node.layer)) for node in graph.nodes)
    graph = graph.with_nodes(nodes)
    run = replace(run, kernels=replace(run.kernels, add=_add_parts(run.kernels)))
    z, trace = executor.forward(graph, _Parts(x[part] for part in parts), run)  # type: ignore[arg-type]
    shares = [_share(loss, z_i, y[part], len(x), run.kernels) for z_i, part in zip(z, parts, strict=True)]
    dz = _Parts(dz for _, dz in shares)
    executor.backward(graph, dz, trace, run, release=True)  # type: ignore[arg-type]
    value = sum(value for value, _ in shares)
    return Step(value, np.concatenate(list(z)), lambda: executor.commit(graph, trace))


def _share(loss: Loss, z: Array, y: Array, n: int, kernels: Kernels) -> tuple[float, Array]:
    """Return a part's share of the mean over n samples, and its gradient."""
    value, dz = checked(loss.where, z, loss(z, y, kernels))
    weight = len(z) / n
    return weight * value, (weight * dz).astype(dz.dtype, copy=False)


def _run_of_part(run: Run, i: int, comm: _Known) -> Run:
    return replace(run, rng=run.rng.child("part", i), comm=comm)


class _Parts(tuple[Any, ...]):
    """An array, or what a layer saved of it, of every part."""

    __slots__ = ()


class _Saved(NamedTuple):
    """What a layer saved of every part."""

    parts: tuple[Any, ...]
    asked: bool
    """Whether each part knows of the others: then one of them stands for all."""


class _Question(Exception):  # noqa: N818 (no error)
    """What a part asks the others, who have not run so far yet."""

    def __init__(self, vector: Array) -> None:
        self.vector = vector


class _Known:
    """A communicator that knows the first answers, and raises a `_Question` beyond them."""

    def __init__(self, answers: Sequence[Sequence[Array]]) -> None:
        self._answers = iter(answers)

    def all_gather(self, vector: Array) -> Sequence[Array]:
        for answer in self._answers:
            return answer
        raise _Question(vector)


def _answered(calls: Sequence[Callable[[_Known], Result]]) -> tuple[list[Result], bool]:
    """Return what the functions of a communicator return, and whether they asked anything.

    They run as often as it takes until all of them know all that they asked each other. That is why layers
    write nothing before they have asked.
    """
    answers: list[list[Array]] = []
    while True:
        results, questions = [], []
        for call in calls:
            try:
                results.append(call(_Known(answers)))
            except _Question as question:
                questions.append(question.vector)
        if not questions:
            return results, bool(answers)
        answers.append(questions)


class _InParts(Layer):
    """A layer that runs for all parts."""

    def __init__(self, layer: Any) -> None:
        self.layer = layer

    @property
    def trainable(self) -> bool:  # type: ignore[override]
        trainable: bool = self.layer.trainable
        return trainable

    @property
    def adds(self) -> bool:  # type: ignore[override]
        adds: bool = self.layer.adds
        return adds

    def parameters(self) -> dict[str, Any]:
        parameters: dict[str, Any] = self.layer.parameters()
        return parameters

    def inputs(self, x: Any) -> Sequence[Any]:
        """Return the input of every part."""
        parts: Sequence[Any] = x
        return parts

    def forward(self, x: Any, run: Run) -> tuple[Any, _Saved]:
        inputs = self.inputs(x)

        def forward(i: int, comm: _Known) -> Any:
            return self.layer.forward(inputs[i], _run_of_part(run, i, comm))

        found, asked = _answered([partial(forward, i) for i in range(len(inputs))])
        ys, saved = zip(*found, strict=True)
        return _Parts(ys), _Saved(saved, asked)

    def backward(self, dy: Any, saved: _Saved, run: Run, **options: Any) -> Any:
        add = options.pop("add", None)

        def backward(i: int, comm: _Known) -> Any:
            own = options if add is None else options | {"add": add[i]}
            return self.layer.backward(dy[i], saved.parts[i], _run_of_part(run, i, comm), **own)

        found, _ = _answered([partial(backward, i) for i in range(len(dy))])
        return None if found[0] is None else self.gradients(found)

    def gradients(self, found: Sequence[Any]) -> Any:
        """Return what backward returned for every part as what it returns for all."""
        return _Parts(found)

    def retained(self, saved: _Saved) -> _Saved:
        return saved._replace(parts=tuple(self.layer.retained(s) for s in saved.parts))

    def commit(self, saved: _Saved) -> None:
        for part in saved.parts[:1] if saved.asked else saved.parts:
            self.layer.commit(part)


class _MergeInParts(_InParts, Merge):
    """A layer of several inputs that runs for all parts."""

    def inputs(self, x: Any) -> Sequence[Any]:
        return list(zip(*x, strict=True))

    def gradients(self, found: Sequence[Any]) -> Any:
        return tuple(_Parts(dx) for dx in zip(*found, strict=True))


def _in_parts(layer: Layer) -> Layer:
    return _MergeInParts(layer) if isinstance(layer, Merge) else _InParts(layer)


def _add_parts(kernels: Kernels) -> Callable[[Any, Any], Any]:
    """Return the kernel `add` that also adds arrays in parts."""

    def add(a: Any, b: Any) -> Any:
        if isinstance(a, _Parts):
            return _Parts(kernels.add(ai, bi) for ai, bi in zip(a, b, strict=True))
        return kernels.add(a, b)

    return add
