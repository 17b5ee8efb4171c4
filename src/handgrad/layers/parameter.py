"""What a layer owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from handgrad.arguments import check_unmasked, unmasked
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
        self.value = np.array(unmasked(name or "parameter", value), order="C")
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

    Parameters
    ----------
    value : ndarray
        The first value.
    limits : (float, float), optional
        Between which every element is, for loading to check: a number of updates is not negative.
    """

    __slots__ = ("limits", "name", "value")

    def __init__(self, value: Array, *, name: str = "", limits: tuple[float, float] | None = None) -> None:
        self.value = value
        self.name = name
        self.limits = limits

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
    check_unmasked(name or "parameter", value)
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
    limit : int, optional
        How many elements each may have, of a model that a stranger's file describes; by default any number.
    where : str, optional
        What precedes the parameter's name in an error: the layer's and a dot.
    """

    rng: Stream = Stream((0,))
    dtype: DTypeLike = np.float32
    limit: int | None = None
    where: str = ""

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
        self.check_size(name, shape)
        value = get_initializer(initializer)(self.rng.child(name), shape, fans, np.dtype(self.dtype))
        return Parameter(value, decay=decay, name=name)

    def check_size(self, name: str, shape: Shape) -> None:
        """Raise ShapeError if a parameter or buffer of `shape` has more elements than the limit."""
        if self.limit is not None and math.prod(shape) > self.limit:
            expected = f"at most {self.limit:,} elements, as many as were saved"
            raise ShapeError(f"{self.where}{name}", expected=expected, got=f"shape {shape}")
