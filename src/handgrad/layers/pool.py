"""Pooling."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from handgrad.errors import ArgumentError
from handgrad.geometry import Padding, Window, check_padding, image_shape, pair, resolve_window
from handgrad.layers.layer import Layer, Run
from handgrad.typing import Array, DTypeLike, Shape


class MaxPoolSaved(NamedTuple):
    """What the backward of max pooling needs."""

    tap: Array
    shape: Shape
    window: Window
    dtype: DTypeLike


class AveragePoolSaved(NamedTuple):
    """What the backward of average pooling needs."""

    shape: Shape
    window: Window
    output: Shape
    """The shape of the output, with the batch axis."""
    dtype: DTypeLike


class ShapeSaved(NamedTuple):
    """Saved where backward needs only shapes."""

    shape: Shape
    """Of the input, with the batch axis."""
    output: Shape
    """Of the output."""
    dtype: DTypeLike


@dataclass(eq=False)
class Pooling2D(Layer):
    """What the pooling layers share: a window that moves over the image."""

    pool_size: Any = 2
    strides: Any = None
    padding: Padding = "valid"

    def output_shape(self, shape: Shape) -> Shape:
        """Return (oh, ow, c) for images of `shape` (h, w, c)."""
        h, w, c = image_shape(shape, self.where)
        return *self._window((h, w)).output_size((h, w)), c

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number under every window."""
        oh, ow, c = self.output_shape(shape)
        kh, kw = pair(self.pool_size, self.where)
        return oh * ow * c * kh * kw

    def _window(self, size: tuple[int, int]) -> Window:
        kernel = pair(self.pool_size, f"{self.where} pool_size")
        strides = kernel if self.strides is None else pair(self.strides, f"{self.where} strides")
        check_padding(self.padding, f"{self.where} padding")
        window = resolve_window(size, kernel, strides, (1, 1), self.padding, self.where)
        if any(p >= k for pads, k in zip(window.pads, kernel, strict=True) for p in pads):
            raise ArgumentError(
                f"{self.where} padding",
                expected=f"less than pool_size={kernel} on each side",
                got=str(window.pads),
                do="a window wholly on padding has no maximum and no mean",
            )
        return window


@dataclass(eq=False)
class MaxPooling2D(Pooling2D):
    r"""Maximum over a window.

    Parameters
    ----------
    pool_size : int or (int, int), default 2
        Rows and columns of the window.
    strides : int or (int, int), optional
        Pixels from one place to the next; `pool_size` by default.
    padding : "valid", "same", int or pairs, default "valid"
        As in `Conv2D`; the padding is never the maximum, even of pixels that are minus infinity.

    Notes
    -----
    Input (n, h, w, c), output (n, oh, ow, c).

    .. math:: y_p = \max_t P_{sp+t}

    **Backward.** A small change of the largest pixel changes y as much, a change of any other not at all:

    .. math::
        \dot P_q = \sum_{p,t:\;sp+t=q} \dot y_p\,[t = t^*_p], \qquad
        t^*_p = \operatorname{arg\,max}_t P_{sp+t}

    Of several equal maxima the first, row by row, takes the gradient. NaN counts as larger than any number.
    The code is `handgrad.kernels.reference.pool`.
    """

    def forward(self, x: Array, run: Run) -> tuple[Array, MaxPoolSaved]:
        """Return the maxima; remember which tap they came from."""
        self.check_input(x)
        window = self._window((x.shape[1], x.shape[2]))
        y, tap = run.kernels.max_pool2d(x, window)
        return y, MaxPoolSaved(tap, x.shape, window, x.dtype)

    def backward(self, dy: Array, saved: MaxPoolSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dx: each dy at the pixel that was the maximum."""
        self.check_gradient(dy, saved.tap.shape, saved.dtype)
        if not need_dx:
            return None
        dx: Array = run.kernels.max_pool2d_backward(dy, saved.tap, saved.shape, saved.window)
        return dx


@dataclass(eq=False)
class AveragePooling2D(Pooling2D):
    r"""Mean over a window.

    Parameters
    ----------
    pool_size : int or (int, int), default 2
        Rows and columns of the window.
    strides : int or (int, int), optional
        Pixels from one place to the next; `pool_size` by default.
    padding : "valid", "same", int or pairs, default "valid"
        As in `Conv2D`.
    count_padding : bool, default False
        Whether padding counts as pixels of value 0, as PyTorch does by default, or not at all, as Keras.

    Notes
    -----
    Input (n, h, w, c), output (n, oh, ow, c). With :math:`m_p` pixels that count at place p,

    .. math:: y_p = \frac1{m_p} \sum_t P_{sp+t}, \qquad \dot P_q = \sum_{p,t:\;sp+t=q} \frac{\dot y_p}{m_p}

    The code is `handgrad.kernels.reference.pool`.
    """

    _: KW_ONLY
    count_padding: bool = False

    def forward(self, x: Array, run: Run) -> tuple[Array, AveragePoolSaved]:
        """Return the means."""
        self.check_input(x)
        window = self._window((x.shape[1], x.shape[2]))
        y = run.kernels.average_pool2d(x, window, count_padding=bool(self.count_padding))
        return y, AveragePoolSaved(x.shape, window, y.shape, x.dtype)

    def backward(self, dy: Array, saved: AveragePoolSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dx: ``dy/count`` at every pixel under the window."""
        shape, window, output, dtype = saved
        self.check_gradient(dy, output, dtype)
        if not need_dx:
            return None
        dx: Array = run.kernels.average_pool2d_backward(
            dy, shape, window, count_padding=bool(self.count_padding)
        )
        return dx


@dataclass(eq=False)
class GlobalAveragePooling2D(Layer):
    r"""Mean over the whole image.

    Notes
    -----
    Input (n, h, w, c), output (n, c).

    .. math:: y_{nc} = \frac1{hw} \sum_{q} x_{nqc}, \qquad \dot x_{nqc} = \frac{\dot y_{nc}}{hw}

    M. Lin, Q. Chen and S. Yan, "Network in network", ICLR 2014. The code is
    `handgrad.kernels.reference.pool`.
    """

    def output_shape(self, shape: Shape) -> Shape:
        """Return (c,)."""
        return (image_shape(shape, self.where)[2],)

    def forward(self, x: Array, run: Run) -> tuple[Array, ShapeSaved]:
        """Return the means."""
        self.check_input(x)
        y = run.kernels.global_average_pool2d(x)
        return y, ShapeSaved(x.shape, y.shape, x.dtype)

    def backward(self, dy: Array, saved: ShapeSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Return dx: ``dy/(h*w)`` everywhere."""
        self.check_gradient(dy, saved.output, saved.dtype)
        if not need_dx:
            return None
        dx: Array = run.kernels.global_average_pool2d_backward(dy, saved.shape)
        return dx

    def multiply_adds(self, shape: Shape) -> int:
        """Return one for every number."""
        h, w, c = shape
        return h * w * c
