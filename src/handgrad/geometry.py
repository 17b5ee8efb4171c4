"""Where windows lie on an image: output sizes and padding arithmetic, here and nowhere else.

Along one axis a kernel of ``k`` taps, ``d`` pixels apart, covers ``e = (k - 1)*d + 1`` pixels. On an axis
of ``n`` pixels with ``p`` of padding in all and stride ``s`` it has ``(n + p - e)//s + 1`` places.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Any, TypeAlias

from handgrad.errors import ArgumentError, ShapeError
from handgrad.typing import Shape, is_integer

Pair: TypeAlias = tuple[int, int]
Pads: TypeAlias = tuple[Pair, Pair]  # (top, bottom), (left, right)
Padding: TypeAlias = str | int | tuple[int, int] | tuple[tuple[int, int], tuple[int, int]]


@dataclass(frozen=True)
class Window:
    """A kernel laid over an image: all that convolution and pooling need to know of the geometry.

    Attributes
    ----------
    kernel, strides, dilation : (int, int)
        Rows and columns, in taps, pixels and pixels.
    pads : ((top, bottom), (left, right))
        Pixels added around the image.
    """

    kernel: Pair
    strides: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pads = ((0, 0), (0, 0))

    @property
    def extent(self) -> Pair:
        """Rows and columns that the kernel covers, ``(k - 1)*d + 1``."""
        (kh, kw), (dh, dw) = self.kernel, self.dilation
        return (kh - 1) * dh + 1, (kw - 1) * dw + 1

    def output_size(self, size: Pair) -> Pair:
        """Return the number of places down and across, ``(n + p - e)//s + 1``; below 1 if none fits."""
        (h, w), (eh, ew), (sh, sw), (ph, pw) = size, self.extent, self.strides, self.pads
        return (h + sum(ph) - eh) // sh + 1, (w + sum(pw) - ew) // sw + 1


def pair(value: Any, where: str, least: int = 1) -> Pair:
    """Return an int or a pair of ints as a pair.

    Raises
    ------
    ArgumentError
        If `value` is neither, or below `least`; `where` is how the message begins.
    """
    both = (value, value) if is_integer(value) else value
    if isinstance(both, tuple | list) and len(both) == 2 and all(is_integer(v) and v >= least for v in both):
        if max(both) >= 2**31:  # products of two of them are still whole numbers of the kernels
            raise ArgumentError(where, expected="ints below 2**31", got=repr(value))
        return int(both[0]), int(both[1])
    raise ArgumentError(where, expected=f"an int or a pair of ints, at least {least}", got=repr(value))


def check_padding(padding: Any, where: str) -> None:
    """Raise ArgumentError unless `padding` is one of the forms that `resolve_padding` knows."""
    if isinstance(padding, str) and padding in ("valid", "same"):
        return
    if is_integer(padding) and padding >= 0:
        return
    if isinstance(padding, tuple | list) and len(padding) == 2:
        nested = all(isinstance(side, tuple | list) and len(side) == 2 for side in padding)
        if all(is_integer(v) and v >= 0 for v in (itertools.chain(*padding) if nested else padding)):
            return
    raise ArgumentError(
        where,
        expected='padding "valid", "same", an int, (rows, columns) or ((top, bottom), (left, right))',
        got=repr(padding),
    )


def resolve_padding(padding: Padding, size: Pair, kernel: Pair, strides: Pair, dilation: Pair) -> Pads:
    """Return ((top, bottom), (left, right)) for an image of `size`.

    Parameters
    ----------
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int))
        Nothing; enough for ``ceil(n/s)`` places, the odd pixel at the end (the convention of TensorFlow and
        Keras); the same on all sides; rows and columns; every side.
    """
    if padding == "valid":
        return (0, 0), (0, 0)
    if padding == "same":
        extent = Window(kernel, strides, dilation).extent
        total = [max((-(-n // s) - 1) * s + e - n, 0) for n, s, e in zip(size, strides, extent, strict=True)]
        rows, columns = ((t // 2, t - t // 2) for t in total)
        return rows, columns
    sides: Any = (padding, padding) if is_integer(padding) else padding
    rows, columns = (pair(side, "padding", least=0) for side in sides)
    return rows, columns


def resolve_window(
    size: Pair, kernel: Pair, strides: Pair, dilation: Pair, padding: Padding, where: str
) -> Window:
    """Return the window for an image of `size`.

    Raises
    ------
    ShapeError
        If the kernel does not fit once.
    """
    pads = resolve_padding(padding, size, kernel, strides, dilation)
    window = Window(kernel, strides, dilation, pads)
    if min(window.output_size(size)) < 1:
        (eh, ew), (h, w) = window.extent, size
        padded = f"{h + sum(pads[0])}x{w + sum(pads[1])} with padding" if any(map(any, pads)) else f"{h}x{w}"
        raise ShapeError(
            where,
            expected=f"an image of at least {eh}x{ew} (what the kernel covers)",
            got=padded,
            do='use padding="same" or a smaller kernel',
        )
    return window


def layer_window(
    size: Pair, kernel_size: Any, strides: Any, dilation_rate: Any, padding: Any, where: str
) -> Window:
    """Return the window of a layer's arguments for an image of `size`; known ones are not worked out again.

    Raises
    ------
    ArgumentError
        If an argument is of no form that layers take; `where` is how the message begins.
    ShapeError
        If the kernel does not fit once.
    """
    # as they are written: lists have no hash, and True and 3.0, which are mistakes, have that of 1 and 3
    key = size, repr((kernel_size, strides, dilation_rate, padding))
    if (window := _known_windows.get(key)) is None:
        kernel = pair(kernel_size, f"{where} kernel_size")
        strides = pair(strides, f"{where} strides")
        dilation = pair(dilation_rate, f"{where} dilation_rate")
        check_padding(padding, f"{where} padding")
        window = resolve_window(size, kernel, strides, dilation, padding, where)
        if len(_known_windows) >= _MOST_WINDOWS:
            _known_windows.clear()
        _known_windows[key] = window
    return window


_known_windows: dict[tuple[Pair, str], Window] = {}
_MOST_WINDOWS = 4096


def image_shape(shape: Shape, where: str) -> tuple[int, int, int]:
    """Return (height, width, channels), or raise ShapeError if `shape` is something else."""
    if len(shape) != 3:
        raise ShapeError(
            where,
            expected="images (height, width, channels)",
            got=f"shape {shape}",
            do="reshape to (height, width, channels); grey images have one channel",
        )
    return shape[0], shape[1], shape[2]
