"""Layers of several inputs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import numpy as np

from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.layer import Merge, Run
from handgrad.typing import Array, DTypeLike, Shape, is_integer


class AddSaved(NamedTuple):
    """What the backward of a sum needs: how many inputs there were, and of which shape."""

    inputs: int
    shape: Shape
    dtype: DTypeLike


class ConcatenateSaved(NamedTuple):
    """What the backward of a concatenation needs: how long each input was."""

    lengths: tuple[int, ...]
    output: Shape
    """The shape of the output, with the batch axis."""
    dtype: DTypeLike


@dataclass(eq=False)
class Add(Merge):
    r"""Sum of its inputs, as in a residual connection.

    Notes
    -----
    Inputs and output of one shape.

    .. math:: y = \sum_i x^{(i)}, \qquad \dot x^{(i)} = \dot y

    Examples
    --------
    >>> import handgrad as hg
    >>> i = hg.Input((8, 8, 4))
    >>> model = hg.Graph(i, hg.layers.Add()(i, hg.layers.Conv2D(4, 3, padding="same")(i)))
    >>> model.output_shape
    (8, 8, 4)
    """

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the shape that all inputs have."""
        for i, other in enumerate(shape):
            if other != shape[0]:
                raise ShapeError(
                    self.where, expected=f"inputs of one shape, {shape[0]}", got=f"{other} as input {i}"
                )
        return shape[0]

    def forward(self, x: tuple[Array, ...], run: Run) -> tuple[Array, AddSaved]:
        """Return the sum."""
        self.check_input(x)
        y = reduce(run.kernels.add, x)
        return y, AddSaved(len(x), y.shape, y.dtype)

    def backward(
        self,
        dy: Array,
        saved: AddSaved,
        run: Run,
        *,
        need_dx: bool = True,
    ) -> tuple[Array, ...] | None:
        """Return dy once for every input."""
        self.check_gradient(dy, saved.shape, saved.dtype)
        return (dy,) * saved.inputs if need_dx else None

    def multiply_adds(self, shape: tuple[Shape, ...]) -> int:
        """Return one for every number but those of the first input."""
        return (len(shape) - 1) * math.prod(shape[0])


@dataclass(eq=False)
class Concatenate(Merge):
    r"""Inputs side by side along one axis.

    Parameters
    ----------
    axis : int, default -1
        The axis, the batch being axis 0; all others must agree.

    Notes
    -----
    .. math:: y = [x^{(1)}, x^{(2)}, \dots], \qquad [\dot x^{(1)}, \dot x^{(2)}, \dots] = \dot y

    Each input takes back its own part of the gradient.
    """

    axis: int = -1

    def output_shape(self, shape: tuple[Shape, ...]) -> Shape:
        """Return the shape with the axis' lengths added up."""
        axis = self._axis(len(shape[0]) + 1) - 1
        for i, other in enumerate(shape):
            if len(other) != len(shape[0]) or any(
                a != b for k, (a, b) in enumerate(zip(other, shape[0], strict=True)) if k != axis
            ):
                raise ShapeError(
                    self.where,
                    expected=f"inputs that agree but for axis {axis + 1}, as {shape[0]}",
                    got=f"{other} as input {i}",
                )
        total = sum(s[axis] for s in shape)
        return *shape[0][:axis], total, *shape[0][axis + 1 :]

    def forward(self, x: tuple[Array, ...], run: Run) -> tuple[Array, ConcatenateSaved]:
        """Return the inputs side by side."""
        self.check_input(x)
        axis = self._axis(x[0].ndim)
        y = np.concatenate(x, axis)
        return y, ConcatenateSaved(tuple(xi.shape[axis] for xi in x), y.shape, y.dtype)

    def backward(
        self,
        dy: Array,
        saved: ConcatenateSaved,
        run: Run,
        *,
        need_dx: bool = True,
    ) -> tuple[Array, ...] | None:
        """Return dy in parts."""
        self.check_gradient(dy, saved.output, saved.dtype)
        if not need_dx:
            return None
        ends = np.cumsum(saved.lengths)[:-1]
        return tuple(np.split(dy, ends, self._axis(dy.ndim)))

    def _axis(self, rank: int) -> int:
        axis: Any = self.axis
        if is_integer(axis) and -rank <= axis < rank and axis % rank:
            return int(axis % rank)
        raise ArgumentError(
            f"{self.where} axis",
            expected=f"an axis in 1..{rank - 1}, or negative",
            got=repr(axis),
            do="axis 0 is the batch",
        )
