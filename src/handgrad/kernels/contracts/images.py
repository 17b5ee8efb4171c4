"""Contracts of the kernels of images (n, h, w, c): convolution, pooling, resizing."""

# ruff: noqa: ARG001, D103 (a contract has the arguments of its kernel, whose docstring says them)

from __future__ import annotations

from typing import Any

from handgrad.errors import DataError, ShapeError
from handgrad.geometry import Pads, Window
from handgrad.kernels.contracts.checks import (
    check_array,
    check_columns,
    check_floats,
    check_rank,
    check_shape,
    given,
)
from handgrad.typing import Shape


def _filters(where: str, name: str, shape: Shape, images: Shape, window: Window, groups: int) -> int:
    """Return the number of filters; `shape` is theirs, `images` that of what they are laid over."""
    for what, axes in (("x", images), (name, shape)):
        if len(axes) != 4:
            raise ShapeError(f"{where} {what}", expected="4 axes", got=f"shape {tuple(axes)}")
    c, k = images[3], shape[3]
    if groups < 1 or c % groups or k % groups:
        raise ShapeError(where, expected=f"channels that groups={groups} divides", got=f"{c} and {k}")
    if tuple(shape) != (*window.kernel, c // groups, k):
        expected = f"shape {(*window.kernel, c // groups, k)}"
        raise ShapeError(f"{where} {name}", expected=expected, got=f"{tuple(shape)}")
    if min(*images[1:], *window.output_size((images[1], images[2])), k) < 1:
        got = f"x of {tuple(images)} and {window}"
        raise ShapeError(where, expected="an image that the window fits on, and channels", got=got)
    return k


def _outputs(images: Shape, window: Window, k: int) -> Shape:
    return images[0], *window.output_size((images[1], images[2])), k


def conv2d(where: str, x: Any, w: Any, b: Any, window: Window, groups: int = 1) -> None:
    check_floats(where, x=x, w=w)
    check_columns(where, _filters(where, "w", w.shape, x.shape, window, groups), b=b)


def conv2d_backward_input(
    where: str, dy: Any, w: Any, shape: Shape, window: Window, groups: int = 1, add: Any = None
) -> None:
    check_floats(where, dy=dy, w=w)
    check_shape(
        f"{where} dy", dy, _outputs(shape, window, _filters(where, "w", w.shape, shape, window, groups))
    )
    if add is not None:
        check_floats(where, add=add)
        check_shape(f"{where} add", add, shape)


def conv2d_backward_weight(
    where: str, dy: Any, x: Any, shape: Shape, window: Window, groups: int = 1
) -> None:
    check_floats(where, dy=dy, x=x)
    check_shape(
        f"{where} dy", dy, _outputs(x.shape, window, _filters(where, "w", shape, x.shape, window, groups))
    )


def normalized_conv2d(
    where: str, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, w: Any, b: Any, *geometry: Any
) -> None:
    conv2d(where, x, w, b, *geometry)
    check_columns(where, x.shape[3], mean=given(where, mean), s=given(where, s), gamma=gamma, beta=beta)


def normalized_conv2d_backward_weight(
    where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, *geometry: Any
) -> None:
    conv2d_backward_weight(where, dy, x, *geometry)
    check_columns(where, x.shape[3], mean=given(where, mean), s=given(where, s), gamma=gamma, beta=beta)


def pack_filters(
    where: str,
    w: Any,
    shape: Shape,
    window: Window,
    groups: int = 1,
    dtype: Any = None,
) -> None:
    check_floats(where, w=w)
    _filters(where, "w", w.shape, shape, window, groups)


def conv2d_packed(
    where: str,
    x: Any,
    filters: Any,
    b: Any,
    window: Window,
    groups: int = 1,
    add: Any = None,
    relu: bool = False,
) -> None:
    check_floats(where, x=x)
    if not hasattr(filters, "shape"):  # they may be packed, and no array
        raise DataError(f"{where} filters", expected="what pack_filters returned", got=repr(filters))
    k = _filters(where, "filters", filters.shape, x.shape, window, groups)
    check_columns(where, k, b=b)
    if add is not None:
        check_floats(where, add=add)
        check_shape(f"{where} add", add, _outputs(x.shape, window, k))


def images(where: str, x: Any, *_: Any, **__: Any) -> None:
    check_floats(where, x=x)
    check_rank(f"{where} x", x, "n, h, w, c")


def pool(where: str, x: Any, window: Window, **_: Any) -> None:
    images(where, x)
    if min(window.output_size(x.shape[1:3])) < 0:
        raise ShapeError(f"{where} x", expected=f"images that {window} fits on", got=f"shape {x.shape}")


def _of_images(where: str, shape: Shape) -> Shape:
    if len(shape) != 4:
        raise ShapeError(where, expected="images (n, h, w, c)", got=f"shape {tuple(shape)}")
    return shape


def max_pool_backward(where: str, dy: Any, tap: Any, shape: Shape, window: Window) -> None:
    average_pool_backward(where, dy, shape, window)
    check_array(f"{where} tap", tap)
    check_shape(f"{where} tap", tap, dy.shape)


def average_pool_backward(where: str, dy: Any, shape: Shape, window: Window, **_: Any) -> None:
    check_floats(where, dy=dy)
    check_shape(f"{where} dy", dy, _outputs(_of_images(where, shape), window, shape[3]))


def global_pool_backward(where: str, dy: Any, shape: Shape) -> None:
    check_floats(where, dy=dy)
    n, _, _, c = _of_images(where, shape)
    check_shape(f"{where} dy", dy, (n, c))


def pad_backward(where: str, dy: Any, pads: Pads) -> None:
    check_floats(where, dy=dy)
    _, h, w, _ = check_rank(f"{where} dy", dy, "n, h, w, c")
    if h < sum(pads[0]) or w < sum(pads[1]):
        raise ShapeError(f"{where} dy", expected=f"images with a padding of {pads}", got=f"shape {dy.shape}")


def upsample_backward(where: str, dy: Any, size: tuple[int, int]) -> None:
    check_floats(where, dy=dy)
    _, h, w, _ = check_rank(f"{where} dy", dy, "n, h, w, c")
    if h % size[0] or w % size[1]:
        raise ShapeError(f"{where} dy", expected=f"images of blocks of {size}", got=f"shape {dy.shape}")
