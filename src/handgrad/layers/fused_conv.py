"""Convolution fused with what stands before and after it."""

from __future__ import annotations

import math
from typing import Any

from handgrad.layers.conv import Conv2D, ConvSaved
from handgrad.layers.fused import Fused, Measured, Normalized
from handgrad.layers.layer import Run
from handgrad.layers.norm import BatchNormalization
from handgrad.layers.parameter import Init
from handgrad.typing import Array, Shape


class FusedConv2D(Fused):
    """Convolution that computes the images it reads, takes statistics of what it writes, and adds gradients.

    Parameters
    ----------
    layer : Conv2D
        Built or not. All that this layer has is its.
    measures_for : BatchNormalization, optional
        The only one that takes the output. In training it is given statistics with it, as `Measured`.

    Notes
    -----
    Takes images, or `Normalized` in their place. The gradient that it returns is that of the images.
    """

    kind = Conv2D
    adds = True

    def __init__(self, layer: Conv2D, measures_for: BatchNormalization | None = None) -> None:
        super().__init__(layer)
        self.measures_for = measures_for

    def output_shape(self, shape: Shape) -> Shape:
        """Return the convolution's."""
        out: Shape = self.layer.output_shape(shape)
        return out

    def create(self, shape: Shape, init: Init) -> None:
        """Build the convolution."""
        self.layer.build(shape, init)

    def forward(self, x: Any, run: Run) -> tuple[Any, ConvSaved]:
        """Return ``y``, or y and its statistics."""
        self.check_input(x)
        conv, kernels = self.layer, run.kernels
        window, filters = conv.window(x.shape[1:3]), conv.weight_and_bias()
        measures = self._measures(x.shape[0] * math.prod(window.output_size(x.shape[1:3])), run)
        if isinstance(x, Normalized):
            images = x.arguments
            kernel = kernels.batch_norm_relu_conv2d_statistics if measures else kernels.batch_norm_relu_conv2d
        else:
            images = (x,)
            kernel = kernels.conv2d_statistics if measures else kernels.conv2d
        y = kernel(*images, *filters, window, conv.groups)
        if measures:
            return Measured(*y), ConvSaved(x, window, y[0].shape)
        return y, ConvSaved(x, window, y.shape)

    def backward(
        self, dy: Array, saved: ConvSaved, run: Run, *, need_dx: bool = True, add: Array | None = None
    ) -> Array | None:
        """Accumulate dw and db; return dx plus `add`."""
        conv, kernels, (x, window, shape) = self.layer, run.kernels, saved
        self.check_gradient(dy, shape, x.dtype)
        w = conv.weight.value
        if conv.trainable:
            if isinstance(x, Normalized):
                images, kernel = x.arguments, kernels.batch_norm_relu_conv2d_backward_weight
            else:
                images, kernel = (x,), kernels.conv2d_backward_weight
            conv.accumulate(kernel(dy, *images, w.shape, window, conv.groups), dy, run)
        if not need_dx:
            return None
        dx: Array = kernels.conv2d_backward_input(dy, w, x.shape, window, conv.groups, add)
        return dx

    def multiply_adds(self, shape: Shape) -> int:
        """Return the convolution's."""
        count: int = self.layer.multiply_adds(shape)
        return count

    def _measures(self, m: int, run: Run) -> bool:
        """Whether the normalization will take statistics of a whole batch, of m values per channel."""
        bn = self.measures_for
        return bn is not None and bn.measures(run) and run.mask is None and m > 1
