"""Normalizations here and in PyTorch: batch, groups, rows, and batch normalization in every mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.operation import ATEN, KERNELS, Operation, as_images, by_layout
from benchmarks.shapes import normal
from handgrad import layers
from handgrad.bench import pytorch
from handgrad.graph import Sequential
from handgrad.graph.fuse import fuse
from handgrad.layers import Run


def normalization(n: int, h: int, c: int) -> Iterator[Operation]:
    """Batch normalization and ReLU, as one layer: that is how a trainer runs them."""
    model = fuse(Sequential([layers.BatchNormalization(), layers.ReLU()], input_shape=(h, h, c)))
    run = Run(training=True)
    x, dy = normal(n, h, h, c), normal(n, h, h, c, seed=1)
    _, trace = model.forward(x, run)
    name = f"BN + ReLU {n}x{h}x{h}x{c}"

    def forward(layout: str) -> Callable[[], Any]:
        images, gamma, beta = pytorch.images(x, layout), torch.ones(c), torch.zeros(c)
        return lambda: ATEN.native_batch_norm(images, gamma, beta, None, None, True, 0.1, 1e-5)[0].relu_()

    def backward(layout: str) -> Callable[[], Any]:
        images, upstream, gamma = pytorch.images(x, layout), pytorch.images(dy, layout), torch.ones(c)
        y, mean, s = ATEN.native_batch_norm(images, gamma, torch.zeros(c), None, None, True, 0.1, 1e-5)
        y = y.relu_()

        def step() -> Any:
            dz = ATEN.threshold_backward(upstream, y, 0)
            rest = gamma, None, None, mean, s, True, 1e-5, [True, True, True]
            return ATEN.native_batch_norm_backward(dz, images, *rest)[0]

        return step

    ours: Callable[[], Any] = lambda: model.forward(x, run)[0]  # noqa: E731
    yield Operation(f"{name} forward", 0, 3 * x.nbytes, ours, by_layout(forward), as_images)
    ours = partial(model.backward, dy, trace, run, need_dx=True)
    yield Operation(f"{name} backward", 0, 5 * x.nbytes, ours, by_layout(backward), as_images)


def row_normalization(kind: str, m: int, c: int) -> Iterator[Operation]:
    """Layer normalization of rows, or by the root mean square."""
    x, dy, gamma, beta = normal(m, c), normal(m, c, seed=1), normal(c, seed=2), normal(c, seed=3)
    xt, dyt, gt, bt = map(torch.from_numpy, (x, dy, gamma, beta))
    forward: Callable[[], Any]
    if kind == "layer":
        places, of_dy = x[:, None], dy[:, None]
        _, mean, s = KERNELS.group_norm(places, gamma, beta, 1, 1e-5)
        forward = lambda: KERNELS.group_norm(places, gamma, beta, 1, 1e-5)[0][:, 0]  # noqa: E731
        backward = lambda: KERNELS.group_norm_backward(of_dy, places, mean, s, gamma)[0][:, 0]  # noqa: E731
        _, *of_rows = ATEN.native_layer_norm(xt, [c], gt, bt, 1e-5)
        theirs = lambda: ATEN.native_layer_norm(xt, [c], gt, bt, 1e-5)[0]  # noqa: E731
        wanted = dyt, xt, [c], *of_rows, gt, bt, [True, True, True]
        back = lambda: ATEN.native_layer_norm_backward(*wanted)[0]  # noqa: E731
    else:
        _, s = KERNELS.rms_norm(x, gamma, 1e-6)
        forward = lambda: KERNELS.rms_norm(x, gamma, 1e-6)[0]  # noqa: E731
        backward = lambda: KERNELS.rms_norm_backward(dy, x, s, gamma)[0]  # noqa: E731
        leaves = xt.clone().requires_grad_(), gt.clone().requires_grad_()
        y = torch.nn.functional.rms_norm(leaves[0], [c], leaves[1], 1e-6)
        theirs = partial(torch.nn.functional.rms_norm, xt, [c], gt, 1e-6)
        back = lambda: torch.autograd.grad(y, leaves, dyt, retain_graph=True)[0]  # noqa: E731
    name = f"{kind} normalization {m}x{c}"
    yield Operation(f"{name} forward", 0, 2 * x.nbytes, forward, {"torch": theirs})
    yield Operation(f"{name} backward", 0, 3 * x.nbytes, backward, {"torch": back})


def group_normalization(n: int, h: int, c: int, groups: int) -> Iterator[Operation]:
    """Group normalization of images; of as many groups as channels PyTorch has instance normalization."""
    x, dy, gamma, beta = normal(n, h, h, c), normal(n, h, h, c, seed=1), normal(c, seed=2), normal(c, seed=3)
    gt, bt = torch.from_numpy(gamma), torch.from_numpy(beta)
    places, of_dy = x.reshape(n, h * h, c), dy.reshape(n, h * h, c)
    _, mean, s = KERNELS.group_norm(places, gamma, beta, groups, 1e-5)
    sizes = n, c, h * h, groups

    def forward(layout: str) -> Callable[[], Any]:
        images = pytorch.images(x, layout)
        return lambda: ATEN.native_group_norm(images, gt, bt, *sizes, 1e-5)[0]

    def backward(layout: str) -> Callable[[], Any]:
        images, upstream = pytorch.images(x, layout), pytorch.images(dy, layout)
        _, *of_groups = ATEN.native_group_norm(images, gt, bt, *sizes, 1e-5)
        wanted = upstream, images, *of_groups, gt, *sizes, [True, True, True]
        return lambda: ATEN.native_group_norm_backward(*wanted)[0]

    def instance(layout: str) -> Callable[[], Any]:
        images = pytorch.images(x, layout)
        return lambda: ATEN.instance_norm(images, gt, bt, None, None, True, 0.1, 1e-5, True)

    def instance_backward(layout: str) -> Callable[[], Any]:
        leaves = [t.clone().requires_grad_() for t in (pytorch.images(x, layout), gt, bt)]
        y, upstream = (
            ATEN.instance_norm(*leaves, None, None, True, 0.1, 1e-5, True),
            pytorch.images(dy, layout),
        )
        return lambda: torch.autograd.grad(y, leaves, upstream, retain_graph=True)[0]

    theirs, back = by_layout(forward), by_layout(backward)
    if groups == c:
        for layout in pytorch.LAYOUTS:
            theirs[f"torch {layout} instance"] = instance(layout)
            back[f"torch {layout} instance"] = instance_backward(layout)
    name = f"{groups} groups normalized {n}x{h}x{h}x{c}"

    def ours() -> Any:
        return KERNELS.group_norm(places, gamma, beta, groups, 1e-5)[0].reshape(x.shape)

    def ours_backward() -> Any:
        return KERNELS.group_norm_backward(of_dy, places, mean, s, gamma)[0].reshape(x.shape)

    yield Operation(f"{name} forward", 0, 2 * x.nbytes, ours, theirs, as_images)
    yield Operation(f"{name} backward", 0, 3 * x.nbytes, ours_backward, back, as_images)


def modes(n: int, h: int, c: int) -> Iterator[Operation]:
    """Batch normalization alone, in all its modes; PyTorch where it has them."""
    x, dy, training = normal(n, h, h, c) + 1, normal(n, h, h, c, seed=1), Run(training=True)
    masked = replace(training, mask=np.arange(n) % 4 > 0)
    for name, options, run, theirs in (
        ("batch", {"momentum": 0.9}, training, {}),
        ("cumulative", {"momentum": None}, training, {"momentum": None}),
        ("debiased", {"momentum": 0.9, "debias": True}, training, None),
        ("no running statistics", {"running_statistics": False}, training, {"track_running_stats": False}),
        ("frozen", {"use_batch_statistics": False, "update_running_statistics": False}, training, EVALUATED),
        ("ghost batches of 32", {"ghost_size": 32}, training, None),
        ("renormalized", {"renorm": (3.0, 5.0)}, training, None),
        ("masked", {}, masked, None),
        ("inference", {}, Run(), EVALUATED),
    ):
        yield from _mode(f"BN {name} {n}x{h}x{h}x{c}", x, dy, options, run, theirs)


EVALUATED = {"affine": True}
"""Of PyTorch's module, which then computes as in evaluation."""


def _mode(
    name: str, x: np.ndarray, dy: np.ndarray, options: Any, run: Run, theirs: dict[str, Any] | None
) -> Iterator[Operation]:
    bn = layers.BatchNormalization(**options)
    bn.build(x.shape[1:])
    if bn.running_statistics:
        bn.running_mean.assign(x.mean((0, 1, 2), dtype=np.float64))
        bn.running_var.assign(x.var((0, 1, 2), dtype=np.float64))
        bn.updates.assign(np.array(1))

    def module() -> Any:
        made = torch.nn.BatchNorm2d(x.shape[3], **(theirs or {}))
        if theirs is EVALUATED:
            made.running_mean.copy_(torch.from_numpy(bn.running_mean.value))
            made.running_var.copy_(torch.from_numpy(bn.running_var.value))
        return made.train(theirs is not EVALUATED)

    def forward(layout: str) -> Callable[[], Any]:
        made, images = module(), pytorch.images(x, layout)

        def step() -> Any:
            with torch.no_grad():
                return made(images)

        return step

    def backward(layout: str) -> Callable[[], Any]:
        made, images, upstream = module(), pytorch.images(x, layout), pytorch.images(dy, layout)
        leaves = images.requires_grad_(), made.weight, made.bias
        y = made(leaves[0])
        return lambda: torch.autograd.grad(y, leaves, upstream, retain_graph=True)[0]

    def ours() -> Any:
        y, kept = bn.forward(x, run)
        bn.commit(kept)
        return y

    _, saved = bn.forward(x, run)
    passes = 2 if theirs is EVALUATED else 3  # the batch's statistics take one of their own
    way, way_back = ({}, {}) if theirs is None else (by_layout(forward), by_layout(backward))
    yield Operation(f"{name} forward", 0, passes * x.nbytes, ours, way, as_images)
    if run.training:
        back = partial(bn.backward, dy, saved, run)
        yield Operation(f"{name} backward", 0, (2 * passes - 1) * x.nbytes, back, way_back, as_images)
