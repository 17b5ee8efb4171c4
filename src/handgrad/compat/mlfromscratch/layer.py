"""The layer interface of ML-From-Scratch, over one or more layers of handgrad."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad import layers
from handgrad.compat.mlfromscratch.optimizers import Optimizer
from handgrad.compat.mlfromscratch.parts import TO_CHANNELS_FIRST, TO_CHANNELS_LAST, Transpose
from handgrad.errors import BuildError, ShapeError
from handgrad.graph import Graph, Input
from handgrad.layers import Init, Run
from handgrad.optim import Optimizer as Rule
from handgrad.rng import Stream
from handgrad.typing import Array, DTypeLike, Shape


class Layer:
    """What the layers share: shapes and arrays with channels first outside, channels last inside.

    A `NeuralNetwork` runs the `parts` of its layers as one graph. `forward_pass` and `backward_pass` are for
    a layer by itself.

    Attributes
    ----------
    input_shape : tuple of int or None
        Without the batch axis: (channels, height, width), (features,) or (steps, features).
    parts : tuple of handgrad.layers.Layer
        What computes it, one after the other; empty before `initialize`.
    path : str
        How error messages name it.
    """

    def __init__(self, input_shape: Any = None) -> None:
        self.input_shape: Shape | None = None if input_shape is None else tuple(map(int, input_shape))
        self.parts: tuple[layers.Layer, ...] = ()
        self.path = self.kind
        self._trainable = True
        self._out: Shape = ()
        self._dtype: DTypeLike = np.float64
        self._rule: Rule | None = None
        self._graph: Graph | None = None
        self._passed: Any = None
        self._passes = 0

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return new layers of handgrad for inputs of `shape`: of images (height, width, channels)."""
        raise NotImplementedError

    @property
    def kind(self) -> str:
        """The class in lower case, ``"batch_normalization"``: names are made of it."""
        return re.sub(r"(?<=[a-z])(?=[A-Z][a-z])", "_", type(self).__name__).lower()

    @property
    def trainable(self) -> bool:
        """Whether the layer's parameters are trained; a frozen layer still passes gradients on."""
        return self._trainable

    @trainable.setter
    def trainable(self, flag: bool) -> None:
        self._trainable = bool(flag)
        for part in self.parts:
            _train(part, self._trainable)

    def layer_name(self) -> str:
        """Return the name that a summary shows."""
        return type(self).__name__

    def set_input_shape(self, shape: Any) -> None:
        """Set the shape of one input."""
        self.input_shape = tuple(map(int, shape))

    def initialize(self, optimizer: Optimizer, *, init: Init | None = None) -> None:
        """Create the parameters.

        Parameters
        ----------
        optimizer : Optimizer
            What `backward_pass` moves them by.
        init : Init, optional
            Random stream and dtype; seed 0 and float64 by default.

        Raises
        ------
        BuildError
            If `input_shape` is not known.
        ShapeError, ArgumentError
            If inputs of that shape, or the layer's arguments, mean nothing.
        """
        if self.input_shape is None:
            raise BuildError(
                self.where,
                expected="input_shape, without the batch axis",
                got="none",
                do="give it to the first layer: input_shape=(channels, height, width) or (features,)",
            )
        init = init or Init(dtype=np.float64)
        shape = channels_last(self.input_shape)
        parts = tuple(self.make(shape))
        for k, part in enumerate(parts):
            part.path = self.path
            _train(part, self._trainable)
            shape = part.build(shape, Init(init.rng.child(k), init.dtype))
        self.parts, self._out, self._dtype = parts, channels_first(shape), init.dtype
        self._graph, self._rule = None, optimizer.rule()

    @property
    def where(self) -> str:
        """How error messages name this layer."""
        return f"{self.path} ({type(self).__name__})"

    def parameters(self) -> int:
        """Return how many numbers are trained."""
        self._require_initialized()
        return sum(p.size for part in self.parts for p in part.parameters().values())

    def output_shape(self) -> Shape:
        """Return the shape of one output."""
        self._require_initialized()
        return self._out

    def forward_pass(self, X: Any, training: bool = True) -> Array:
        """Return the output for a batch; in training running statistics move on.

        Parameters
        ----------
        X : (n, ...) array
            Inputs, channels first.
        training : bool, default True
            Batch statistics and dropout, or running statistics and none.
        """
        self._require_initialized()
        self._graph = graph = self._graph or chain([self], self._dtype)
        run = Run(training=training, rng=Stream(("forward_pass", self._passes)))
        self._passes += 1
        y, trace = graph.forward(np.asarray(X), run)
        if training:
            graph.commit(trace)
        self._passed = trace, run
        return y

    def backward_pass(self, accum_grad: Any) -> Array:
        """Return the gradient of the last `forward_pass`'s input; a trainable layer's parameters are moved.

        Parameters
        ----------
        accum_grad : (n, ...) array
            Gradient of the output.
        """
        if self._graph is None or self._rule is None:
            raise BuildError(f"{self.where} backward_pass", expected="a forward_pass before it", got="none")
        graph, (trace, run) = self._graph, self._passed
        graph.zero_grad()
        dx = graph.backward(np.asarray(accum_grad, graph.dtype), trace, run, need_dx=True)
        assert dx is not None
        if graph.trainable_parameters():
            self._rule.step(graph.trainable_parameters())
        return dx

    def _require_initialized(self) -> None:
        if not self.parts:
            raise BuildError(
                self.where, expected="a layer with parameters", got="none yet", do="add it to a network"
            )


class ImageLayer(Layer):
    """A layer that takes images only."""

    def initialize(self, optimizer: Optimizer, *, init: Init | None = None) -> None:
        """Create the parameters; see `Layer.initialize`."""
        if self.input_shape is not None and len(self.input_shape) != 3:
            raise ShapeError(
                self.where, expected="images (channels, height, width)", got=f"shape {self.input_shape}"
            )
        super().initialize(optimizer, init=init)


def _train(part: layers.Layer, flag: bool) -> None:
    (part.unfreeze if flag else part.freeze)()


def view(doc: str, of: Callable[[Any], Array]) -> Any:
    """Return a property that reads and writes a parameter through a view of it; None before there is one."""

    def get(layer: Layer) -> Array | None:
        return of(layer.parts) if layer.parts else None

    def put(layer: Layer, value: Any) -> None:
        of(layer.parts)[...] = value

    return property(get, put, doc=doc)


def chain(chained: list[Layer], dtype: DTypeLike, shape: Shape | None = None) -> Graph:
    """Return the model that layers make one after the other: channels first outside, channels last inside.

    Parameters
    ----------
    chained : list of Layer
        Initialized.
    dtype : dtype
        Of what is computed.
    shape : tuple of int, optional
        Of one input; the first layer's by default.
    """
    symbol = inputs = Input(shape or chained[0].input_shape)
    if len(symbol.shape) == 3:
        symbol = symbol.apply(Transpose(TO_CHANNELS_LAST), (symbol,), "channels_last")
    for layer in chained:
        for part in layer.parts:
            symbol = symbol.apply(part, (symbol,), layer.path)
    if len(symbol.shape) == 3:
        symbol = symbol.apply(Transpose(TO_CHANNELS_FIRST), (symbol,), "channels_first")
    return Graph(inputs, symbol, dtype=dtype)


def channels_last(shape: Shape) -> Shape:
    """(channels, height, width) -> (height, width, channels); other shapes stay."""
    return tuple(shape[a] for a in TO_CHANNELS_LAST) if len(shape) == 3 else shape


def channels_first(shape: Shape) -> Shape:
    """(height, width, channels) -> (channels, height, width); other shapes stay."""
    return tuple(shape[a] for a in TO_CHANNELS_FIRST) if len(shape) == 3 else shape
