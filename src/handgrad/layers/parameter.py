"""What a layer owns: parameters, which are trained, and buffers, which are not."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.arguments import check_unmasked, float_dtype, unmasked
from handgrad.errors import ArgumentError, ShapeError
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
        ``grad`` by `accumulate` and `zero_grad` alone. Both are views of vectors that hold all parameters of
        a model: ``parameter.value = array`` is `assign`, and copies.
    name : str
        Path in the model, ``"stage1.conv2.weight"``; the attribute's name before that.
    """

    __slots__ = ("__weakref__", "_grad", "_value", "decay", "name")

    def __init__(self, value: Array, *, decay: bool = True, name: str = "") -> None:
        # a copy: flat views of it, by which optimizers write, need memory of its own in C order
        self._value = np.array(unmasked(name or "parameter", value), order="C")
        float_dtype(f"{name or 'parameter'} value", self._value.dtype)
        self._grad = np.zeros_like(self._value)
        self.decay = decay
        self.name = name

    def __repr__(self) -> str:
        return f"Parameter({self.name!r}, shape={self.shape}, dtype={self.value.dtype})"

    @property
    def value(self) -> Array:
        """The value; what is assigned to it is copied into it, as `assign` does."""
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        if value is not self._value:  # it is after ``p.value += x``
            self.assign(value)

    @property
    def grad(self) -> Array:
        """The gradient; what is assigned to it is copied into it."""
        return self._grad

    @grad.setter
    def grad(self, grad: Array) -> None:
        if grad is not self._grad:
            where = f"{self.name or 'parameter'} grad"
            _copy(where, self._grad, grad, do="zero_grad() sets it to zero" if np.ndim(grad) == 0 else "")

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
        if np.shape(gradient) != self._value.shape:
            where = f"{self.name or 'parameter'} gradient"
            raise ShapeError(where, expected=f"shape {self.shape}", got=f"{np.shape(gradient)}")
        check_unmasked("parameter gradient", gradient)
        self._grad += gradient

    def zero_grad(self) -> None:
        """Set ``grad`` to zero."""
        self._grad[...] = 0

    def assign(self, value: Array) -> None:
        """Copy `value` into ``value``.

        Raises
        ------
        ShapeError
            If it has another shape.
        ArgumentError
            If its numbers are of a kind that ``value`` cannot hold, as complex ones.
        """
        _copy(self.name or "parameter", self._value, value)


class Buffer:
    """An array that is kept with the model but not trained, such as a running mean.

    ``value`` is written by `Layer.commit` and by loading alone, through `assign`.

    Parameters
    ----------
    value : ndarray
        The initial value; copied.
    limits : (float, float), optional
        Between which every element is, for loading to check: a number of updates is not negative.
    """

    __slots__ = ("_value", "limits", "name")

    def __init__(self, value: Array, *, name: str = "", limits: tuple[float, float] | None = None) -> None:
        self._value = np.array(value, order="C")
        self.name = name
        self.limits = limits

    def __repr__(self) -> str:
        return f"Buffer({self.name!r}, shape={self.value.shape}, dtype={self.value.dtype})"

    @property
    def value(self) -> Array:
        """The value; what is assigned to it is copied into it, as `assign` does."""
        return self._value

    @value.setter
    def value(self, value: Array) -> None:
        if value is not self._value:
            self.assign(value)

    @property
    def shape(self) -> Shape:
        """The shape of the value."""
        return self.value.shape

    def assign(self, value: Array) -> None:
        """Copy `value` into ``value``; raise what `Parameter.assign` does."""
        _copy(self.name or "buffer", self._value, value)


def rebind(parameter: Parameter, value: Array, grad: Array) -> None:
    """Make two arrays the storage of a parameter, without a copy: for those who move parameters in memory."""
    parameter._value, parameter._grad = value, grad


def _copy(where: str, storage: Array, value: Any, *, do: str = "") -> None:
    """Copy `value` into `storage`, if it is of the same shape and numbers that `storage` can hold."""
    if not (isinstance(value, np.ndarray) and value.dtype == storage.dtype):
        value = _numbers(where, storage, value, do)
    if value.shape != storage.shape:
        do = do or _other_order(value.shape, storage.shape)
        raise ShapeError(where, expected=f"shape {storage.shape}", got=f"{value.shape}", do=do)
    check_unmasked(where, value)
    storage[...] = value


def _numbers(where: str, storage: Array, value: Any, do: str) -> Array:
    """Return `value` as an array whose numbers fit into `storage`, but for rounding."""
    if value is None or isinstance(value, str | Parameter | Buffer):
        do = "give its value" if isinstance(value, Parameter | Buffer) else do
        raise ArgumentError(where, expected=_like(storage), got=type(value).__name__, do=do)
    try:
        array = np.asarray(value)
    except ValueError:  # rows of different lengths
        raise ArgumentError(where, expected=_like(storage), got="rows of different lengths") from None
    if not np.can_cast(array.dtype, storage.dtype, "same_kind"):
        do = f"convert it with astype({storage.dtype.name!r})" if array.dtype.kind in "fiu" else ""
        raise ArgumentError(where, expected=_like(storage), got=f"{array.dtype}", do=do)
    return array


def _like(storage: Array) -> str:
    return f"an array of {storage.dtype}"


def _other_order(shape: Shape, wanted: Shape) -> str:
    """Say how an array as other libraries order its axes would fit."""
    if len(shape) == 2 and shape[::-1] == wanted:
        return "transposed it fits: value.T"
    if len(shape) == 4 and (*shape[2:], shape[1], shape[0]) == wanted:
        return (
            "with its axes in the order (rows, columns, input, output) it fits: value.transpose(2, 3, 1, 0)"
        )
    return ""


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
