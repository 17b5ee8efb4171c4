"""The nodes of a model: in what order they run, and what they are named."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from handgrad.errors import ArgumentError, BuildError
from handgrad.graph.symbol import Symbol
from handgrad.layers import Layer
from handgrad.typing import Shape


@dataclass(frozen=True, eq=False)
class Node:
    """One application of a layer.

    Attributes
    ----------
    name : str
        Unique in the model.
    layer : Layer
        What is applied; a shared layer stands in several nodes.
    inputs : tuple of int
        The values it takes: 0 is the model's input, i + 1 the output of node i.
    shape : tuple of int
        Of its output.
    """

    name: str
    layer: Layer
    inputs: tuple[int, ...]
    shape: Shape


def order_of(inputs: Symbol, outputs: Symbol) -> Iterator[Node]:
    """Yield the nodes between two symbols, each after those it needs, in the order of recording."""
    order: list[Symbol] = []
    done = {id(inputs)}
    stack: list[tuple[Symbol, bool]] = [(outputs, False)]
    while stack:
        symbol, expanded = stack.pop()
        if id(symbol) in done:
            continue
        if symbol.layer is None:
            raise BuildError(
                "Graph",
                expected="outputs that follow from the given input alone",
                got=f"another Input of shape {symbol.shape}",
                do="a model has one input; merge several arrays before it",
            )
        if expanded:
            done.add(id(symbol))
            order.append(symbol)
        else:
            stack.append((symbol, True))
            stack.extend((s, False) for s in reversed(symbol.inputs))
    index = {id(inputs): 0, **{id(s): i + 1 for i, s in enumerate(order)}}
    names = _names(order)
    for symbol, name in zip(order, names, strict=True):
        assert symbol.layer is not None
        yield Node(name, symbol.layer, tuple(index[id(s)] for s in symbol.inputs), symbol.shape)


def _names(order: list[Symbol]) -> list[str]:
    """Return a unique name for every symbol; two layers that were given the same one are a mistake."""
    owners: dict[str, Layer | None] = {}
    given = {symbol.layer.name for symbol in order if symbol.layer and not symbol.label}
    names = []
    for symbol in order:
        layer = symbol.layer
        assert layer is not None
        name = wanted = symbol.label or layer.name or _snake(type(layer).__name__)
        if name in owners and layer.name == name and owners[name] is not layer:
            raise ArgumentError("Graph", expected="layers of different names", got=f"two named {name!r}")
        number = 0
        while name in owners or (name in given and layer.name != name and not symbol.label):
            number += 1
            name = f"{wanted}_{number}"
        owners[name] = layer
        names.append(name)
    return names


def _snake(name: str) -> str:
    """Return ``"batch_normalization"`` for ``"BatchNormalization"``, ``"conv2d"`` for ``"Conv2D"``."""
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z][a-z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name)
    return name.lower()
