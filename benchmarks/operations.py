"""Single operations here and in PyTorch, and how near they come to what the machine can do.

    python -m pip install torch==2.13.0
    python -m benchmarks.operations [WORD ...]

Words choose operations by their names. Both programs take turns in one process, PyTorch with the better of
its memory layouts, after their results were compared. Columns:

ms             medians
GFLOP/s        operations of the direct algorithm, also where another needs fewer; share of the peak: that of
               the best product of matrices found in the same run
GB/s           the least an operation can move: every array once (batch normalization has to read its input
               twice); share of the bandwidth of a large copy in the same run
roof           time by the roofline, the greater of operations/peak and bytes/bandwidth, by the time it took
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.normalizations import group_normalization, modes, normalization, row_normalization
from benchmarks.operation import ATEN, KERNELS, Operation, as_filters, as_images, by_layout, filters
from benchmarks.shapes import Conv, normal
from benchmarks.worker import environment
from handgrad import models, optim
from handgrad.bench import machine, pytorch
from handgrad.bench.clock import Quiet, Step, Times
from handgrad.bench.compare import Comparison, compare
from handgrad.geometry import Window
from handgrad.kernels import reuse_memory
from handgrad.rng import Stream

TOLERANCE = 1e-3


CONVOLUTIONS = (
    Conv(128, 64, 32, 64),
    Conv(128, 128, 16, 128),
    Conv(128, 256, 8, 256),
    Conv(128, 512, 4, 512),
    Conv(128, 16, 32, 16),
    Conv(128, 32, 16, 32),
    Conv(128, 64, 32, 128, stride=2),
    Conv(128, 128, 16, 256, stride=2),
    Conv(32, 64, 32, 256, kernel=1),
    Conv(32, 256, 32, 64, kernel=1),
    Conv(128, 64, 32, 128, kernel=1, stride=2),
    Conv(128, 3, 32, 64),
    Conv(128, 64, 32, 3),  # images out
    Conv(32, 3, 112, 64, kernel=7, stride=2),
    Conv(128, 64, 32, 64, groups=64),
    Conv(64, 16, 14, 32, kernel=5),
    Conv(64, 1, 28, 8, kernel=5),  # LeNet
    Conv(64, 1, 28, 16),
    Conv(256, 1, 8, 16),  # digits
    Conv(256, 16, 8, 32),
    Conv(128, 3, 32, 16),  # ResNet-20
    Conv(128, 16, 32, 32, stride=2),
    Conv(128, 32, 16, 64, stride=2),
    Conv(128, 64, 8, 64),
    Conv(128, 16, 32, 32, kernel=1, stride=2),
    Conv(1, 64, 32, 64),  # inference of one image, ResNet-18
    Conv(1, 128, 16, 256, stride=2),
    Conv(1, 256, 8, 512, kernel=1, stride=2),
    Conv(1, 512, 4, 512),
)


def convolution(s: Conv) -> Iterator[Operation]:
    window = s.window
    oh, ow = window.output_size((s.h, s.h))
    x, dy = normal(s.n, s.h, s.h, s.c), normal(s.n, oh, ow, s.k, seed=1)
    w = normal(*s.filters, seed=2)
    rest = [s.stride] * 2, [window.pads[0][0]] * 2, [1] * 2, False, [0] * 2, s.groups
    work = 2 * dy.size * w[..., 0].size, 4 * (x.size + w.size + dy.size)

    def forward(layout: str) -> Callable[[], Any]:
        return partial(ATEN.convolution, pytorch.images(x, layout), filters(w, layout), None, *rest)

    def backward(which: int, layout: str) -> Callable[[], Any]:
        tensors = pytorch.images(dy, layout), pytorch.images(x, layout), filters(w, layout)
        mask = [which == 0, which == 1, False]
        return lambda: ATEN.convolution_backward(*tensors, None, *rest, mask)[which]

    ours: Callable[[], Any] = partial(KERNELS.conv2d, x, w, None, window, s.groups)
    yield Operation(f"{s} forward", *work, ours, by_layout(forward), as_images)
    ours = partial(KERNELS.conv2d_backward_input, dy, w, x.shape, window, s.groups)
    yield Operation(f"{s} d input", *work, ours, by_layout(partial(backward, 0)), as_images)
    ours = partial(KERNELS.conv2d_backward_weight, dy, x, w.shape, window, s.groups)
    yield Operation(f"{s} d weight", *work, ours, by_layout(partial(backward, 1)), as_filters)


def max_pooling(n: int, h: int, c: int, size: int, stride: int, p: int) -> Iterator[Operation]:
    window = Window((size, size), (stride, stride), (1, 1), ((p, p), (p, p)))
    oh, ow = window.output_size((h, h))
    x, dy = normal(n, h, h, c), normal(n, oh, ow, c, seed=1)
    _, tap = KERNELS.max_pool2d(x, window)
    geometry = [size] * 2, [stride] * 2, [p] * 2, [1] * 2, False
    name = f"max pooling {size}x{size} /{stride} {n}x{h}x{h}x{c}"

    def forward(layout: str) -> Callable[[], Any]:
        images = pytorch.images(x, layout)
        return lambda: ATEN.max_pool2d_with_indices(images, *geometry)[0]

    def backward(layout: str) -> Callable[[], Any]:
        images, upstream = pytorch.images(x, layout), pytorch.images(dy, layout)
        taps = ATEN.max_pool2d_with_indices(images, *geometry)[1]
        return partial(ATEN.max_pool2d_with_indices_backward, upstream, images, *geometry, taps)

    ours: Callable[[], Any] = lambda: KERNELS.max_pool2d(x, window)[0]  # noqa: E731
    yield Operation(f"{name} forward", 0, x.nbytes + dy.nbytes, ours, by_layout(forward), as_images)
    ours = partial(KERNELS.max_pool2d_backward, dy, tap, x.shape, window)
    yield Operation(f"{name} backward", 0, x.nbytes + dy.nbytes, ours, by_layout(backward), as_images)


def mean_pooling(n: int, h: int, c: int) -> Iterator[Operation]:
    x, dy = normal(n, h, h, c), normal(n, c, seed=1)
    name = f"global average pooling {n}x{h}x{h}x{c}"

    def forward(layout: str) -> Callable[[], Any]:
        images = pytorch.images(x, layout)
        return lambda: images.mean((2, 3))

    def backward(layout: str) -> Callable[[], Any]:
        like, upstream = pytorch.images(x, layout), torch.from_numpy(dy)[:, :, None, None]
        return lambda: torch.empty_like(like).copy_(upstream).mul_(1 / h**2)

    ours: Callable[[], Any] = partial(KERNELS.global_average_pool2d, x)
    yield Operation(f"{name} forward", 0, x.nbytes, ours, by_layout(forward))
    ours = partial(KERNELS.global_average_pool2d_backward, dy, x.shape)
    yield Operation(f"{name} backward", 0, x.nbytes, ours, by_layout(backward), as_images)


def dense(m: int, c: int, k: int) -> Iterator[Operation]:
    x, w, b, dy = normal(m, c), normal(c, k, seed=1), normal(k, seed=2), normal(m, k, seed=3)
    xt, wt, bt, dyt = map(torch.from_numpy, (x, w.T.copy(), b, dy))
    work = 2 * m * c * k, 4 * (x.size + w.size + dy.size)
    name = f"dense {m}x{c}-{k}"
    theirs = {"torch": partial(torch.nn.functional.linear, xt, wt, bt)}
    yield Operation(f"{name} forward", *work, partial(KERNELS.dense, x, w, b), theirs)
    theirs = {"torch": partial(torch.mm, dyt, wt)}
    yield Operation(f"{name} d input", *work, partial(KERNELS.dense_backward_input, dy, w), theirs)
    theirs = {"torch": lambda: dyt.t().mm(xt)}
    ours = partial(KERNELS.dense_backward_weight, dy, x)
    yield Operation(f"{name} d weight", *work, ours, theirs, lambda dw: dw.t())


def cross_entropy(n: int, k: int) -> Iterator[Operation]:
    z, y = normal(n, k), Stream((1,)).integers(0, k, (n,))
    zt, yt = torch.from_numpy(z).requires_grad_(), torch.from_numpy(y)

    def theirs() -> Any:
        return torch.autograd.grad(torch.nn.functional.cross_entropy(zt, yt), zt)[0]

    ours = lambda: KERNELS.softmax_cross_entropy(z, y, smoothing=0.0)[1]  # noqa: E731
    yield Operation(f"cross entropy and gradient {n}x{k}", 0, 2 * z.nbytes, ours, {"torch": theirs})


def update(ours: Any, theirs: Callable[..., Any], passes: int) -> Iterator[Operation]:
    """A step of an optimizer on the parameters of ResNet-18."""
    parameters = models.resnet18((32, 32, 3), 10).parameters()
    tensors = [torch.from_numpy(p.value.copy()).requires_grad_() for p in parameters.values()]
    for p, t in zip(parameters.values(), tensors, strict=True):
        p.accumulate(normal(*p.shape))
        t.grad = torch.from_numpy(p.grad.copy())
    optimizer, first = theirs(tensors, fused=True), next(iter(parameters.values()))

    def our_step() -> Any:
        ours.step(parameters)
        return first.value

    def their_step() -> Any:
        optimizer.step()
        return tensors[0].detach()

    size = sum(p.value.nbytes for p in parameters.values())
    name = f"{type(ours).__name__} of ResNet-18's parameters"
    yield Operation(name, 0, passes * size, our_step, {"torch": their_step})


def operations() -> Iterator[Iterator[Operation]]:
    """Yield families of operations; the arrays of one are made when it is its turn."""
    for s in CONVOLUTIONS:
        yield convolution(s)
    for shape in ((128, 32, 64), (128, 32, 16), (128, 8, 256), (128, 4, 512)):
        yield normalization(*shape)
    yield modes(128, 32, 64)
    yield modes(128, 8, 256)
    for rows in ((16384, 256), (65536, 64), (4096, 768), (128, 4096)):
        yield row_normalization("layer", *rows)
        yield row_normalization("RMS", *rows)
    for images in ((128, 32, 64), (128, 8, 256), (128, 4, 512), (32, 56, 64)):
        yield group_normalization(*images, 32)
        yield group_normalization(*images, images[2])
    yield max_pooling(128, 32, 64, 2, 2, 0)
    yield max_pooling(32, 56, 64, 3, 2, 1)
    yield mean_pooling(128, 4, 512)
    yield mean_pooling(128, 32, 64)
    for rows in ((128, 512, 10), (256, 256, 10), (1, 512, 10), (128, 1568, 256), (512, 1024, 1024)):
        yield dense(*rows)
    yield cross_entropy(128, 10)
    yield cross_entropy(128, 1000)
    yield update(optim.SGD(1e-3, 0.9), partial(torch.optim.SGD, lr=1e-3, momentum=0.9), 5)
    yield update(optim.Adam(1e-3), partial(torch.optim.Adam, lr=1e-3), 7)


@reuse_memory()  # as a trainer does
def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("words", nargs="*", metavar="WORD", help="in the names of operations (default: all)")
    parser.add_argument("--seconds", type=float, default=1.0, help="of sampling for each operation")
    parser.add_argument("--quick", action="store_true", help="one sample of each, to see that it runs")
    parser.add_argument("--malloc", choices=("default", "tuned"), default="tuned", help="glibc's")
    parser.add_argument("--threads", type=int, default=machine.usable_threads(), help="for both")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    restart(environment(options.threads, options.malloc))
    machine.use_threads(options.threads)
    peak, bandwidth = machine.peak_flops(), machine.copy_bandwidth(options.threads)
    print(
        f"torch {torch.__version__}, {options.malloc} malloc, {machine.cpu_name()}, {options.threads} threads"
    )
    print(f"at best {peak / 1e9:.0f} GFLOP/s, {bandwidth / 1e9:.1f} GB/s\n\n{HEAD}")
    quiet, rows = Quiet(options.threads), []
    for family in operations():
        for o in family:
            if options.words and not any(word in o.name for word in options.words):
                continue
            theirs = [Step(way, step, o.show) for way, step in o.theirs.items()]
            seconds = 0.0 if options.quick else options.seconds
            result = compare(Step("handgrad", o.ours), theirs, quiet, seconds, steps=1)
            if not result.difference <= TOLERANCE:
                raise SystemExit(f"{o.name}: results differ by {result.difference:.1e}")
            rows.append(row(o, result, peak, bandwidth))
            print(line(rows[-1]), flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "operations.json"
    about = {"torch": torch.__version__, "malloc": options.malloc, "peak": peak, "bandwidth": bandwidth}
    path.write_text(json.dumps({"about": about, "rows": rows}, indent=1) + "\n")
    print(path)


def restart(wanted: dict[str, str]) -> None:
    """Begin again with the environment that is wanted, unless this is it."""
    if os.environ != wanted:
        os.execve(sys.executable, [sys.executable, "-m", "benchmarks.operations", *sys.argv[1:]], wanted)


def row(o: Operation, result: Comparison, peak: float, bandwidth: float) -> dict[str, Any]:
    roof = max(o.flops / peak, o.bytes / bandwidth)

    def of(times: Times) -> dict[str, float]:
        t = times.median
        rates = {"flops": o.flops / t, "of_peak": o.flops / t / peak}
        rates |= {"bytes": o.bytes / t, "of_bandwidth": o.bytes / t / bandwidth, "of_roof": roof / t}
        return {"minimum": times.minimum, "median": t, **rates}

    if not result.theirs:  # PyTorch has none
        return {"name": o.name, "handgrad": of(result.ours), "quiet": result.ours.quiet}
    best = result.theirs[result.best("torch")]
    return {
        "name": o.name,
        "handgrad": of(result.ours),
        "torch": {"best": result.best("torch"), **of(best)},
        "ratio_of_minima": result.ratio_of_minima("torch"),
        "ratio_of_medians": result.ratio_of_medians("torch"),
        "difference": result.difference,
        "quiet": result.ours.quiet and best.quiet,
    }


HEAD = (
    f"{'':45} {'ms':>8} {'GFLOP/s':>12} {'GB/s':>11} {'roof':>5}  "
    f"{'torch ms':>8} {'GFLOP/s':>12} {'GB/s':>11} {'roof':>5}  {'ratio':>5}"
)


def line(row: dict[str, Any]) -> str:
    def of(times: dict[str, float]) -> str:
        flops = f"{times['flops'] / 1e9:7.0f} {times['of_peak']:4.0%}" if times["flops"] else " " * 12
        rate = f"{times['bytes'] / 1e9:6.1f} {times['of_bandwidth']:4.0%}"
        return f"{times['median'] * 1e3:8.3f} {flops} {rate} {times['of_roof']:5.0%}"

    mark = "" if row["quiet"] else " ~"
    beside = f"  {of(row['torch'])}  {row['ratio_of_medians']:5.2f}" if "torch" in row else ""
    return f"{row['name']:45} {of(row['handgrad'])}{beside}{mark}"


if __name__ == "__main__":
    main()
