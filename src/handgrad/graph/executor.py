"""Running a model: forward, backward and commit over the order of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.errors import BuildError, ShapeError
from handgrad.layers import BatchNormalization, Layer, Merge, Run
from handgrad.layers.gradient import check_gradient
from handgrad.layers.running_statistics import warn_of_unmoved
from handgrad.typing import Array, Shape

if TYPE_CHECKING:
    from handgrad.graph.graph import Graph
    from handgrad.graph.order import Node


@dataclass(eq=False, repr=False)
class Trace:
    """What every node saved in a forward, in order; None where it was not to be kept."""

    saved: list[Any] | None
    shapes: list[Shape | None] = field(default_factory=list)
    """Of all values, the input first, with the batch axis; None where one is no array."""
    dtype: Any = None
    """Of the output."""
    released: bool = False
    """Whether a backward has left of it only what commit needs."""


def forward(
    graph: Graph, x: Array, run: Run, *, keep: bool = True, watch: Callable[[Node, Array], None] | None = None
) -> tuple[Array, Trace]:
    """Run every node; a value is let go after its last use, unless a layer saved it and that is kept."""
    warn_of_unmoved(by_running_statistics(graph, run))
    values: list[Any] = [x]
    saved: list[Any] = []
    shapes = [_shape(x)]
    last = {i: k for k, node in enumerate(graph.nodes) for i in node.inputs}
    for k, node in enumerate(graph.nodes):
        inputs = tuple(values[i] for i in node.inputs)
        y, kept = node.layer.forward(
            inputs if isinstance(node.layer, Merge) else inputs[0], run.of(node.name)
        )
        if watch is not None:
            watch(node, y)
        values.append(y)
        if keep:
            saved.append(kept)
            shapes.append(_shape(y))
        del kept
        for i in node.inputs:
            if last[i] == k:
                values[i] = None
    return values[-1], Trace(saved, shapes, getattr(values[-1], "dtype", None)) if keep else Trace(None)


def backward(
    graph: Graph,
    dy: Array,
    trace: Trace,
    run: Run,
    *,
    need_dx: bool = False,
    release: bool = False,
    watch: Callable[[Node, Array], None] | None = None,
) -> Array | None:
    """Run every node backward, last first.

    Only where the gradient leads to a trainable parameter, or to the input if `need_dx`. At a fan-out the
    first gradient is taken by reference and the next added to it in fresh storage: what a layer returned is
    never written. With `release` no array is held any longer than the nodes still to come need it.
    """
    saved = _saved(graph, trace, "backward")
    shapes = trace.shapes
    if shapes[-1] is not None:
        check_gradient(_name(graph), dy, shapes[-1], (trace.dtype,))
    trace.released = release
    needed = _needed(graph, need_dx)
    grads: list[Any] = [None] * len(needed)
    grads[-1] = dy
    for k in range(len(graph.nodes) - 1, -1, -1):
        node, dy_k, saved_k = graph.nodes[k], grads.pop(), saved[k]
        if release:
            saved[k] = node.layer.retained(saved_k)
        if dy_k is None or not needed[k + 1]:
            continue
        if watch is not None:
            watch(node, dy_k)
        into = any(needed[i] for i in node.inputs)
        layer: Any = node.layer
        if into and layer.adds and grads[node.inputs[0]] is not None:
            i = node.inputs[0]
            grads[i] = layer.backward(dy_k, saved_k, run.of(node.name), add=grads[i])
            _check_dx(layer, grads[i], shapes[i])
            continue
        dx = layer.backward(dy_k, saved_k, run.of(node.name), need_dx=into)
        del dy_k, saved_k  # so that they are not in memory beside the sums
        if into:
            for i, dx_i in zip(node.inputs, dx if isinstance(node.layer, Merge) else (dx,), strict=True):
                if needed[i]:
                    _check_dx(layer, dx_i, shapes[i])
                    grads[i] = dx_i if grads[i] is None else run.kernels.add(grads[i], dx_i)
            del dx_i
        del dx
    dx_input: Array | None = grads[0]
    return dx_input


def commit(graph: Graph, trace: Trace) -> None:
    """Let every node move its buffers on."""
    for node, saved in zip(graph.nodes, _saved(graph, trace, "commit"), strict=True):
        node.layer.commit(saved)


def _saved(graph: Graph, trace: Trace, what: str) -> list[Any]:
    if trace.saved is None or (trace.released and what == "backward"):
        raise BuildError(
            f"{_name(graph)} {what}",
            expected="a trace with what every layer saved",
            got="one that a backward has released" if trace.released else "that of a forward with keep=False",
        )
    if len(trace.saved) != len(graph.nodes):
        got = f"one of {len(trace.saved)} layers, of another model"
        raise BuildError(f"{_name(graph)} {what}", expected="the trace of its own forward", got=got)
    return trace.saved


def _name(graph: Graph) -> str:
    return graph.name or type(graph).__name__


def _shape(value: Any) -> Shape | None:
    return getattr(value, "shape", None)


def _check_dx(layer: Layer, dx: Any, shape: Shape | None) -> None:
    """Raise ShapeError, which names the layer, if it returned a gradient that is not of its input's shape."""
    if shape is not None and _shape(dx) != shape:
        got = "None" if dx is None else f"{np.shape(dx)}"
        raise ShapeError(f"{layer.where} backward", expected=f"dx of its input's shape {shape}", got=got)


def by_running_statistics(graph: Graph, run: Run) -> Iterator[BatchNormalization]:
    """Yield the layers that will normalize by running statistics."""
    return (layer for layer in graph.normalizations if not layer.by_batch(run))


def _needed(graph: Graph, need_dx: bool) -> list[bool]:
    """Return for every value whether its gradient leads anywhere."""
    needed = [need_dx]
    for node in graph.nodes:
        needed.append(_trains(node.layer) or any(needed[i] for i in node.inputs))
    return needed


def _trains(layer: Layer) -> bool:
    return layer.trainable and bool(layer.parameters())
