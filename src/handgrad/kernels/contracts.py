"""What every kernel takes: the shapes of its arrays, as functions of the kernel's own arguments.

The reference checks them before it computes. The extension module checks them itself, in a few nanoseconds;
what it refuses is put into words by the same functions. So all tables refuse the same arguments with the same
text, and nothing is broadcast that the formulas do not broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from importlib import import_module
from typing import Any

from handgrad.errors import DataError, HandgradError, ShapeError
from handgrad.geometry import Pads, Window
from handgrad.kernels.protocol import Kernel
from handgrad.typing import Shape


class Checked:
    """A kernel of the reference that refuses what its contract does.

    Parameters
    ----------
    kernel : callable
        The function, which trusts what it is given.
    """

    def __init__(self, kernel: Any) -> None:
        self.__name__, self.__module__, self.__doc__ = kernel.__name__, kernel.__module__, kernel.__doc__
        self.kernel: Kernel = kernel
        self.contract = contract_of(kernel.__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, then compute."""
        self.contract(*args, **kwargs)
        return self.kernel(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by name, as functions are."""
        return _checked, (self.__module__, self.__name__)


def _checked(module: str, name: str) -> Checked:
    return Checked(getattr(import_module(module), name))


def contract_of(name: str) -> Callable[..., None]:
    """Return the function that raises ShapeError or DataError if a kernel does not take such arguments."""
    return partial(_CONTRACTS.get(name, _any), name)


def what_is_wrong(
    contract: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> HandgradError | None:
    """Return how the arguments of a call break a contract, or None if they keep it."""
    try:
        contract(*args, **kwargs)
    except HandgradError as error:
        return error
    return None


def _any(where: str, x: Any, *_: Any, **__: Any) -> None:
    _floats(where, x=x)


def _floats(where: str, **arrays: Any) -> None:
    """Raise DataError unless all are arrays of floating-point numbers."""
    for name, a in arrays.items():
        _array(f"{where} {name}", a)
        kind = getattr(a.dtype, "kind", "f")  # of other modules' dtypes nothing is known
        if kind not in "fcV":  # V: bfloat16
            raise DataError(
                f"{where} {name}",
                expected="floating-point numbers",
                got=f"dtype {a.dtype}",
                do="convert them: astype(np.float32)",
            )


def _array(where: str, a: Any) -> None:
    if not (hasattr(a, "shape") and hasattr(a, "dtype")):
        got = "None" if a is None else type(a).__name__
        raise DataError(where, expected="an array", got=got)


def _shape(where: str, a: Any, shape: Shape) -> None:
    if tuple(a.shape) != tuple(shape):
        raise ShapeError(where, expected=f"shape {tuple(shape)}", got=f"{tuple(a.shape)}")


def _rank(where: str, a: Any, axes: str) -> Any:
    """Return the shape, of as many axes as are named."""
    if len(a.shape) != len(axes.split(", ")):
        raise ShapeError(where, expected=f"axes ({axes})", got=f"shape {tuple(a.shape)}")
    return a.shape


def _columns(where: str, c: int, **vectors: Any) -> None:
    """Raise unless all that are not None have shape (c,)."""
    for name, a in vectors.items():
        if a is not None:
            _floats(where, **{name: a})
            _shape(f"{where} {name}", a, (c,))


def _of_dy(where: str, dy: Any, x: Any, *_: Any, **__: Any) -> None:
    _floats(where, dy=dy, x=x)
    _shape(f"{where} dy", dy, x.shape)


def _softmax(where: str, x: Any) -> None:
    _floats(where, x=x)
    if not x.shape:
        raise ShapeError(f"{where} x", expected="rows", got="a single number")


def _softmax_backward(where: str, dy: Any, y: Any) -> None:
    _of_dy(where, dy, y)
    _softmax(where, y)


def _dropout_backward(where: str, dy: Any, mask: Any, rate: float) -> None:  # noqa: ARG001 (as the kernel)
    _floats(where, dy=dy)
    _array(f"{where} mask", mask)
    _shape(f"{where} dy", dy, mask.shape)


def _add(where: str, a: Any, b: Any) -> None:
    _floats(where, a=a, b=b)
    _shape(f"{where} b", b, a.shape)


# conv, fused, packed


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


def _conv2d(where: str, x: Any, w: Any, b: Any, window: Window, groups: int = 1) -> None:
    _floats(where, x=x, w=w)
    _columns(where, _filters(where, "w", w.shape, x.shape, window, groups), b=b)


def _conv2d_backward_input(
    where: str, dy: Any, w: Any, shape: Shape, window: Window, groups: int = 1, add: Any = None
) -> None:
    _floats(where, dy=dy, w=w)
    _shape(f"{where} dy", dy, _outputs(shape, window, _filters(where, "w", w.shape, shape, window, groups)))
    if add is not None:
        _floats(where, add=add)
        _shape(f"{where} add", add, shape)


def _conv2d_backward_weight(
    where: str, dy: Any, x: Any, shape: Shape, window: Window, groups: int = 1
) -> None:
    _floats(where, dy=dy, x=x)
    _shape(f"{where} dy", dy, _outputs(x.shape, window, _filters(where, "w", shape, x.shape, window, groups)))


def _normalized_conv2d(
    where: str, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, w: Any, b: Any, *geometry: Any
) -> None:
    _conv2d(where, x, w, b, *geometry)
    _columns(where, x.shape[3], mean=_given(where, mean), s=_given(where, s), gamma=gamma, beta=beta)


def _normalized_conv2d_backward_weight(
    where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, *geometry: Any
) -> None:
    _conv2d_backward_weight(where, dy, x, *geometry)
    _columns(where, x.shape[3], mean=_given(where, mean), s=_given(where, s), gamma=gamma, beta=beta)


def _given(where: str, a: Any) -> Any:
    _array(where, a)
    return a


def _pack_filters(
    where: str,
    w: Any,
    shape: Shape,
    window: Window,
    groups: int = 1,
    dtype: Any = None,  # noqa: ARG001 (as the kernel)
) -> None:
    _floats(where, w=w)
    _filters(where, "w", w.shape, shape, window, groups)


def _conv2d_packed(
    where: str,
    x: Any,
    filters: Any,
    b: Any,
    window: Window,
    groups: int = 1,
    add: Any = None,
    relu: bool = False,  # noqa: ARG001 (as the kernel)
) -> None:
    _floats(where, x=x)
    if not hasattr(filters, "shape"):  # they may be packed, and no array
        raise DataError(f"{where} filters", expected="what pack_filters returned", got=repr(filters))
    k = _filters(where, "filters", filters.shape, x.shape, window, groups)
    _columns(where, k, b=b)
    if add is not None:
        _floats(where, add=add)
        _shape(f"{where} add", add, _outputs(x.shape, window, k))


# dense


def _dense(where: str, x: Any, w: Any, b: Any) -> None:
    _floats(where, x=x, w=w)
    (m, _), (c, k) = _rank(f"{where} x", x, "m, c"), _rank(f"{where} w", w, "c, k")
    _shape(f"{where} x", x, (m, c))
    _columns(where, k, b=b)


def _dense_backward_input(where: str, dy: Any, w: Any) -> None:
    _floats(where, dy=dy, w=w)
    (m, _), (_, k) = _rank(f"{where} dy", dy, "m, k"), _rank(f"{where} w", w, "c, k")
    _shape(f"{where} dy", dy, (m, k))


def _dense_backward_weight(where: str, dy: Any, x: Any) -> None:
    _floats(where, dy=dy, x=x)
    (_, k), (m, _) = _rank(f"{where} dy", dy, "m, k"), _rank(f"{where} x", x, "m, c")
    _shape(f"{where} dy", dy, (m, k))


def _bias_backward(where: str, dy: Any) -> None:
    _floats(where, dy=dy)
    if not dy.shape:
        raise ShapeError(f"{where} dy", expected="axes (..., k)", got="a single number")


# norm, group_norm


def _statistics(where: str, x: Any) -> None:
    _floats(where, x=x)
    _rank(f"{where} x", x, "m, c")


def _batch_norm(where: str, x: Any, mean: Any, s: Any, gamma: Any, beta: Any, residual: Any = None) -> None:
    _statistics(where, x)
    _columns(where, x.shape[1], mean=_given(where, mean), s=_given(where, s), gamma=gamma, beta=beta)
    if residual is not None:
        _floats(where, residual=residual)
        _shape(f"{where} residual", residual, x.shape)


def _batch_norm_backward(
    where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any, m: int | None = None
) -> None:
    _batch_norm_relu_backward(where, dy, x, None, mean, s, gamma, None, m)


def _batch_norm_relu_backward(
    where: str,
    dy: Any,
    x: Any,
    y: Any,
    mean: Any,
    s: Any,
    gamma: Any,
    beta: Any,
    m: int | None = None,  # noqa: ARG001 (as the kernel)
) -> None:
    _batch_norm(where, x, mean, s, gamma, beta)
    _of_dy(where, dy, x)
    if y is not None:
        _floats(where, y=y)
        _shape(f"{where} y", y, x.shape)


def _group_norm(where: str, x: Any, gamma: Any, beta: Any, groups: int, epsilon: float) -> None:  # noqa: ARG001 (as the kernel)
    _floats(where, x=x)
    _, _, c = _rank(f"{where} x", x, "n, m, c")
    if groups < 1 or c % groups:
        raise ShapeError(where, expected=f"channels that groups={groups} divides", got=f"{c}")
    _columns(where, c, gamma=gamma, beta=beta)


def _group_norm_backward(where: str, dy: Any, x: Any, mean: Any, s: Any, gamma: Any) -> None:
    _floats(where, x=x, mean=mean, s=s)
    (n, _, _), (_, groups) = _rank(f"{where} x", x, "n, m, c"), _rank(f"{where} s", s, "n, groups")
    _group_norm(where, x, gamma, None, groups, 0)
    _of_dy(where, dy, x)
    for name, a in (("mean", mean), ("s", s)):
        _shape(f"{where} {name}", a, (n, groups))


def _rms_norm(where: str, x: Any, gamma: Any, epsilon: float) -> None:  # noqa: ARG001 (as the kernel)
    _floats(where, x=x)
    _columns(where, _rank(f"{where} x", x, "n, c")[1], gamma=gamma)


def _rms_norm_backward(where: str, dy: Any, x: Any, s: Any, gamma: Any) -> None:
    _rms_norm(where, x, gamma, 0)
    _of_dy(where, dy, x)
    _floats(where, s=s)
    _shape(f"{where} s", s, (x.shape[0],))


# pool, resize


def _images(where: str, x: Any, *_: Any, **__: Any) -> None:
    _floats(where, x=x)
    _rank(f"{where} x", x, "n, h, w, c")


def _pool(where: str, x: Any, window: Window, **_: Any) -> None:
    _images(where, x)
    if min(window.output_size(x.shape[1:3])) < 0:
        raise ShapeError(f"{where} x", expected=f"images that {window} fits on", got=f"shape {x.shape}")


def _of_images(where: str, shape: Shape) -> Shape:
    if len(shape) != 4:
        raise ShapeError(where, expected="images (n, h, w, c)", got=f"shape {tuple(shape)}")
    return shape


def _max_pool_backward(where: str, dy: Any, tap: Any, shape: Shape, window: Window) -> None:
    _average_pool_backward(where, dy, shape, window)
    _array(f"{where} tap", tap)
    _shape(f"{where} tap", tap, dy.shape)


def _average_pool_backward(where: str, dy: Any, shape: Shape, window: Window, **_: Any) -> None:
    _floats(where, dy=dy)
    _shape(f"{where} dy", dy, _outputs(_of_images(where, shape), window, shape[3]))


def _global_pool_backward(where: str, dy: Any, shape: Shape) -> None:
    _floats(where, dy=dy)
    n, _, _, c = _of_images(where, shape)
    _shape(f"{where} dy", dy, (n, c))


def _pad_backward(where: str, dy: Any, pads: Pads) -> None:
    _floats(where, dy=dy)
    _, h, w, _ = _rank(f"{where} dy", dy, "n, h, w, c")
    if h < sum(pads[0]) or w < sum(pads[1]):
        raise ShapeError(f"{where} dy", expected=f"images with a padding of {pads}", got=f"shape {dy.shape}")


def _upsample_backward(where: str, dy: Any, size: tuple[int, int]) -> None:
    _floats(where, dy=dy)
    _, h, w, _ = _rank(f"{where} dy", dy, "n, h, w, c")
    if h % size[0] or w % size[1]:
        raise ShapeError(f"{where} dy", expected=f"images of blocks of {size}", got=f"shape {dy.shape}")


# recurrent, loss, update


def _simple_rnn(where: str, x: Any, W: Any, U: Any, b: Any, f: str) -> None:  # noqa: ARG001 (as the kernel)
    _floats(where, x=x, W=W, U=U)
    c, (_, k) = _rank(f"{where} x", x, "n, t, c")[2], _rank(f"{where} W", W, "c, k")
    _shape(f"{where} W", W, (c, k))
    _shape(f"{where} U", U, (k, k))
    _columns(where, k, b=b)


def _simple_rnn_backward(
    where: str,
    dh: Any,
    x: Any,
    h: Any,
    W: Any,
    U: Any,
    f: str,
    truncate: int | None = None,  # noqa: ARG001 (as the kernel)
) -> None:
    _simple_rnn(where, x, W, U, None, f)
    _floats(where, dh=dh, h=h)
    for name, a in (("h", h), ("dh", dh)):
        _shape(f"{where} {name}", a, (*x.shape[:2], W.shape[1]))


def _cross_entropy(where: str, z: Any, labels: Any, *, smoothing: float = 0.0) -> None:  # noqa: ARG001 (as the kernel)
    _floats(where, z=z)
    n, k = _rank(f"{where} z", z, "n, k")
    _array(f"{where} labels", labels)
    if tuple(labels.shape) not in ((n,), (n, k)):
        expected = f"shape {(n,)}, or {(n, k)} of targets"
        raise ShapeError(f"{where} labels", expected=expected, got=f"{tuple(labels.shape)}")


def _of_targets(where: str, z: Any, t: Any) -> None:
    _floats(where, z=z)
    _array(f"{where} t", t)
    _shape(f"{where} t", t, z.shape)


def _update(where: str, p: Any, g: Any, *state: Any, **options: Any) -> None:
    given = [a for a in (*state, *options.values()) if hasattr(a, "shape") and a.shape]
    _floats(where, p=p, g=g)
    for name, a in (("g", g), *(("state", a) for a in given)):
        _shape(f"{where} {name}", a, p.shape)


_OF_ELEMENTS = ("relu", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "tanh", "gelu", "silu")

_CONTRACTS: dict[str, Callable[..., None]] = {
    "conv2d": _conv2d,
    "conv2d_backward_input": _conv2d_backward_input,
    "conv2d_backward_weight": _conv2d_backward_weight,
    "conv2d_statistics": _conv2d,
    "batch_norm_relu_conv2d": _normalized_conv2d,
    "batch_norm_relu_conv2d_statistics": _normalized_conv2d,
    "batch_norm_relu_conv2d_backward_weight": _normalized_conv2d_backward_weight,
    "pack_filters": _pack_filters,
    "conv2d_packed": _conv2d_packed,
    "dense": _dense,
    "dense_backward_input": _dense_backward_input,
    "dense_backward_weight": _dense_backward_weight,
    "bias_backward": _bias_backward,
    "batch_norm_statistics": _statistics,
    "batch_norm": _batch_norm,
    "batch_norm_backward": _batch_norm_backward,
    "batch_norm_backward_constant": _batch_norm_backward,
    "batch_norm_relu": _batch_norm,
    "batch_norm_relu_backward": _batch_norm_relu_backward,
    "batch_norm_relu_backward_constant": _batch_norm_relu_backward,
    "group_norm": _group_norm,
    "group_norm_backward": _group_norm_backward,
    "rms_norm": _rms_norm,
    "rms_norm_backward": _rms_norm_backward,
    "max_pool2d": _pool,
    "max_pool2d_backward": _max_pool_backward,
    "average_pool2d": _pool,
    "average_pool2d_backward": _average_pool_backward,
    "global_average_pool2d": _images,
    "global_average_pool2d_backward": _global_pool_backward,
    "pad2d": _images,
    "pad2d_backward": _pad_backward,
    "upsample2d": _images,
    "upsample2d_backward": _upsample_backward,
    **{f"{name}_backward": _of_dy for name in _OF_ELEMENTS},
    "softmax": _softmax,
    "softmax_backward": _softmax_backward,
    "dropout_backward": _dropout_backward,
    "add": _add,
    "simple_rnn": _simple_rnn,
    "simple_rnn_backward": _simple_rnn_backward,
    "softmax_cross_entropy": _cross_entropy,
    "binary_cross_entropy": _of_targets,
    "mean_squared_error": _of_targets,
    **dict.fromkeys(("sgd", "adagrad", "adadelta", "rmsprop", "adam", "muon"), _update),
}
