"""Layers for inference alone, which hold parameters as kernels read them fastest.

`handgrad.graph.predictor` puts them where convolutions and dense layers stood, with what followed those.
"""

from __future__ import annotations

from typing import Any

from handgrad.geometry import Window
from handgrad.layers.conv import Conv2D
from handgrad.layers.dense import Dense
from handgrad.layers.layer import Merge, NothingSaved, Run
from handgrad.typing import Array, Shape

_EACH_ROW = Window((1, 1))


class Packed(Merge):
    """A product with fixed weights, to which an array may be added, and ReLU.

    Takes one input or, where something is added, two; has no parameters, and no backward.

    Parameters
    ----------
    layer : Layer
        Built. Its parameters are copied.
    shape : tuple of int
        Of an input: that of the layer where it stands, which may stand elsewhere, too.
    relu : bool
        Whether negative results become 0.
    n : int
        How many inputs are to come at once.
    run : Run
        By whose kernels they are packed, and which alone may run this.
    """

    def __init__(self, layer: Any, shape: Shape, relu: bool, n: int, run: Run) -> None:
        self.path, self.trainable, self.input_shape = layer.path, False, shape
        self.relu = relu
        # a copy: a view would keep all the model's parameters in memory
        self.bias = None if layer.bias is None else layer.bias.value.copy()
        w, window, image, self.groups = self.packing(layer)
        self.filters = run.kernels.pack_filters(w, (n, *image), window, self.groups)

    def packing(self, layer: Any) -> tuple[Array, Window, Shape, int]:
        """Return the weights as filters, their window, the shape of an image, and groups."""
        raise NotImplementedError

    def images(self, x: Array) -> tuple[Array, Window]:
        """Return an input as images, and the window for their size."""
        raise NotImplementedError

    def forward(self, x: tuple[Array, ...], run: Run) -> tuple[Array, NothingSaved]:
        """Return ``y = max(x w + b + r, 0)`` for inputs x, or x and r; of r and ReLU what there is."""
        images, window = self.images(x[0])
        added = self.images(x[1])[0] if len(x) > 1 else None
        y = run.kernels.conv2d_packed(images, self.filters, self.bias, window, self.groups, added, self.relu)
        return self.of_images(y, x[0]), NothingSaved()

    def of_images(self, y: Array, x: Array) -> Array:
        """Return what was computed of `images` as the output for x."""
        return y


class PackedConv2D(Packed):
    """Convolution with filters packed."""

    def packing(self, layer: Conv2D) -> tuple[Array, Window, Shape, int]:
        """Return those of the convolution, for its images."""
        h, w, _ = self.input_shape
        self.window = layer.window((h, w))
        return layer.weight.value, self.window, self.input_shape, layer.groups

    def images(self, x: Array) -> tuple[Array, Window]:
        """Return them, and the window for their size."""
        return x, self.window


class PackedDense(Packed):
    """A dense layer with its matrix packed: every row is an image of one pixel."""

    def packing(self, layer: Dense) -> tuple[Array, Window, Shape, int]:
        """Return the matrix as filters of 1x1."""
        w = layer.weight.value
        return w.reshape(1, 1, *w.shape), _EACH_ROW, (1, 1, len(w)), 1

    def images(self, x: Array) -> tuple[Array, Window]:
        """(n, ..., c) -> (rows, 1, 1, c)."""
        return x.reshape(-1, 1, 1, x.shape[-1]) if x.size else x.reshape(0, 1, 1, x.shape[-1]), _EACH_ROW

    def of_images(self, y: Array, x: Array) -> Array:
        """(rows, 1, 1, k) -> (n, ..., k)."""
        return y.reshape(*x.shape[:-1], y.shape[-1])
