"""A chain of layers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, BuildError
from handgrad.graph.graph import Graph
from handgrad.graph.symbol import Input
from handgrad.layers import Layer
from handgrad.typing import DTypeLike


class Sequential(Graph):
    """A model in which every layer takes the output of the one before.

    Parameters
    ----------
    layers : sequence of Layer or Graph
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
        *,
        input_shape: Any = None,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        name: str | None = None,
    ) -> None:
        if input_shape is None:
            raise ArgumentError(
                "Sequential", expected="input_shape, such as (32, 32, 3), without the batch axis", got="none"
            )
        if not layers:
            raise ArgumentError("Sequential", expected="at least one layer", got="none")
        symbol = inputs = Input(input_shape)
        for i, layer in enumerate(layers):
            if not isinstance(layer, Layer | Graph):
                got = f"{layer!r}"
                do = "create it: Layer(...)" if isinstance(layer, type) else ""
                raise BuildError(f"Sequential, layer {i}", expected="a layer or a model", got=got, do=do)
            if isinstance(layer, Layer) and not layer.built:
                layer.path = layer.name or f"layer {i}"
            symbol = layer(symbol)
        super().__init__(inputs, symbol, seed=seed, dtype=dtype, name=name)
