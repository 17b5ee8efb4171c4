"""The layers that take images."""

from __future__ import annotations

from typing import Any

from handgrad import layers
from handgrad.compat.mlfromscratch.layer import ImageLayer, view
from handgrad.compat.mlfromscratch.parts import FanInUniform
from handgrad.typing import Shape, is_integer


class Conv2D(ImageLayer):
    """Two-dimensional convolution: `handgrad.layers.Conv2D`.

    Parameters
    ----------
    n_filters : int
        Number of output channels.
    filter_shape : (int, int)
        Rows and columns of a filter.
    input_shape : (channels, height, width), optional
        Needed in the first layer of a network.
    padding : "same", "valid", int or pairs, default "same"
        As in `handgrad.layers.Conv2D`.
    stride : int or (int, int), default 1
        Pixels from one place of the filter to the next.
    """

    W = view("(n_filters, channels, rows, columns).", lambda made: made[0].weight.value.transpose(3, 2, 0, 1))
    w0 = view("The bias, (n_filters, 1).", lambda made: made[0].bias.value[:, None])

    def __init__(
        self,
        n_filters: int,
        filter_shape: Any,
        input_shape: Any = None,
        padding: Any = "same",
        stride: Any = 1,
    ) -> None:
        super().__init__(input_shape)
        self.n_filters = n_filters
        self.filter_shape = filter_shape
        self.padding = padding
        self.stride = stride

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the convolution."""
        return [
            layers.Conv2D(
                self.n_filters,
                self.filter_shape,
                strides=self.stride,
                padding=self.padding,
                kernel_initializer=FanInUniform(),
            )
        ]


class Pooling2D(ImageLayer):
    """What the pooling layers share."""

    def __init__(self, pool_shape: Any = (2, 2), stride: Any = 1, padding: Any = 0) -> None:
        super().__init__()
        self.pool_shape = pool_shape
        self.stride = stride
        self.padding = padding


class MaxPooling2D(Pooling2D):
    """Maximum over a window: `handgrad.layers.MaxPooling2D`.

    Parameters
    ----------
    pool_shape : (int, int), default (2, 2)
        Rows and columns of the window.
    stride : int or (int, int), default 1
        Pixels from one place to the next; it need not divide the image.
    padding : int, "same", "valid" or pairs, default 0
        Never the maximum.
    """

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the pooling."""
        return [layers.MaxPooling2D(self.pool_shape, self.stride, self.padding)]


class AveragePooling2D(Pooling2D):
    """Mean over a window: `handgrad.layers.AveragePooling2D`.

    Parameters
    ----------
    pool_shape : (int, int), default (2, 2)
        Rows and columns of the window.
    stride : int or (int, int), default 1
        Pixels from one place to the next; it need not divide the image.
    padding : int, "same", "valid" or pairs, default 0
        Does not count.
    """

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the pooling."""
        return [layers.AveragePooling2D(self.pool_shape, self.stride, self.padding)]


class ConstantPadding2D(ImageLayer):
    """Pixels of one value around each image: `handgrad.layers.ConstantPadding2D`.

    Parameters
    ----------
    padding : (rows, columns) or ((top, bottom), (left, right))
        How many on each side; a number stands for two equal ones.
    padding_value : float, default 0
        Of the pixels added.
    """

    def __init__(self, padding: Any, padding_value: float = 0) -> None:
        super().__init__()
        self.padding = padding
        self.padding_value = padding_value

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the padding."""
        padding = self.padding
        if isinstance(padding, tuple | list):
            padding = tuple((p, p) if is_integer(p) else p for p in padding)
        return [layers.ConstantPadding2D(padding, self.padding_value)]


class ZeroPadding2D(ConstantPadding2D):
    """Zeros around each image.

    Parameters
    ----------
    padding : (rows, columns) or ((top, bottom), (left, right))
        As in `ConstantPadding2D`.
    """

    def __init__(self, padding: Any) -> None:
        super().__init__(padding)


class UpSampling2D(ImageLayer):
    """Each pixel repeated in a block: `handgrad.layers.UpSampling2D`.

    Parameters
    ----------
    size : (int, int), default (2, 2)
        Rows and columns of the block.
    input_shape : (channels, height, width), optional
        Needed in the first layer of a network.
    """

    def __init__(self, size: Any = (2, 2), input_shape: Any = None) -> None:
        super().__init__(input_shape)
        self.size = size

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the upsampling."""
        return [layers.UpSampling2D(self.size)]
