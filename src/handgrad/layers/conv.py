"""Convolution."""

from __future__ import annotations

from dataclasses import KW_ONLY, dataclass
from typing import Any, NamedTuple

from handgrad.errors import ArgumentError, ShapeError
from handgrad.geometry import Padding, Window, image_shape, layer_window, pair
from handgrad.layers.initializers import Initializer
from handgrad.layers.layer import Layer, Run, owned
from handgrad.layers.parameter import Init, Parameter
from handgrad.typing import Array, Shape, is_integer


class ConvSaved(NamedTuple):
    """What the backward of a convolution needs."""

    x: Any
    """The images, or a fused layer's promise of them."""
    window: Window
    output: Shape
    """The shape of the output, with the batch axis."""


@dataclass(eq=False)
class Conv2D(Layer):
    r"""Two-dimensional convolution.

    Parameters
    ----------
    filters : int
        Number of output channels.
    kernel_size : int or (int, int)
        Rows and columns of a filter.
    strides : int or (int, int), default 1
        Pixels from one place of the filter to the next.
    padding : "valid", "same", int, (int, int) or ((int, int), (int, int)), default "valid"
        None; as much as makes the output ``ceil(size/stride)`` large, the odd pixel at the end; on every
        side; on top and bottom, left and right; on each side.
    dilation_rate : int or (int, int), default 1
        Pixels from one tap to the next.
    groups : int, default 1
        Into how many parts input and output channels are divided; each output sees its own part only.
        ``groups`` equal to the input channels is a depthwise convolution.
    use_bias : bool, default True
        Whether a bias is added. Leave it out before a batch normalization, which would take it away again.
    kernel_initializer, bias_initializer : str or Initializer
        Initial values: ``"he_normal"``, ``"zeros"``.

    Attributes
    ----------
    weight : Parameter, (rows, columns, input channels/groups, filters)
    bias : Parameter, (filters,)
        Absent without `use_bias`.

    Notes
    -----
    Input (n, h, w, c), output (n, oh, ow, filters). With the padded input :math:`P`, stride :math:`s` and
    dilation
    :math:`d`, at every place :math:`p = (a, b)` the taps :math:`t = (i, j)` meet the pixels :math:`P_{sp +
    dt}`:

    .. math:: y_{pk} = \sum_{t,c} P_{sp+dt,\,c}\; w_{tck} + b_k

    **Backward.** With the upstream gradient :math:`\dot y = \partial L/\partial y`, each sum collects the
    places where its variable is used. A bias is added at every place; a weight multiplies the pixel its tap
    meets; a pixel
    :math:`q` is met by tap :math:`t` at the place with :math:`sp + dt = q`, if there is one:

    .. math::
        \dot b_k = \sum_p \dot y_{pk}, \qquad
        \dot w_{tck} = \sum_p P_{sp+dt,\,c}\; \dot y_{pk}, \qquad
        \dot P_{qc} = \sum_{t,p:\; sp+dt=q} \; \sum_k \dot y_{pk}\; w_{tck}

    and :math:`\dot x` is the part of :math:`\dot P` that lies on the image. The code is
    `handgrad.kernels.reference.conv`: for every tap a product of matrices.

    Compiled kernels compute many convolutions by Winograd's algorithm, which adds up the pixels of a tile
    before it multiplies: a NaN, or a pixel above some 1e36, spoils all outputs of its tiles, up to 64. With
    ``precision="strict"`` every output is a sum of its own products, and the others stay as they are.

    References
    ----------
    .. [1] V. Dumoulin and F. Visin, "A guide to convolution arithmetic for deep learning", arXiv:1603.07285.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> conv = hg.layers.Conv2D(16, 3, padding="same")
    >>> conv.build((8, 8, 1))
    (8, 8, 16)
    >>> y, saved = conv.forward(np.ones((2, 8, 8, 1), np.float32), hg.Run())
    >>> y.shape
    (2, 8, 8, 16)
    """

    filters: int
    kernel_size: Any
    strides: Any = 1
    padding: Padding = "valid"
    dilation_rate: Any = 1
    groups: int = 1
    _: KW_ONLY
    use_bias: bool = True
    kernel_initializer: str | Initializer = "he_normal"
    bias_initializer: str | Initializer = "zeros"

    weight: Parameter = owned()
    bias: Parameter | None = owned()

    def output_shape(self, shape: Shape) -> Shape:
        """Return (oh, ow, filters) for images of `shape` (h, w, c)."""
        h, w, c = image_shape(shape, self.where)
        self._check_channels(c)
        oh, ow = self.window((h, w)).output_size((h, w))
        return oh, ow, self.filters

    def create(self, shape: Shape, init: Init) -> None:
        """Create the filters, and the bias."""
        kh, kw = pair(self.kernel_size, f"{self.where} kernel_size")
        cg = shape[2] // self.groups
        fans = kh * kw * cg, kh * kw * self.filters // self.groups
        self.weight = init.parameter("weight", (kh, kw, cg, self.filters), self.kernel_initializer, fans=fans)
        if self.use_bias:
            self.bias = init.parameter("bias", (self.filters,), self.bias_initializer, fans=fans, decay=False)

    def forward(self, x: Array, run: Run) -> tuple[Array, ConvSaved]:
        """Return ``y`` of (n, oh, ow, filters)."""
        self.check_input(x)
        window = self.window((x.shape[1], x.shape[2]))
        y = run.kernels.conv2d(x, *self.weight_and_bias(), window, self.groups)
        return y, ConvSaved(x, window, y.shape)

    def backward(self, dy: Array, saved: ConvSaved, run: Run, *, need_dx: bool = True) -> Array | None:
        """Accumulate dw and db; return dx."""
        x, window, shape = saved
        self.check_gradient(dy, shape, x.dtype)
        w = self.weight.value
        if self.trainable:
            self.accumulate(run.kernels.conv2d_backward_weight(dy, x, w.shape, window, self.groups), dy, run)
        if not need_dx:
            return None
        dx: Array = run.kernels.conv2d_backward_input(dy, w, x.shape, window, self.groups)
        return dx

    def weight_and_bias(self) -> tuple[Array, Array | None]:
        """Return w and b, as the kernels take them."""
        return self.weight.value, None if self.bias is None else self.bias.value

    def accumulate(self, dw: Array, dy: Array, run: Run) -> None:
        """Add dw, and the bias' gradient by dy, to the parameters' gradients."""
        self.weight.accumulate(dw)
        if self.bias is not None:
            self.bias.accumulate(run.kernels.bias_backward(dy))

    def multiply_adds(self, shape: Shape) -> int:
        """Return ``oh*ow*filters * rows*columns*c/groups``."""
        oh, ow, k = self.output_shape(shape)
        kh, kw = pair(self.kernel_size, self.where)
        return oh * ow * k * kh * kw * shape[2] // self.groups

    def window(self, size: tuple[int, int]) -> Window:
        """Return the geometry for images of `size`."""
        return layer_window(
            size, self.kernel_size, self.strides, self.dilation_rate, self.padding, self.where
        )

    def _check_channels(self, c: int) -> None:
        for name in ("filters", "groups"):
            value = getattr(self, name)
            if not is_integer(value) or value < 1:
                raise ArgumentError(f"{self.where} {name}", expected="an int, at least 1", got=repr(value))
        if self.filters % self.groups:
            raise ArgumentError(
                self.where,
                expected=f"filters that groups={self.groups} divides",
                got=f"filters={self.filters}",
            )
        if self.built and c != self.weight.shape[2] * self.groups:
            wanted = self.weight.shape[2] * self.groups
            raise ShapeError(self.where, expected=f"{wanted} input channels", got=str(c))
        if c % self.groups:
            raise ShapeError(
                self.where, expected=f"input channels that groups={self.groups} divides", got=str(c)
            )
