"""A chain of layers."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, BuildError
from handgrad.graph.graph import Graph
from handgrad.graph.symbol import Input, Symbol
from handgrad.layers import Layer
from handgrad.typing import DTypeLike


class Sequential(Graph):
    """A model in which every layer takes the output of the one before.

    Parameters
    ----------
    layers : list of Layer or Graph
        In order; a model among them becomes a part of this one.
    input_shape : tuple of int
        Of one sample, without the batch axis: (height, width, channels) for images.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.
    name : str, optional
        Under which its layers stand when the model becomes a part of another.

    Examples
    --------
    >>> import handgrad as hg
    >>> from handgrad import layers
    >>> model = hg.Sequential([layers.Flatten(), layers.Dense(10)], input_shape=(8, 8, 1))
    >>> model.output_shape
    (10,)
    """

    def __init__(
        self,
        layers: Sequence[Layer | Graph],
        *misplaced: Any,
        input_shape: Any = None,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        name: str | None = None,
    ) -> None:
        layers = _checked(layers, misplaced)
        if input_shape is None:
            raise ArgumentError(
                "Sequential", expected="input_shape, such as (32, 32, 3), without the batch axis", got="none"
            )
        symbol = inputs = Input(input_shape)
        for i, layer in enumerate(layers):
            if isinstance(layer, Layer) and not layer.built:
                layer.path = layer.name or f"layer {i}"
            symbol = layer(symbol)
        super().__init__(inputs, symbol, seed=seed, dtype=dtype, name=name)


def _checked(layers: Any, misplaced: tuple[Any, ...]) -> list[Layer | Graph]:
    """Return the layers as a list; raise if there is something else among them, or beside them."""
    if misplaced or isinstance(layers, Layer | Graph | Symbol | str) or not isinstance(layers, Iterable):
        got, do = _described(layers), "write Sequential([layer, layer, ...], input_shape=...)"
        if misplaced and isinstance(layers, list | tuple):
            got, do = (
                f"{misplaced[0]!r} after it",
                "give what follows the list by name, as input_shape=(32, 32, 3)",
            )
        elif misplaced:
            got = f"{1 + len(misplaced)} arguments"
        raise ArgumentError("Sequential", expected="a list of layers", got=got, do=do)
    found: list[Layer | Graph] = list(layers)
    if not found:
        raise ArgumentError("Sequential", expected="at least one layer", got="none")
    for i, layer in enumerate(found):
        if not isinstance(layer, Layer | Graph):
            where = f"Sequential, layer {i}"
            raise BuildError(where, expected="a layer or a model", got=_described(layer), do=_instead(layer))
    return found


def _described(value: Any) -> str:
    if isinstance(value, Layer | Graph | Symbol):
        return f"a {type(value).__name__}"
    return repr(value)


def _instead(value: Any) -> str:
    """Say what to write in place of something that is no layer."""
    if isinstance(value, type):
        return f"create it: {value.__name__}(...)"
    if isinstance(value, str):
        return f"handgrad.layers.Activation({value!r}) is an activation by its name"
    if isinstance(value, list | tuple):
        return "write its layers into the list itself: [*layers, ...]"
    if isinstance(value, Symbol):
        return "a list holds layers that were not called; of symbols make a Graph(inputs, outputs)"
    return "wrap a function in a class of layers, which has its gradient" if callable(value) else ""
