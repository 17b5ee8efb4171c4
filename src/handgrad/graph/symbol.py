"""Symbols: calling a layer on one records that it is applied, and computes nothing but shapes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, BuildError, ShapeError
from handgrad.layers import Layer, Merge
from handgrad.layers.attributes import check_flags
from handgrad.typing import Shape, is_integer


@dataclass(frozen=True, eq=False)
class Symbol:
    """The output of a layer in a model that is being put together; or the model's input.

    Attributes
    ----------
    shape : tuple of int
        Without the batch axis.
    layer : Layer or None
        What computes it; None for an input.
    inputs : tuple of Symbol
        What it is computed from.
    label : str
        The name it should have in the model; empty for one after the layer's class.
    """

    shape: Shape
    layer: Layer | None = None
    inputs: tuple[Symbol, ...] = ()
    label: str = ""

    @property
    def name(self) -> str:
        """How error messages name what computes it, before a model gives it its name."""
        if self.layer is None:
            return "the input"
        return self.label or self.layer.path or self.layer.name or type(self.layer).__name__

    def apply(self, layer: Layer, inputs: tuple[Symbol, ...], label: str = "") -> Symbol:
        """Return the symbol of `layer` applied to `inputs`; every layer's call comes here."""
        shapes = tuple(i.shape for i in inputs)
        check_flags(layer)
        try:
            shape = layer.output_shape(shapes if isinstance(layer, Merge) else shapes[0])
        except ShapeError as error:
            raise name_source(error, tuple(i.name for i in inputs)) from None
        return Symbol(shape, layer, inputs, label)


def Input(shape: Any) -> Symbol:  # noqa: N802 (Keras' name)
    """Return the symbol that a graph of layers begins with.

    Parameters
    ----------
    shape : tuple of int
        Of one sample, without the batch axis: (height, width, channels) for images.

    Raises
    ------
    ArgumentError
        If it is not a tuple of positive ints.

    Examples
    --------
    >>> import handgrad as hg
    >>> i = hg.Input((32, 32, 3))
    >>> hg.layers.Conv2D(16, 3, padding="same")(i).shape
    (32, 32, 16)
    """
    if not isinstance(shape, tuple | list) or not all(is_integer(n) and n > 0 for n in shape):
        raise ArgumentError(
            "Input shape",
            expected="a tuple of positive ints without the batch axis, such as (32, 32, 3)",
            got=f"an array of shape {shape.shape}" if isinstance(shape, np.ndarray) else repr(shape),
            do=f"write ({shape},)" if is_integer(shape) else "",
        )
    return Symbol(tuple(int(n) for n in shape))


def check_ends(inputs: Any, outputs: Any) -> None:
    """Raise BuildError unless `inputs` and `outputs` are a symbol each, as a model is made of."""
    for what, symbol in (("inputs", inputs), ("outputs", outputs)):
        if isinstance(symbol, Symbol):
            continue
        got, do = _described(symbol), "begin with handgrad.Input(shape)"
        if what == "outputs":
            do = "give what the last layer returned when it was called on a symbol"
        if isinstance(symbol, tuple | list) and any(isinstance(s, Symbol) for s in symbol):
            got = f"{len(symbol)} in a {type(symbol).__name__}"
            do = "give the symbol itself"
            if len(symbol) > 1:
                join = "merge several arrays into one before the model" if what == "inputs" else ""
                do = join or "join them with handgrad.layers.Concatenate, or make a model for each"
                do = f"a model has one {what[:-1]}: {do}"
        raise BuildError(f"Graph {what}", expected="one symbol", got=got, do=do)
    if inputs is outputs:
        raise BuildError("Graph outputs", expected="what layers make of the input", got="the input itself")
    if outputs.layer is None and inputs.layer is not None:
        raise BuildError(
            "Graph",
            expected="inputs, then outputs",
            got="an Input as outputs",
            do="exchange the two arguments",
        )


def _described(value: Any) -> str:
    if isinstance(value, Layer):
        return f"a layer, {type(value).__name__}, that was not called on a symbol"
    return f"the class {value.__name__}" if isinstance(value, type) else type(value).__name__


def name_source(error: ShapeError, sources: tuple[str, ...]) -> ShapeError:
    """Return `error` with the layer that what came came from, where there is just one."""
    if error.source or len(sources) != 1:
        return error
    return ShapeError(error.where, expected=error.expected, got=error.got, do=error.do, source=sources[0])
