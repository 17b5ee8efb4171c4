"""How accurate compiled operations are in float32, here and in PyTorch: both beside float64.

    python -m pip install torch==2.13.0
    python -m benchmarks.accuracy [WORD ...]

Words choose operations by their names. The exact result is that of the reference kernels in float64 for the
same float32 numbers; upstream gradients are random. Errors are root mean squares of the error by those of the
result, in units of 1e-7:

handgrad       the compiled kernels, as they are chosen for the shape
plain          the reference kernels in float32: products of matrices by NumPy
contiguous,
channels_last  PyTorch, in its memory layouts
ratio          handgrad's by the smaller of PyTorch's, and how large it may be; ! where it is larger
largest        the largest error by the largest result: handgrad's, and the smaller of PyTorch's

Without PyTorch its columns are missing. With --algorithms convolutions also take every algorithm that can
compute them.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.shapes import Conv, normal
from handgrad.bench import machine, pytorch, quick
from handgrad.geometry import Window
from handgrad.kernels import Kernels, default_kernels, tables
from handgrad.kernels.cpu.algorithm import TILES
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from handgrad.typing import Array, DTypeLike

MOST = {"forward": 2.0, "d input": 2.0, "d weight": 4.0, "d bias": 4.0, "d gamma": 4.0, "d beta": 4.0}
"""How many times PyTorch's error may be ours, of each result that an operation can have."""

Results = dict[str, Array]
"""Of one operation, by the names in `MOST`."""


@dataclass(frozen=True)
class Case:
    """An operation and its gradients.

    Attributes
    ----------
    name : str
        Of the operation.
    ours : callable
        Returns results from kernels and the dtype to compute in.
    theirs : callable
        Returns PyTorch's in a memory layout, in the order of ours.
    tiles : tuple of int
        Of Winograd's algorithm, that could compute it.
    """

    name: str
    ours: Callable[[Kernels, DTypeLike], Results]
    theirs: Callable[[str], Results]
    tiles: tuple[int, ...] = ()

    def __str__(self) -> str:
        return self.name


@dataclass(frozen=True)
class Error:
    """Of a result, relative: by root mean squares, and the largest by the largest."""

    rms: float
    largest: float

    @classmethod
    def of(cls, y: Array, exact: Array) -> Error:
        assert y.shape == exact.shape
        error = y.astype(np.float64) - exact
        return cls(_rms(error) / _rms(exact), float(np.abs(error).max() / np.abs(exact).max()))


def errors(found: Results, exact: Results) -> dict[str, Error]:
    """Return the errors of results by their names."""
    return {name: Error.of(y, exact[name]) for name, y in found.items()}


def torch_errors(case: Case, exact: Results) -> dict[str, dict[str, Error]]:
    """Return PyTorch's errors by memory layout."""
    return {layout: errors(case.theirs(layout), exact) for layout in pytorch.LAYOUTS}


def ratio(ours: float, theirs: float) -> float:
    """Return how many times theirs an error is; where there is none, 1."""
    return 1.0 if ours == theirs else ours / theirs if theirs else math.inf


def _rms(a: Array) -> float:
    return float(np.sqrt(np.mean(a * a)))


# --- PyTorch ----------------------------------------------------------------------------------------------


def with_gradients(f: Callable[..., Any], dy: Array, inputs: Results, layout: str) -> Results:
    """Return what PyTorch computes of a function and its gradients, in the order of handgrad's arrays.

    Inputs are named by their gradients.
    """
    import torch

    tensors = {name: _tensor(name, a, layout).requires_grad_() for name, a in inputs.items()}
    y = f(*tensors.values())
    gradients = torch.autograd.grad(y, [*tensors.values()], _tensor("forward", dy, layout))
    found = dict(zip(tensors, gradients, strict=True)) | {"forward": y.detach()}
    return {name: _array(name, t) for name, t in found.items()}


def _tensor(name: str, a: Array, layout: str) -> Any:
    import torch

    if a.ndim == 4:
        return pytorch.images(a.transpose(3, 0, 1, 2) if name == "d weight" else a, layout)
    return torch.from_numpy(np.ascontiguousarray(a.T if name == "d weight" else a))


def _array(name: str, t: Any) -> Array:
    if name == "d weight":
        t = t.permute(2, 3, 1, 0) if t.ndim == 4 else t.T
    elif t.ndim == 4:
        t = t.permute(0, 2, 3, 1)
    a: Array = t.numpy()
    return a


def functional() -> Any:
    import torch

    return torch.nn.functional


# --- operations -------------------------------------------------------------------------------------------

CONVOLUTIONS = (
    Conv(128, 3, 32, 16),
    Conv(128, 3, 32, 64),
    Conv(128, 16, 32, 16),
    Conv(128, 32, 16, 32),
    Conv(128, 64, 32, 64),
    Conv(128, 64, 16, 64, pad=0),
    Conv(128, 64, 8, 64),
    Conv(128, 128, 16, 128),
    Conv(128, 256, 8, 256),
    Conv(128, 512, 4, 512),
    Conv(128, 16, 32, 32, stride=2),
    Conv(128, 64, 32, 128, stride=2),
    Conv(128, 128, 16, 256, stride=2),
    Conv(32, 64, 32, 256, kernel=1),
    Conv(32, 256, 32, 64, kernel=1),
    Conv(128, 64, 32, 128, kernel=1, stride=2),
    Conv(64, 1, 28, 6, kernel=5),
    Conv(64, 6, 14, 16, kernel=5),
    Conv(64, 6, 14, 16, kernel=5, pad=0),
    Conv(64, 32, 14, 64, kernel=5),
    Conv(64, 32, 14, 64, kernel=5, pad=0),
    Conv(32, 3, 112, 64, kernel=7, stride=2),
    Conv(128, 64, 32, 64, groups=64),
    Conv(128, 64, 16, 64, groups=4),
)
NORMALIZED = (
    Conv(128, 16, 32, 16),
    Conv(128, 64, 32, 64),
    Conv(128, 256, 8, 256),
    Conv(64, 32, 14, 64, kernel=5),
)
EPSILON = 1e-5


def convolution(s: Conv) -> Case:
    window, tiles, x, dy, w = _parts(s)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        a, b, dc = x.astype(dtype), w.astype(dtype), dy.astype(dtype)
        return {
            "forward": kernels.conv2d(a, b, None, window, s.groups),
            "d input": kernels.conv2d_backward_input(dc, b, x.shape, window, s.groups),
            "d weight": kernels.conv2d_backward_weight(dc, a, w.shape, window, s.groups),
        }

    def conv(x: Any, w: Any) -> Any:
        return functional().conv2d(x, w, None, s.stride, window.pads[0][0], 1, s.groups)

    theirs = partial(with_gradients, conv, dy, {"d input": x, "d weight": w})
    return Case(str(s), ours, theirs, tiles)


def normalized_convolution(s: Conv) -> Case:
    """Return batch normalization, ReLU and convolution, as residual networks have them."""
    window, tiles, x, dy, w = _parts(s)
    gamma, beta = _scale(s.c)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        a, dc = x.astype(dtype), dy.astype(dtype)
        norm = *_statistics(kernels, _rows(a)), gamma.astype(dtype), beta.astype(dtype)
        y = kernels.batch_norm_relu_conv2d_statistics(a, *norm, w.astype(dtype), None, window)[0]
        dw = kernels.batch_norm_relu_conv2d_backward_weight(dc, a, *norm, w.shape, window)
        return {"forward": y, "d weight": dw}

    def theirs(layout: str) -> Results:
        f, images = functional(), pytorch.images(x, layout)

        def conv(w: Any) -> Any:
            of = (_tensor("", a, layout) for a in (gamma, beta))
            z = f.relu(f.batch_norm(images, None, None, *of, training=True, eps=EPSILON))
            return f.conv2d(z, w, None, s.stride, window.pads[0][0])

        return with_gradients(conv, dy, {"d weight": w}, layout)

    return Case(f"BN + ReLU + {s}", ours, theirs, tiles)


def _parts(s: Conv) -> tuple[Window, tuple[int, ...], Array, Array, Array]:
    """Return its window, the tiles for it, images, upstream gradient and filters."""
    tiles = TILES.get((s.kernel, s.stride), ()) if s.groups == 1 else ()
    oh, ow = s.window.output_size((s.h, s.h))
    x, dy, w = normal(s.n, s.h, s.h, s.c), normal(s.n, oh, ow, s.k, seed=1), normal(*s.filters, seed=2)
    return s.window, tiles, x, dy, w


def _scale(c: int) -> tuple[Array, Array]:
    return 1 + np.float32(0.3) * normal(c, seed=3), normal(c, seed=4)


def _rows(x: Array) -> Array:
    return x.reshape(-1, x.shape[-1])


def _statistics(kernels: Kernels, rows: Array) -> tuple[Array, Array]:
    """Return the mean and ``1/sqrt(var + epsilon)``."""
    mean, var = kernels.batch_norm_statistics(rows)
    return mean, 1 / np.sqrt(var + EPSILON)


def normalization(shape: tuple[int, int, int, int], mean: float, *, relu: bool) -> Case:
    """Return batch normalization of images whose means are so many times their deviation.

    Or, with `relu`, its sum with a residual and ReLU.
    """
    x, dy, r = (mean + normal(*shape)).astype(np.float32), normal(*shape, seed=1), normal(*shape, seed=2)
    gamma, beta = _scale(shape[3])

    def z(kernels: Kernels, dtype: DTypeLike) -> tuple[Array, tuple[Array, ...]]:
        rows = _rows(x).astype(dtype)
        norm = *_statistics(kernels, rows), gamma.astype(dtype), beta.astype(dtype)
        if relu:
            return kernels.batch_norm_relu(rows, *norm, _rows(r).astype(dtype)), (rows, *norm)
        return kernels.batch_norm(rows, *norm), (rows, *norm)

    if relu:  # where the sum is nearly 0, rounding decides whether the gradient passes
        rows = _rows(x).astype(np.float64)
        sums = REFERENCE.batch_norm(rows, *_statistics(REFERENCE, rows), gamma, beta) + _rows(r)
        dy = np.where(np.abs(sums.reshape(shape)) < 1e-3, np.float32(0), dy)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        y, (rows, m, s, *of) = z(kernels, dtype)
        upstream = _rows(dy).astype(dtype)
        if relu:
            dx, dgamma, dbeta, _ = kernels.batch_norm_relu_backward(upstream, rows, y, m, s, *of)
        else:
            dx, dgamma, dbeta = kernels.batch_norm_backward(upstream, rows, m, s, of[0])
        return {
            "forward": y.reshape(shape),
            "d input": dx.reshape(shape),
            "d gamma": dgamma,
            "d beta": dbeta,
        }

    def norm(x: Any, gamma: Any, beta: Any, layout: str) -> Any:
        y = functional().batch_norm(x, None, None, gamma, beta, training=True, eps=EPSILON)
        return (y + pytorch.images(r, layout)).relu() if relu else y

    def theirs(layout: str) -> Results:
        inputs = {"d input": x, "d gamma": gamma, "d beta": beta}
        return with_gradients(partial(norm, layout=layout), dy, inputs, layout)

    sizes = "x".join(map(str, shape))
    return Case(f"BN{' + sum + ReLU' * relu} {sizes} mean {mean:g}", ours, theirs)


def row_normalization(m: int, c: int, mean: float) -> Case:
    """Return layer normalization of rows whose means are so many times their deviation."""
    x, dy = (mean + normal(m, c)).astype(np.float32), normal(m, c, seed=1)
    gamma, beta = _scale(c)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        rows = x.astype(dtype)[:, None]
        y, *of_rows = kernels.group_norm(rows, gamma.astype(dtype), beta.astype(dtype), 1, EPSILON)
        dx, dgamma, dbeta = kernels.group_norm_backward(
            dy.astype(dtype)[:, None], rows, *of_rows, gamma.astype(dtype)
        )
        return {"forward": y[:, 0], "d input": dx[:, 0], "d gamma": dgamma, "d beta": dbeta}

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        return functional().layer_norm(x, (c,), gamma, beta, EPSILON)

    inputs = {"d input": x, "d gamma": gamma, "d beta": beta}
    return Case(f"layer normalization {m}x{c} mean {mean:g}", ours, partial(with_gradients, norm, dy, inputs))


def mean_square_normalization(m: int, c: int) -> Case:
    x, dy, (gamma, _) = normal(m, c), normal(m, c, seed=1), _scale(c)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        y, s = kernels.rms_norm(x.astype(dtype), gamma.astype(dtype), EPSILON)
        dx, dgamma = kernels.rms_norm_backward(dy.astype(dtype), x.astype(dtype), s, gamma.astype(dtype))
        return {"forward": y, "d input": dx, "d gamma": dgamma}

    def norm(x: Any, gamma: Any) -> Any:
        return functional().rms_norm(x, (c,), gamma, EPSILON)

    theirs = partial(with_gradients, norm, dy, {"d input": x, "d gamma": gamma})
    return Case(f"RMS normalization {m}x{c}", ours, theirs)


def group_normalization(n: int, h: int, c: int, groups: int, mean: float) -> Case:
    """Return normalization of groups whose means are so many times their deviation."""
    x, dy = (mean + normal(n, h, h, c)).astype(np.float32), normal(n, h, h, c, seed=1)
    gamma, beta = _scale(c)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        places, upstream = (a.reshape(n, h * h, c).astype(dtype) for a in (x, dy))
        y, *of_groups = kernels.group_norm(places, gamma.astype(dtype), beta.astype(dtype), groups, EPSILON)
        dx, dgamma, dbeta = kernels.group_norm_backward(upstream, places, *of_groups, gamma.astype(dtype))
        return {
            "forward": y.reshape(x.shape),
            "d input": dx.reshape(x.shape),
            "d gamma": dgamma,
            "d beta": dbeta,
        }

    def norm(x: Any, gamma: Any, beta: Any) -> Any:
        return functional().group_norm(x, groups, gamma, beta, EPSILON)

    theirs = partial(with_gradients, norm, dy, {"d input": x, "d gamma": gamma, "d beta": beta})
    return Case(f"{groups} groups normalized {n}x{h}x{h}x{c} mean {mean:g}", ours, theirs)


def max_pooling(n: int, h: int, c: int, size: int, stride: int, p: int) -> Case:
    window = Window((size, size), (stride, stride), (1, 1), ((p, p), (p, p)))
    x, dy = normal(n, h, h, c), normal(n, *window.output_size((h, h)), c, seed=1)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        y, tap = kernels.max_pool2d(x.astype(dtype), window)
        return {
            "forward": y,
            "d input": kernels.max_pool2d_backward(dy.astype(dtype), tap, x.shape, window),
        }

    def pool(x: Any) -> Any:
        return functional().max_pool2d(x, size, stride, p)

    name = f"max pooling {size}x{size} /{stride} {n}x{h}x{h}x{c}"
    return Case(name, ours, partial(with_gradients, pool, dy, {"d input": x}))


def average_pooling(n: int, h: int, c: int, size: int, stride: int, p: int) -> Case:
    window = Window((size, size), (stride, stride), (1, 1), ((p, p), (p, p)))
    x, dy = normal(n, h, h, c), normal(n, *window.output_size((h, h)), c, seed=1)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        return {
            "forward": kernels.average_pool2d(x.astype(dtype), window),
            "d input": kernels.average_pool2d_backward(dy.astype(dtype), x.shape, window),
        }

    def pool(x: Any) -> Any:
        return functional().avg_pool2d(x, size, stride, p, count_include_pad=False)

    name = f"average pooling {size}x{size} /{stride} {n}x{h}x{h}x{c}"
    return Case(name, ours, partial(with_gradients, pool, dy, {"d input": x}))


def mean_pooling(n: int, h: int, c: int) -> Case:
    x, dy = normal(n, h, h, c), normal(n, c, seed=1)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        return {
            "forward": kernels.global_average_pool2d(x.astype(dtype)),
            "d input": kernels.global_average_pool2d_backward(dy.astype(dtype), x.shape),
        }

    theirs = partial(with_gradients, lambda x: x.mean((2, 3)), dy, {"d input": x})
    return Case(f"global average pooling {n}x{h}x{h}x{c}", ours, theirs)


def dense(m: int, c: int, k: int) -> Case:
    x, w, b, dy = normal(m, c), normal(c, k, seed=1), normal(k, seed=2), normal(m, k, seed=3)

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        a, filters, upstream = x.astype(dtype), w.astype(dtype), dy.astype(dtype)
        return {
            "forward": kernels.dense(a, filters, b.astype(dtype)),
            "d input": kernels.dense_backward_input(upstream, filters),
            "d weight": kernels.dense_backward_weight(upstream, a),
            "d bias": kernels.bias_backward(upstream),
        }

    def linear(x: Any, w: Any, b: Any) -> Any:
        return functional().linear(x, w, b)

    theirs = partial(with_gradients, linear, dy, {"d input": x, "d weight": w, "d bias": b})
    return Case(f"dense {m}x{c}-{k}", ours, theirs)


BATCHES = 32
"""Of a loss: its value is one number, whose error is a matter of luck."""


def cross_entropy(n: int, k: int) -> Case:
    z, y = 3 * normal(BATCHES, n, k), Stream((1,)).integers(0, k, (BATCHES, n))

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        return _losses(partial(kernels.softmax_cross_entropy, smoothing=0.0), z.astype(dtype), y)

    def losses(z: Any) -> Any:
        import torch

        return torch.stack(
            [functional().cross_entropy(*batch) for batch in zip(z, torch.from_numpy(y), strict=True)]
        )

    ones = np.ones(BATCHES, np.float32)
    return Case(f"cross entropy {n}x{k}", ours, partial(with_gradients, losses, ones, {"d input": z}))


def two_losses() -> Iterator[Case]:
    """Yield binary cross entropy and the mean squared error."""
    z, t = 3 * normal(BATCHES, 4096), Stream((1,)).uniform((BATCHES, 4096))
    for name, theirs in {
        "binary_cross_entropy": "binary_cross_entropy_with_logits",
        "mean_squared_error": "mse_loss",
    }.items():

        def ours(kernels: Kernels, dtype: DTypeLike, name: str = name) -> Results:
            return _losses(getattr(kernels, name), z.astype(dtype), t.astype(dtype))

        def losses(z: Any, theirs: str = theirs) -> Any:
            import torch

            loss = getattr(functional(), theirs)
            return torch.stack([loss(*batch) for batch in zip(z, torch.from_numpy(t), strict=True)])

        ones = np.ones(BATCHES, np.float32)
        title = f"{name.replace('_', ' ')} 4096"
        yield Case(title, ours, partial(with_gradients, losses, ones, {"d input": z}))


def _losses(loss: Callable[[Array, Array], tuple[Array, Array]], z: Array, y: Array) -> Results:
    values, gradients = zip(*(loss(*batch) for batch in zip(z, y, strict=True)), strict=True)
    return {"forward": np.array(values), "d input": np.stack(gradients)}


FROM_OUTPUT = ("sigmoid", "tanh", "softmax")
"""Activations whose gradient is computed from what they gave."""

ACTIVATIONS: dict[str, tuple[tuple[Any, ...], dict[str, Any], dict[str, Any]]] = {
    # arguments of both, and keywords of ours and of theirs
    "elu": ((0.7,), {}, {}),
    "selu": ((), {}, {}),
    "softplus": ((), {}, {}),
    "sigmoid": ((), {}, {}),
    "tanh": ((), {}, {}),
    "gelu": ((), {"approximate": False}, {"approximate": "none"}),
    "gelu by tanh": ((), {"approximate": True}, {"approximate": "tanh"}),
    "silu": ((), {}, {}),
    "softmax": ((), {}, {"dim": 1}),
}


def activation(title: str) -> Case:
    x, dy = 2 * normal(1000, 100), normal(1000, 100, seed=1)
    (rest, kwargs, of_torch), name = ACTIVATIONS[title], title.partition(" ")[0]

    def ours(kernels: Kernels, dtype: DTypeLike) -> Results:
        a = x.astype(dtype)
        y = getattr(kernels, name)(a, *rest, **kwargs)
        backward = getattr(kernels, f"{name}_backward")
        dx = backward(dy.astype(dtype), y if name in FROM_OUTPUT else a, *rest, **kwargs)
        return {"forward": y, "d input": dx}

    def theirs(x: Any) -> Any:
        return getattr(functional(), name)(x, *rest, **of_torch)

    return Case(f"{title} 1000x100", ours, partial(with_gradients, theirs, dy, {"d input": x}))


def cases() -> Iterator[Case]:
    """Yield all of them; the arrays of one are made when it is its turn."""
    yield from map(convolution, CONVOLUTIONS)
    yield from map(normalized_convolution, NORMALIZED)
    for relu in (False, True):
        for mean in (0.0, 1e2, 1e4, 1e6):
            yield normalization((128, 32, 32, 16), mean, relu=relu)
    yield normalization((128, 4, 4, 512), 0.0, relu=False)
    yield from small_cases()


def small_cases() -> Iterator[Case]:
    """Yield those that take no time."""
    for mean in (0.0, 1e2, 1e4, 1e6):
        yield row_normalization(1000, 100, mean)
        yield group_normalization(9, 12, 24, 4, mean)
    yield group_normalization(16, 32, 64, 64, 0.0)
    yield row_normalization(20, 20_000, 0.0)
    yield mean_square_normalization(1000, 100)
    yield max_pooling(16, 32, 64, 2, 2, 0)
    yield max_pooling(16, 56, 64, 3, 2, 1)
    yield average_pooling(16, 32, 64, 2, 2, 0)
    yield average_pooling(16, 56, 64, 3, 2, 1)
    yield mean_pooling(128, 4, 512)
    yield mean_pooling(128, 32, 64)
    for rows in ((128, 512, 10), (256, 256, 10), (128, 1568, 256), (512, 1024, 1024)):
        yield dense(*rows)
    yield cross_entropy(128, 10)
    yield cross_entropy(128, 1000)
    yield from two_losses()
    yield from map(activation, ACTIVATIONS)


# --- the table --------------------------------------------------------------------------------------------


def with_algorithm(name: str, algorithm: int) -> Kernels:
    """Return the compiled table of that name in which convolutions use one algorithm wherever they can."""
    from handgrad.kernels.cpu import cpu_kernels
    from handgrad.kernels.extension import load

    return cpu_kernels(next(t for t in load().module.tables() if t.name == name), algorithm=algorithm)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="in the names of operations (default: all)")
    parser.add_argument("--algorithms", action="store_true", help="all that can compute a convolution")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    with_torch = importlib.util.find_spec("torch") is not None
    instructions = next(name for name in tables() if name != "cpu")
    about = {"torch": quick.torch_version(), "kernels": instructions, "machine": machine.cpu_name()}
    print(*(f"{name:8} {text}" for name, text in about.items()), sep="\n")
    print(f"\n{HEAD}")
    rows = []
    for case in cases():
        if options.words and not any(word in case.name for word in options.words):
            continue
        for row in measured(case, instructions, with_torch=with_torch, algorithms=options.algorithms):
            rows.append(row)
            print(line(row), flush=True)
    too_large = sum(row.get("ratio", 0) > row["most"] for row in rows)
    print(f"\n{too_large} of {len(rows)} larger than they may be")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "accuracy.json"
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    print(path)


def measured(
    case: Case, instructions: str, *, with_torch: bool, algorithms: bool
) -> Iterator[dict[str, Any]]:
    """Yield a row for each result, and with `algorithms` one for each of them."""
    exact = case.ours(REFERENCE, np.float64)
    plain = errors(case.ours(REFERENCE, np.float32), exact)
    theirs = torch_errors(case, exact) if with_torch else {}
    found = {"": errors(case.ours(default_kernels(), np.float32), exact)}
    if algorithms and case.tiles and instructions != "reference":
        for tile in (0, *case.tiles):
            title = f"{tile}x{tile}" if tile else "direct"
            found[title] = errors(case.ours(with_algorithm(instructions, tile), np.float32), exact)
    for name in exact:
        for algorithm, ours in found.items():
            row: dict[str, Any] = {"name": case.name, "result": name, "algorithm": algorithm}
            row |= {"handgrad": asdict(ours[name]), "plain": asdict(plain[name]), "most": MOST[name]}
            if theirs:
                row |= {layout: asdict(of[name]) for layout, of in theirs.items()}
                row["ratio"] = ratio(ours[name].rms, min(of[name].rms for of in theirs.values()))
            yield row


HEAD = (
    f"{'':45} {'':8} {'':6} {'handgrad':>8} {'plain':>8} {'contiguous':>10} {'channels_last':>13} "
    f"{'ratio':>9}  {'largest':>15}"
)


def line(row: dict[str, Any]) -> str:
    def of(way: str, kind: str = "rms") -> float:
        return row[way][kind] * 1e7 if way in row else math.nan

    text = f"{row['name']:45} {row['result']:8} {row['algorithm']:6} {of('handgrad'):8.2f} {of('plain'):8.2f}"
    if "ratio" not in row:
        return f"{text} {'':10} {'':13} {'':9}  {of('handgrad', 'largest'):7.1f}"
    largest = min(of(layout, "largest") for layout in pytorch.LAYOUTS)
    mark = "!" if row["ratio"] > row["most"] else " "
    return (
        f"{text} {of('contiguous'):10.2f} {of('channels_last'):13.2f} "
        f"{row['ratio']:5.2f} / {row['most']:.0f}{mark} {of('handgrad', 'largest'):7.1f} {largest:7.1f}"
    )


if __name__ == "__main__":
    main()
