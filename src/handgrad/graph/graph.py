"""A model: layers in the order they run, with names, parameters and state."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from functools import cached_property
from itertools import count
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.arguments import check_flag, float_dtype, unmasked
from handgrad.errors import ArgumentError, BuildError, CheckpointError, ShapeError
from handgrad.graph import executor
from handgrad.graph.attributes import check_attribute, check_state_given, no_attribute
from handgrad.graph.batches import batches
from handgrad.graph.info import ModelInfo
from handgrad.graph.order import Node, order_of
from handgrad.graph.summary import summary
from handgrad.graph.symbol import Symbol, check_ends, name_source
from handgrad.kernels import reuse_memory
from handgrad.layers import BatchNormalization, Buffer, Init, Layer, Merge, Parameter, Run
from handgrad.layers.packing import Gradients, pack
from handgrad.pixels import to_float
from handgrad.rng import Stream
from handgrad.typing import Array, DTypeLike, Shape, is_integer


class Graph:
    """A model of layers connected in any way without loops.

    Parameters
    ----------
    inputs, outputs : Symbol
        From `Input`, and from calling layers on it.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.
    name : str, optional
        Under which its layers stand when the model becomes a part of another, by calling it on a symbol.

    Attributes
    ----------
    nodes : tuple of Node
        In the order they run.
    input_shape, output_shape : tuple of int
        Without the batch axis.
    original : Graph or None
        What a folded model was made of.
    info : ModelInfo
        What the outputs mean and what inputs have passed through, as far as that is known.

    Raises
    ------
    BuildError
        If `outputs` does not follow from `inputs` alone.
    ShapeError, ArgumentError
        If a layer cannot take what it gets.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> i = hg.Input((8, 8, 1))
    >>> h = hg.layers.Conv2D(4, 3, padding="same")(i)
    >>> model = hg.Graph(i, hg.layers.Add()(h, hg.layers.Conv2D(4, 1)(i)))
    >>> model.predict(np.zeros((2, 8, 8, 1), np.float32)).shape
    (2, 8, 8, 4)
    >>> list(model.parameters())
    ['conv2d.weight', 'conv2d.bias', 'conv2d_1.weight', 'conv2d_1.bias']
    """

    def __init__(
        self,
        inputs: Symbol,
        outputs: Symbol,
        *,
        seed: int = 0,
        dtype: DTypeLike = np.float32,
        name: str | None = None,
    ) -> None:
        check_ends(inputs, outputs)
        if not is_integer(seed) or seed < 0:
            raise ArgumentError("Graph seed", expected="an int, at least 0", got=repr(seed))
        if not isinstance(name, str | None):
            raise ArgumentError("Graph name", expected="a string or None", got=repr(name))
        self.name = name
        self.seed = int(seed)
        self.dtype = float_dtype("Graph dtype", dtype)
        self.input_shape = inputs.shape
        self.output_shape = outputs.shape
        self.nodes = tuple(order_of(inputs, outputs))
        self.original: Graph | None = None
        self.info = ModelInfo()
        self._gradients, self._trained_gradients = Gradients(), Gradients()
        self._build()

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, value)
        super().__setattr__(name, value)

    if not TYPE_CHECKING:  # to a type checker every attribute would be there

        def __getattr__(self, name: str) -> Any:
            raise no_attribute(self, name)

    def _build(self) -> None:
        rng = Stream((self.seed,)).child("init")
        for node in reversed(self.nodes):
            node.layer.path = node.name  # of a shared layer the first
        for node in self.nodes:
            sources = tuple(self.nodes[i - 1].name if i else "the input" for i in node.inputs)
            shapes = tuple(self._shape(i) for i in node.inputs)
            init = Init(rng.child(node.name), self.dtype)
            self._check_dtype(node)
            try:
                node.layer.build(shapes if isinstance(node.layer, Merge) else shapes[0], init)
            except ShapeError as error:
                raise name_source(error, sources) from None
        pack(self.parameters().values())
        for path, owned in self._owned(lambda layer: {**layer.parameters(), **layer.buffers()}):
            owned.name = path

    def _check_dtype(self, node: Node) -> None:
        for parameter in node.layer.parameters().values():
            if parameter.value.dtype != self.dtype:
                raise BuildError(
                    node.layer.where,
                    expected=f"parameters of the model's dtype, {self.dtype}",
                    got=f"{parameter.value.dtype}, as they were built",
                    do=f"give the model dtype={parameter.value.dtype.name!r}",
                )

    def _shape(self, value: int) -> Shape:
        return self.nodes[value - 1].shape if value else self.input_shape

    def __call__(self, symbol: Symbol) -> Symbol:
        """Record all layers of this model on a symbol, as a part of another model that shares them."""
        if not isinstance(symbol, Symbol) or symbol.shape != self.input_shape:
            got, do = f"shape {getattr(symbol, 'shape', None)}", ""
            if not isinstance(symbol, Symbol):
                got = type(symbol).__name__
                do = "predict(x) computes outputs; forward(x, handgrad.Run()) keeps what backward needs, too"
            where = self.name or type(self).__name__
            raise ShapeError(where, expected=f"a symbol of shape {self.input_shape}", got=got, do=do)
        values = [symbol]
        for node in self.nodes:
            label = f"{self.name}.{node.name}" if self.name else node.name
            values.append(symbol.apply(node.layer, tuple(values[i] for i in node.inputs), label))
        return values[-1]

    @property
    def info(self) -> ModelInfo:
        """What the outputs mean and what inputs have passed through, as far as that is known."""
        return self._info

    @info.setter
    def info(self, info: ModelInfo) -> None:
        if not isinstance(info, ModelInfo):
            where = f"{self.name or type(self).__name__} info"
            raise ArgumentError(where, expected="a handgrad.ModelInfo", got=repr(info))
        self._info = info

    @property
    def layers(self) -> tuple[Layer, ...]:
        """Every layer once, in the order they first run."""
        return tuple({id(node.layer): node.layer for node in self.nodes}.values())

    @cached_property
    def normalizations(self) -> tuple[BatchNormalization, ...]:
        """Every batch normalization once, also those that fused layers hold."""
        held = (getattr(layer, "normalization", layer) for layer in self.layers)
        return tuple({id(bn): bn for bn in held if isinstance(bn, BatchNormalization)}.values())

    def __getitem__(self, name: str) -> Layer:
        """Return the layer of the node `name`."""
        for node in self.nodes:
            if node.name == name:
                return node.layer
        raise ArgumentError(
            "layer",
            expected=f"one of {', '.join(n.name for n in self.nodes)}",
            got=repr(name),
            do="layers by number are in model.layers" if is_integer(name) else "",
        )

    def _owned(self, of: Callable[[Layer], dict[str, Any]]) -> Iterator[tuple[str, Any]]:
        seen = set()
        for node in self.nodes:
            for name, value in of(node.layer).items():
                if id(value) not in seen:
                    seen.add(id(value))
                    yield f"{node.name}.{name}", value

    def parameters(self) -> dict[str, Parameter]:
        """Return every parameter by its path, ``"conv2d.weight"``."""
        return dict(self._owned(lambda layer: layer.parameters()))

    def trainable_parameters(self) -> dict[str, Parameter]:
        """Return the parameters of the layers that are not frozen, by path."""
        return dict(self._owned(lambda layer: layer.parameters() if layer.trainable else {}))

    def buffers(self) -> dict[str, Buffer]:
        """Return every buffer by its path, ``"batch_normalization.running_mean"``."""
        return dict(self._owned(lambda layer: layer.buffers()))

    def with_nodes(self, nodes: Iterable[Node]) -> Graph:
        """Return a model of the same inputs that runs `nodes`, whose layers are built.

        Nothing is created, packed or named anew: parameters and buffers are the layers' own.
        """
        graph = copy.copy(self)
        nodes = tuple(nodes)
        vars(graph).update(nodes=nodes, output_shape=nodes[-1].shape)
        graph._gradients, graph._trained_gradients = Gradients(), Gradients()
        vars(graph).pop("normalizations", None)
        return graph

    def gradient_vectors(self) -> list[Array]:
        """Return the gradients of the trainable parameters as few flat vectors, views of each ``grad``."""
        return self._trained_gradients.vectors(self.trainable_parameters().values())

    def zero_grad(self) -> None:
        """Set every gradient to zero."""
        for vector in self._gradients.vectors(self.parameters().values()):
            vector[...] = 0

    def state(self) -> dict[str, Array]:
        """Return copies of all parameters' and buffers' values, by path."""
        return {name: owned.value.copy() for name, owned in (self.parameters() | self.buffers()).items()}

    def load_state(self, state: dict[str, Array]) -> None:
        """Set all parameters and buffers.

        Raises
        ------
        CheckpointError
            If names, shapes or kinds of numbers differ from `state`'s; nothing is changed then.
        """
        owned = self.check_state(state)
        for name, value in state.items():
            owned[name].assign(value)

    def check_state(self, state: Mapping[str, Array]) -> dict[str, Parameter | Buffer]:
        """Raise what `load_state` would raise of `state`; return all parameters and buffers, by path."""
        check_state_given(state)
        owned: dict[str, Parameter | Buffer] = {**self.parameters(), **self.buffers()}
        missing, unknown = sorted(owned.keys() - state.keys()), sorted(state.keys() - owned.keys())
        both = owned.keys() & state.keys()
        wrong = [n for n in both if owned[n].shape != np.shape(state[n])]
        dtypes = {n: np.asarray(state[n]).dtype for n in both}
        kinds = [n for n in both if not np.can_cast(dtypes[n], owned[n].value.dtype, "same_kind")]
        beyond = [n for n in both if n not in (*wrong, *kinds) and not _within(owned[n], state[n])]
        if missing or unknown or wrong or kinds or beyond:
            parts = [("missing", missing), ("unknown", unknown)]
            got = [f"{what} {', '.join(names)}" for what, names in parts if names]
            got += [f"{n} of shape {np.shape(state[n])}, not {owned[n].shape}" for n in sorted(wrong)]
            got += [f"{n} of {dtypes[n]}, not {owned[n].value.dtype}" for n in sorted(kinds)]
            got += [f"{n} with values that it cannot have" for n in sorted(beyond)]
            raise CheckpointError("load_state", expected="the parameters of this model", got="; ".join(got))
        return owned

    def freeze(self) -> None:
        """Freeze every layer."""
        for layer in self.layers:
            layer.freeze()

    def unfreeze(self) -> None:
        """Unfreeze every layer."""
        for layer in self.layers:
            layer.unfreeze()

    def check_input(self, x: Any) -> Array:
        """Return `x` as an array of the model's dtype, bytes as 0..1; complex numbers stay complex.

        Raises
        ------
        ShapeError
            If it is not a batch of inputs of this model.
        DataError
            If it has masked elements.
        """
        self.check_shape(np.shape(x))
        x = unmasked(self.name or type(self).__name__, x)
        return x if np.iscomplexobj(x) else to_float(x, self.dtype)

    def check_shape(self, shape: Shape) -> None:
        """Raise ShapeError if `shape` is not that of a batch of inputs of this model."""
        if shape[1:] != self.input_shape or not shape:
            wanted = ", ".join(map(str, self.input_shape))
            do = "add the batch axis with x[None]" if shape == self.input_shape else ""
            if len(shape) == 4 and (shape[2], shape[3], shape[1]) == self.input_shape:
                do = "channels come last: x.transpose(0, 2, 3, 1)"
            if shape[1:] == self.input_shape[:-1] and self.input_shape[-1:] == (1,):
                do = "add the channel axis with x[..., None]"
            where = self.name or type(self).__name__
            raise ShapeError(where, expected=f"a batch of shape (n, {wanted})", got=f"shape {shape}", do=do)

    def _check_run(self, run: Run) -> None:
        if not isinstance(run, Run):
            where = f"{self.name or type(self).__name__} run"
            got = f"the class {run.__name__}" if isinstance(run, type) else repr(run)
            raise ArgumentError(where, expected="a handgrad.Run", got=got, do="create it: handgrad.Run()")
        check_flag("Run", "training", run.training)
        if isinstance(run.kernels, str):
            do = f"write kernels=handgrad.kernels.select_kernels({run.kernels!r})"
            raise ArgumentError("Run kernels", expected="a table of kernels", got=repr(run.kernels), do=do)
        if not isinstance(run.rng, Stream):
            do = f"write rng=handgrad.rng.Stream(({run.rng!r},))" if is_integer(run.rng) else ""
            raise ArgumentError("Run rng", expected="a handgrad.rng.Stream", got=repr(run.rng), do=do)

    def _check_trace(self, trace: executor.Trace) -> None:
        if not isinstance(trace, executor.Trace):
            where = f"{self.name or type(self).__name__} trace"
            do = "y, trace = model.forward(x, run)"
            raise ArgumentError(
                where, expected="the trace that forward returned", got=type(trace).__name__, do=do
            )

    def forward(
        self, x: Array, run: Run, *, keep: bool = True, watch: Callable[[Node, Array], None] | None = None
    ) -> tuple[Array, executor.Trace]:
        """Return the output and the trace that `backward` and `commit` need.

        Parameters
        ----------
        x : (n, ...)
            A batch of inputs.
        run : Run
            How the layers run.
        keep : bool, default True
            Whether the trace keeps what the layers saved; without, only outputs yet to be used are in memory.
        watch : callable, optional
            Is called with every node and its output, in order.
        """
        self._check_run(run)
        return executor.forward(self, self.check_input(x), run, keep=keep, watch=watch)

    def backward(
        self,
        dy: Array,
        trace: executor.Trace,
        run: Run,
        *,
        need_dx: bool = False,
        release: bool = False,
        watch: Callable[[Node, Array], None] | None = None,
    ) -> Array | None:
        """Add to all trainable parameters' gradients; return dL/dx if `need_dx`.

        Parameters
        ----------
        dy : (n, ...)
            Gradient of the output.
        trace : Trace
            From the forward, with the same `run`.
        release : bool, default False
            Whether to let go of what every layer saved once it has been used, as a training step does: the
            trace then holds what `commit` needs, and no second backward can use it.
        watch : callable, optional
            Is called with every node and the gradient of its output, last node first.
        """
        self._check_run(run)
        self._check_trace(trace)
        return executor.backward(self, dy, trace, run, need_dx=need_dx, release=release, watch=watch)

    def commit(self, trace: executor.Trace) -> None:
        """Move the buffers (running statistics) on, by what a forward saw."""
        self._check_trace(trace)
        executor.commit(self, trace)

    @reuse_memory()
    def predict(self, x: Any, batch_size: int = 256, *, run: Run | None = None) -> Array:
        """Return the outputs for `x`, computed `batch_size` at a time in inference mode.

        Outputs are as the last layer gives them, and `x` is given to the first as it is:
        ``model.info.probabilities`` makes probabilities of logits, and `handgrad.data.preprocess` does to
        images what was done to those that the model was trained on.

        Parameters
        ----------
        x : (n, ...)
            Inputs: any array, also memory-mapped; each batch is converted by itself. Or a
            `handgrad.data.Dataset`, whose labels are passed over.
        batch_size : int, default 256
            How many at once.
        run : Run, optional
            How the layers run. With ``training=True`` each batch after the first draws random numbers of its
            own, from ``run.rng.child("batch", i)``.
        """
        if not is_integer(batch_size) or batch_size < 1:
            raise ArgumentError("predict batch_size", expected="an int, at least 1", got=repr(batch_size))
        run = Run() if run is None else run
        runs = (run if i == 0 else replace(run, rng=run.rng.child("batch", i)) for i in count())
        parts = zip(batches(self, x, batch_size), runs, strict=False)
        return np.concatenate([self.forward(xb, of, keep=False)[0] for xb, of in parts])

    def intermediates(self, x: Array, run: Run | None = None) -> dict[str, Array]:
        """Return the output of every node for one batch, by name: a way to look inside."""
        outputs: dict[str, Array] = {}
        run = Run() if run is None else run
        self.forward(x, run, keep=False, watch=lambda node, y: outputs.update({node.name: y.copy()}))
        return outputs

    def fold(self, *, keep_original: bool = True) -> Graph:
        """Return a model for inference, without the batch normalizations that layers can hold: see `fold`."""
        from handgrad.graph.fold import fold

        return fold(self, keep_original=keep_original)

    def unfold(self) -> Graph:
        """Return a copy of the model that this one was folded of, equal to it bit for bit.

        Raises
        ------
        BuildError
            If it keeps no original, or its parameters have been changed since.
        """
        from handgrad.graph.fold import unfold

        return unfold(self)

    def summary(self) -> str:
        """Return a table of the layers, their output shapes and costs, and the totals.

        Memory is that of the values one image passes through: in inference the most that are alive at once,
        in training those of all layers.
        """
        return summary(self)


def _within(owned: Parameter | Buffer, value: Array) -> bool:
    """Whether no element of `value` is outside the limits of a buffer."""
    limits = owned.limits if isinstance(owned, Buffer) else None
    return limits is None or not bool(np.any((value < limits[0]) | (value > limits[1])))
