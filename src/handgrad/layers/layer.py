"""The protocol that every layer keeps, and what a layer is given while it runs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar, NamedTuple, Self

import numpy as np

from handgrad.arguments import check_unmasked, class_arguments, float_dtype
from handgrad.errors import ArgumentError, BuildError, DataError, ShapeError, not_written
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.select import default_kernels
from handgrad.layers.attributes import (
    arguments_of,
    check_attribute,
    check_created,
    check_declared,
    check_flags,
    required_arguments,
)
from handgrad.layers.gradient import check_gradient
from handgrad.layers.initializers import Initializer, initializer_config
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.rng import Stream
from handgrad.typing import Array, Communicator, Config, DTypeLike, Shape, is_integer


@dataclass(frozen=True)
class Run:
    """How layers run: nothing in it changes while they do.

    Parameters
    ----------
    training : bool, default False
        Batch statistics and dropout, or running statistics and none.
    kernels : Kernels, optional
        The table of functions that compute.
    rng : Stream, optional
        Where random layers draw from; a model gives each node a child of it.
    mask : bool array, optional
        Which samples of the batch, (n,), or positions, (n, steps) or (n, height, width), count in statistics
        of the batch: those that only pad it are False. One for each sample fits every layer of a model; one
        for each position fits those that keep positions where they are.
    comm : Communicator, optional
        Where the batch is one share of a larger one: what statistics of all shares are taken by.
    node : str, optional
        The node of a model that runs so, see `of`; None for a layer alone.
    """

    training: bool = False
    kernels: Kernels = field(default_factory=default_kernels)
    rng: Stream = Stream(("run",))
    mask: Array | None = field(default=None, compare=False)
    comm: Communicator | None = None
    node: str | None = None

    def of(self, node: str) -> Run:
        """Return the run as a node of a model sees it, with a random stream of its own."""
        return Run(self.training, self.kernels, self.rng.child(node), self.mask, self.comm, node)


def owned() -> Any:
    """Declare an attribute that `Layer.create` sets: a parameter or buffer, not an argument."""
    return field(default=None, init=False, repr=False)


class NothingSaved(NamedTuple):
    """Saved by a layer whose backward needs nothing of its forward."""


@dataclass(eq=False, kw_only=True)
class Layer:
    """A differentiable function with parameters.

    A layer is a dataclass: its constructor fields are its configuration; a class with a constructor of its
    own keeps each argument as an attribute of that name. It is written as five functions, of which
    `output_shape`, `forward` and `backward` always, `create` where it has parameters and `commit` where it
    has buffers.

    Parameters
    ----------
    name : str, optional
        Its name in a model; by default the class's in lower case with a number.
    trainable : bool, default True
        Whether its parameters are trained; see `freeze`.

    Notes
    -----
    `forward` and `backward` write nothing but parameters' gradients: what backward needs goes through
    `saved`. So one layer can stand in a model twice, a forward can be repeated, and threads can share it.
    The model that a layer was last made a part of sets its `path`, which error messages name.

    Once it is built, an argument that its parameters or the shape of its output follow from stays as it is,
    and a parameter can only be replaced by another of its shape and dtype.
    """

    adds: ClassVar[bool] = False
    """Whether `backward` takes another gradient of the input, as ``add=``, and returns the sum of both."""

    name: str | None = None
    trainable: bool = True
    input_shape: Any = owned()
    path: str | None = owned()

    def __new__(cls, *_: Any, **__: Any) -> Self:
        """Return an object for the constructor; raise BuildError if none takes what the class declares."""
        check_declared(cls)
        return super().__new__(cls)

    def __setattr__(self, name: str, value: Any) -> None:
        check_attribute(self, name, value)
        super().__setattr__(name, value)

    def output_shape(self, shape: Any) -> Shape:
        """Return the shape of the output for an input of `shape`, both without the batch axis.

        Raises
        ------
        ShapeError
            If the layer cannot take such an input.
        """
        raise not_written(self.where, "output_shape(shape)")

    def create(self, shape: Any, init: Init) -> None:
        """Create parameters and buffers for an input of `shape`, with ``init.parameter``."""

    def forward(self, x: Any, run: Run) -> tuple[Array, Any]:
        """Return the output and what `backward` needs, as a NamedTuple.

        Output and saved may share memory with the input and with each other: none of them is to be written.
        """
        raise not_written(self.where, "forward(x, run)")

    def backward(self, dy: Array, saved: Any, run: Run, *, need_dx: bool = True) -> Any:
        """Add to the parameters' gradients; return dL/dx, or None if `need_dx` is false."""
        raise not_written(self.where, "backward(dy, saved, run, *, need_dx)")

    def commit(self, saved: Any) -> None:
        """Move the buffers on, by what `forward` saw: the only writer of buffers while training."""

    def retained(self, saved: Any) -> Any:
        """Return what `commit` needs of `saved`, in its place: a training step keeps no more after backward.

        By default all of it where there is a `commit`, and nothing where there is none. A layer that also
        saves large arrays leaves them out here, so that their memory is free for gradients.
        """
        return saved if type(self).commit is not Layer.commit else NothingSaved()

    def multiply_adds(self, shape: Any) -> int:
        """Return the multiplications with addition of one forward of one sample of `shape`."""
        return 0

    def build(self, shape: Any, init: Init | None = None) -> Shape:
        """Check `shape`, create the parameters once, and return the output's shape.

        Parameters
        ----------
        shape : tuple of int
            Of one input, without the batch axis.
        init : Init, optional
            Random stream and dtype; seed 0 and float32 by default.

        Raises
        ------
        ShapeError, ArgumentError
            If it cannot take such an input, or its arguments mean nothing. It is as before then.
        BuildError
            If `create` makes parameters that `parameters` would not return, as a layer within a layer does.
        """
        shape = self.checked_shape(shape)
        check_flags(self)
        init = Init() if init is None else init
        if not isinstance(init, Init):
            do = "write Init(handgrad.rng.Stream((seed,)), dtype)"
            raise ArgumentError(f"{self.where} init", expected="an Init", got=repr(init), do=do)
        float_dtype(f"{self.where} dtype", init.dtype)
        out = self.output_shape(shape)
        if not self.built:
            before = dict(vars(self))
            try:
                self.create(shape, init)
                check_created(self, before)
            except BaseException:
                vars(self).clear()
                vars(self).update(before)
                raise
            self.input_shape = shape
        return out

    def checked_shape(self, shape: Any) -> Any:
        """Return an input's shape with Python ints; raise ArgumentError if it is none."""
        if not isinstance(shape, tuple | list) or not all(is_integer(n) for n in shape):
            raise ArgumentError(
                f"{self.where} shape", expected="a tuple of ints without the batch axis", got=repr(shape)
            )
        return tuple(int(n) for n in shape)

    @property
    def built(self) -> bool:
        """Whether parameters exist."""
        return self.input_shape is not None

    @property
    def where(self) -> str:
        """How error messages name this layer: ``"stage1.conv2 (Conv2D)"``."""
        kind, name = type(self).__name__, self.path or self.name
        return f"{name} ({kind})" if name else kind

    def parameters(self) -> dict[str, Parameter]:
        """Return the parameters by attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Parameter)}

    def buffers(self) -> dict[str, Buffer]:
        """Return the buffers by attribute name."""
        return {name: value for name, value in vars(self).items() if isinstance(value, Buffer)}

    def freeze(self) -> None:
        """Stop training the parameters; the gradient still flows through to the input."""
        self.trainable = False

    def unfreeze(self) -> None:
        """Train the parameters again."""
        self.trainable = True

    def config(self) -> Config:
        """Return the constructor's arguments, as JSON can hold them."""
        names, _ = arguments_of(type(self))
        for name in names:
            if not hasattr(self, name):
                raise BuildError(
                    f"{self.where} config",
                    expected=f"the argument {name} as an attribute of that name",
                    got="none",
                    do=f"write self.{name} = {name} in __init__",
                )
        return {name: _plain_config(getattr(self, name)) for name in names}

    @classmethod
    def from_config(cls, config: Config) -> Layer:
        """Return a new layer, not built, from `config`; raise ArgumentError for an argument it has not."""
        names, taken = arguments_of(cls)
        config = class_arguments(cls.__name__, names, config, required_arguments(cls))
        arguments = {name: _tuples(value) for name, value in config.items()}
        layer = cls(**{name: value for name, value in arguments.items() if name in taken})
        for name in arguments.keys() - taken:
            setattr(layer, name, arguments[name])
        return layer

    def check_input(self, x: Any) -> None:
        """Raise BuildError before `build`, ShapeError if the array `x` does not fit."""
        self._check_batches((x,))
        self.output_shape(x.shape[1:])

    def check_gradient(self, dy: Any, shape: Shape, dtype: DTypeLike) -> None:
        """Raise ShapeError or DataError unless `dy` fits an output of `shape`, the batch axis with it."""
        if not (type(dy) is np.ndarray and dy.shape == shape and dy.dtype == dtype):
            own = (p.value.dtype for p in self.parameters().values())
            check_gradient(self.where, dy, shape, (dtype, *own))

    def _check_batches(self, batches: tuple[Any, ...]) -> None:
        if not self.built:
            raise BuildError(
                self.where,
                expected="a built layer",
                got="one that has no parameters yet",
                do="call build(shape) with the input's shape, or put it in a model",
            )
        if any(np.ndim(x) == 0 for x in batches):
            raise ShapeError(self.where, expected="a batch of inputs", got="a single number")
        for x in batches:
            if isinstance(x, np.ma.MaskedArray):
                check_unmasked(self.where, x)
            if not hasattr(x, "dtype"):
                got, do = type(x).__name__, "convert it: np.asarray(x, np.float32)"
                raise DataError(self.where, expected="an array", got=got, do=do)
            if x.dtype.kind in "biuOSUmM":
                raise DataError(
                    self.where,
                    expected="floating-point inputs",
                    got=f"dtype {x.dtype}",
                    do="convert them: x.astype(np.float32)",
                )

    def __call__(self, *inputs: Any) -> Any:
        """Record this layer on a symbol from `handgrad.Input`; return the symbol of its output."""
        record: Callable[..., Any] | None = getattr(inputs[0], "apply", None) if len(inputs) == 1 else None
        if record is None:
            raise self._not_a_symbol(inputs)
        return record(self, inputs)

    def _not_a_symbol(self, inputs: tuple[Any, ...]) -> BuildError:
        got = ", ".join(type(i).__name__ for i in inputs) or "nothing"
        do = "to run it on an array call build(shape), then forward(x, handgrad.Run())"
        parts = inputs[0] if len(inputs) == 1 and isinstance(inputs[0], tuple | list) else ()
        if any(hasattr(part, "apply") for part in parts):
            do = "give the symbols one by one, without a list"
        elif parts and all(is_integer(part) for part in parts):
            do = "begin with handgrad.Input(shape)"
        elif len(inputs) > 1 and all(hasattr(i, "apply") for i in inputs):
            do = "it takes one input: join them before it with Add or Concatenate"
        elif any(callable(i) for i in inputs):
            do = "layers and models are called on symbols: in a chain write Sequential([layer, layer, ...])"
        return BuildError(self.where, expected="a symbol, as handgrad.Input returns", got=got, do=do)


@dataclass(eq=False, kw_only=True)
class Merge(Layer):
    """A layer of several inputs: shapes and inputs are tuples, and backward returns a tuple of gradients."""

    def checked_shape(self, shape: Any) -> Any:
        """Return the shapes of the inputs with Python ints; raise ArgumentError if they are none."""
        if not isinstance(shape, tuple | list) or not shape or not isinstance(shape[0], tuple | list):
            raise ArgumentError(
                f"{self.where} shape",
                expected="a tuple of shapes, one for each input, without the batch axis",
                got=repr(shape),
            )
        return tuple(super(Merge, self).checked_shape(s) for s in shape)

    def check_input(self, x: Any) -> None:
        """Raise BuildError before `build`, ShapeError if the arrays `x` do not fit."""
        self._check_batches(x)
        self.output_shape(tuple(xi.shape[1:] for xi in x))

    def __call__(self, *inputs: Any) -> Any:
        """Record this layer on several symbols; return the symbol of its output."""
        if not inputs or not all(hasattr(i, "apply") for i in inputs):
            raise self._not_a_symbol(inputs)
        return inputs[0].apply(self, inputs)


def _plain_config(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return type(value)(_plain_config(v) for v in value)
    if isinstance(value, np.generic):
        return value.item()
    return initializer_config(value) if isinstance(value, Initializer) else value


def _tuples(value: Any) -> Any:
    """Undo what JSON does to tuples."""
    return tuple(_tuples(v) for v in value) if isinstance(value, list) else value
