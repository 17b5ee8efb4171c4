"""Layers that move numbers without changing them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError, ShapeError
from handgrad.geometry import Padding, Pads, check_padding, image_shape, pair, resolve_padding
from handgrad.layers.layer import Layer, Run
from handgrad.layers.pool import ShapeSaved
from handgrad.typing import Array, Shape, is_integer


@dataclass(eq=False)
class Flatten(Layer):
    r"""Every sample as one row: (n, h, w, c) -> (n, h*w*c).

    Notes
    -----
    :math:`y_{n,\,(ab)c} = x_{nabc}`, so :math:`\dot x_{nabc} = \dot y_{n,\,(ab)c}`: the gradient is shaped
    back.
    """

    def output_shape(self, shape: Shape) -> Shape:
        """Return the product of the axes."""
        return (math.prod(shape),)

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the rows."""
        self.check_input(x)
        y = x.reshape(x.shape[0], math.prod(x.shape[1:]))
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dy in the shape of the input."""
        self.check_gradient(dy, saved.output, saved.dtype)
        return dy.reshape(saved.shape) if need_dx else None


@dataclass(eq=False)
class Reshape(Layer):
    r"""Every sample in another shape.

    Parameters
    ----------
    target_shape : tuple of int
        Without the batch axis; one -1 stands for what is left.

    Notes
    -----
    :math:`y` holds the numbers of :math:`x` in the same order, so :math:`\dot x` holds those of :math:`\dot
    y`.
    """

    target_shape: tuple[int, ...]

    def output_shape(self, shape: Shape) -> Shape:
        """Return `target_shape` with -1 resolved."""
        target, size = self.target_shape, math.prod(shape)
        if (
            not isinstance(target, tuple | list)
            or not all(is_integer(t) and (t > 0 or t == -1) for t in target)
            or list(target).count(-1) > 1
        ):
            raise ArgumentError(
                f"{self.where} target_shape",
                expected="positive ints, at most one -1",
                got=repr(target),
                do=f"write ({target},)" if is_integer(target) else "",
            )
        target = tuple(target)
        known = math.prod(t for t in target if t != -1)
        if size % known or (-1 not in target and size != known):
            raise ShapeError(
                self.where, expected=f"{known} numbers for {target}", got=f"{size} (shape {shape})"
            )
        return tuple(size // known if t == -1 else int(t) for t in target)

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the same numbers in the target shape."""
        self.check_input(x)
        y = x.reshape(x.shape[0], *self.output_shape(x.shape[1:]))
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dy in the shape of the input."""
        self.check_gradient(dy, saved.output, saved.dtype)
        return dy.reshape(saved.shape) if need_dx else None


@dataclass(eq=False)
class Padding2D(Layer):
    """What the padding layers share: pixels around each image."""

    padding: Padding = 1

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape with the padding."""
        h, w, c = image_shape(shape, self.where)
        (top, bottom), (left, right) = self._pads()
        return h + top + bottom, w + left + right, c

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the padded images."""
        self.check_input(x)
        y = run.kernels.pad2d(x, self._pads(), self._value())
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return the part of dy on the image."""
        self.check_gradient(dy, saved.output, saved.dtype)
        if not need_dx:
            return None
        dx: Array = run.kernels.pad2d_backward(dy, self._pads())
        return dx

    def _value(self) -> float:
        """Return the value of the pixels added."""
        return 0.0

    def _pads(self) -> Pads:
        where = f"{self.where} padding"
        check_padding(self.padding, where)
        if isinstance(self.padding, str):
            raise ArgumentError(where, expected="a number of pixels", got=repr(self.padding))
        return resolve_padding(self.padding, (1, 1), (1, 1), (1, 1), (1, 1))


@dataclass(eq=False)
class ConstantPadding2D(Padding2D):
    r"""Pixels of one value around each image.

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int)), default 1
        On every side; on top and bottom, left and right; on each side.
    value : float, default 0
        Of the pixels added.

    Notes
    -----
    Input (n, h, w, c), output (n, h + top + bottom, w + left + right, c). Constants have no gradient:
    :math:`\dot x` is the part of :math:`\dot y` that lies on the image.
    """

    value: float = 0.0

    def output_shape(self, shape: Shape) -> Shape:
        """Return the shape with the padding."""
        check_number(self.where, "value", self.value, least=-math.inf)
        return super().output_shape(shape)

    def _value(self) -> float:
        return float(self.value)


@dataclass(eq=False)
class ZeroPadding2D(Padding2D):
    """Zeros around each image: `ConstantPadding2D` of value 0.

    Parameters
    ----------
    padding : int, (int, int) or ((int, int), (int, int)), default 1
        On every side; on top and bottom, left and right; on each side.
    """


@dataclass(eq=False)
class UpSampling2D(Layer):
    r"""Each pixel repeated in a block.

    Parameters
    ----------
    size : int or (int, int), default 2
        Rows and columns of the block.

    Notes
    -----
    Input (n, h, w, c), output (n, h*rows, w*columns, c). A pixel is used by every pixel of its block, so it
    gets the sum of their gradients:

    .. math:: y_{ab} = x_{\lfloor a/r \rfloor \lfloor b/s \rfloor}, \qquad
              \dot x_{ab} = \sum_{i<r,\,j<s} \dot y_{ar+i,\;bs+j}

    The code is `handgrad.kernels.reference.resize`.
    """

    size: Any = 2

    def output_shape(self, shape: Shape) -> Shape:
        """Return (h*rows, w*columns, c)."""
        h, w, c = image_shape(shape, self.where)
        rows, columns = self._size()
        return h * rows, w * columns, c

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the repeated pixels."""
        self.check_input(x)
        y = run.kernels.upsample2d(x, self._size())
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return the sum of dy over each block."""
        self.check_gradient(dy, saved.output, saved.dtype)
        if not need_dx:
            return None
        dx: Array = run.kernels.upsample2d_backward(dy, self._size())
        return dx

    def _size(self) -> tuple[int, int]:
        return pair(self.size, f"{self.where} size")
