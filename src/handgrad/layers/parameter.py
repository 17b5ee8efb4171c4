"""What a layer owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from handgrad.errors import ShapeError
from handgrad.layers.initializers import Initializer, get_initializer
from handgrad.rng import Stream
from handgrad.typing import Array, DTypeLike, Shape


class Parameter:
    """An array that is trained, and its gradient.

    Parameters
    ----------
    value : ndarray
        The initial value; copied.
    decay : bool, default True
        Whether weight decay applies to it (not to biases, nor to gamma and beta of a normalization).

    Attributes
    ----------
    value, grad : ndarray
        Of one shape and dtype. ``value`` is written by the initializer, the optimizer and `assign` alone,
        ``grad`` by `accumulate` and `zero_grad` alone.
    name : str
        Path in the model, ``"stage1.conv2.weight"``; the attribute's name before that.
    """

    __slots__ = ("__weakref__", "decay", "grad", "name", "value")

    def __init__(self, value: Array, *, decay: bool = True, name: str = "") -> None:
        # a copy: flat views of it, by which optimizers write, need memory of its own in C order
        self.value = np.array(value, order="C")
        self.grad = np.zeros_like(self.value)
        self.decay = decay
        self.name = name

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.value.dtype})"

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return self.value.shape

    @property
    def size(self) -> int:
        """How many numbers it holds."""
        return self.value.size

    def accumulate(self, gradient: Array) -> None:
        """Add `gradient`, of the same shape, to ``grad``."""
        self.grad += _same_shape(f"{self.name} gradient", self.shape, gradient)

    def zero_grad(self) -> None:
        """Set ``grad`` to zero."""
        self.grad[...] = 0

    def assign(self, value: Array) -> None:
        """Copy `value`, of the same shape, into ``value``."""
        self.value[...] = _same_shape(self.name, self.shape, value)


class Buffer:
    """An array that is kept with the model but not trained, such as a running mean.

    ``value`` is written by `Layer.commit` and by loading alone, through `assign`.
    """

    __slots__ = ("name", "value")

    def __init__(self, value: Array, *, name: str = "") -> None:
        self.value = value
        self.name = name

    def __repr__(self) -> str:
        return f"Buffer({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return self.value.shape

    def assign(self, value: Array) -> None:
        """Copy `value`, of the same shape, into ``value``."""
        self.value[...] = _same_shape(self.name, self.shape, value)


def _same_shape(name: str, shape: Shape, value: Array) -> Array:
    if np.shape(value) != shape:
        raise ShapeError(name or "parameter", expected=f"shape {shape}", got=f"{np.shape(value)}")
    return value


@dataclass(frozen=True)
class Init:
    """What `Layer.build` creates parameters with.

    Parameters
    ----------
    rng : Stream
        Where random initial values come from; each parameter draws from a child named after it, so that
        its value does not depend on what else is built.
    dtype : dtype
        Of the parameters.
    """

    rng: Stream = Stream((0,))
    dtype: DTypeLike = np.float32

    def parameter(
        self,
        name: str,
        shape: Shape,
        initializer: str | Initializer,
        *,
        fans: tuple[int, int] = (1, 1),
        decay: bool = True,
    ) -> Parameter:
        """Return a new parameter.

        Parameters
        ----------
        name : str
            The attribute it will be.
        shape : tuple of int
            Its shape.
        initializer : str or Initializer
            A name such as ``"he_normal"`` or an object of `handgrad.layers.initializers`.
        fans : (int, int)
            Fan-in and fan-out: how many products are summed into one output, and how many outputs
            one input reaches.
        decay : bool
            Whether weight decay applies.
        """
        value = get_initializer(initializer)(self.rng.child(name), shape, fans, np.dtype(self.dtype))
        return Parameter(value, decay=decay, name=name)


def pack(parameters: Iterable[Parameter]) -> None:
    """Move values and gradients into two contiguous vectors, decayed ones first, and make each a view.

    Parameters of different dtypes, as of a layer built by hand in another one, get vectors of their own.

    Optimizer step, clipping and checkpoints are then one pass over memory. A parameter that is packed
    already (its layer stands in another model, too) stays where it is.
    """
    loose = [p for p in parameters if p.value.base is None]
    for dtype in dict.fromkeys(p.value.dtype for p in loose):
        _pack(sorted((p for p in loose if p.value.dtype == dtype), key=lambda p: not p.decay))


def _pack(ordered: list[Parameter]) -> None:
    values = np.empty(sum(p.size for p in ordered), ordered[0].value.dtype)
    grads = np.zeros_like(values)
    start = 0
    for p in ordered:
        stop = start + p.size
        values[start:stop] = p.value.ravel()
        grads[start:stop] = p.grad.ravel()
        p.value = values[start:stop].reshape(p.shape)
        p.grad = grads[start:stop].reshape(p.shape)
        start = stop


def spans(parameters: Iterable[Parameter]) -> list[list[Parameter]]:
    """Group `parameters` into runs that lie side by side in memory, values and gradients alike."""
    runs: list[list[Parameter]] = []
    for p in sorted(parameters, key=lambda p: p.value.__array_interface__["data"][0]):
        if runs and _adjacent(runs[-1][-1], p):
            runs[-1].append(p)
        else:
            runs.append([p])
    return runs


def _adjacent(a: Parameter, b: Parameter) -> bool:
    return all(
        isinstance(x.base, np.ndarray)
        and x.base is y.base
        and (x.base.ndim, x.base.dtype) == (1, x.dtype)
        and _address(x) + x.nbytes == _address(y)
        for x, y in ((a.value, b.value), (a.grad, b.grad))
    )


def _address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def span_view(run: list[Parameter]) -> tuple[Array, Array]:
    """Return (values, gradients) of a run from `spans`, each as one flat view."""
    return _flat([p.value for p in run]), _flat([p.grad for p in run])


def _flat(arrays: list[Array]) -> Array:
    if len(arrays) == 1:
        return arrays[0].reshape(-1)
    base = arrays[0].base
    assert base is not None
    start = (_address(arrays[0]) - _address(base)) // base.itemsize
    return base[start : start + sum(a.size for a in arrays)]
