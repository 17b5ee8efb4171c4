"""Convolution, compiled (csrc/conv.cc, csrc/conv_weights.cc, csrc/winograd.cc).

Contracts as in `handgrad.kernels.reference.conv`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels.cpu.algorithm import choose
from handgrad.kernels.cpu.arrays import bits, contiguous, empty
from handgrad.typing import Array, Shape, is_bfloat16

__all__ = ["conv2d", "conv2d_backward_input", "conv2d_backward_weight"]


def conv2d(
    cpu: Any,
    x: Array,
    w: Array,
    b: Array | None,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the convolution of images with filters."""
    sizes, tile = plan(cpu, x.dtype, x.shape, w.shape, window, groups, algorithm)
    y = empty((x.shape[0], sizes[4], sizes[5], w.shape[3]), x)
    cpu.conv2d(sizes, tile, contiguous(x), contiguous(w), None if b is None else contiguous(b), bits(y))
    return y


def conv2d_backward_input(
    cpu: Any,
    dy: Array,
    w: Array,
    shape: Shape,
    window: Window,
    groups: int = 1,
    add: Array | None = None,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the gradient of the images, and `add`."""
    sizes, tile = plan(cpu, dy.dtype, shape, w.shape, window, groups, algorithm)
    dx = empty(shape, dy)
    add = None if add is None else contiguous(add.astype(dy.dtype, copy=False))
    cpu.conv2d_backward_input(sizes, tile, contiguous(dy), contiguous(w), add, bits(dx))
    return dx


def conv2d_backward_weight(
    cpu: Any,
    dy: Array,
    x: Array,
    shape: Shape,
    window: Window,
    groups: int = 1,
    *,
    algorithm: int | None = None,
) -> Array:
    """Return the gradient of the filters."""
    sizes, tile = plan(cpu, x.dtype, x.shape, shape, window, groups, algorithm)
    dw = np.empty(shape, np.float32)
    cpu.conv2d_backward_weight(sizes, tile, contiguous(dy), contiguous(x), dw)
    return dw


def plan(
    cpu: Any,
    dtype: Any,
    x: Shape,
    w: Shape,
    window: Window,
    groups: int,
    algorithm: int | None,
    *,
    packed: bool = False,
) -> tuple[list[int], int]:
    """Return the sizes as the extension module takes them, and the tile of Winograd's algorithm or 0.

    The dtype is that of the images, or of the results' gradient.
    """
    (top, _), (left, _) = window.pads
    oh, ow = window.output_size((x[1], x[2]))
    sizes = [*x, oh, ow, w[3], *window.kernel, *window.strides, *window.dilation, top, left, groups]
    instructions = cpu.name if is_bfloat16(dtype) else cpu.of_floats
    return sizes, choose(instructions, x, w, window, groups, algorithm, packed)
