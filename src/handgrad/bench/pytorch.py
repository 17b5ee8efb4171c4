"""The same network in PyTorch, where it is installed: same weights, same functions."""

from __future__ import annotations

import importlib
import warnings
from collections import Counter
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from handgrad import layers
from handgrad.bench.workloads import MOMENTUM, Workload
from handgrad.errors import ArgumentError
from handgrad.geometry import Window, pair, resolve_window
from handgrad.graph import Graph, Node
from handgrad.io import to_torch_momentum
from handgrad.typing import Array, Shape

LAYOUTS = ("contiguous", "channels_last")


def steps(
    workload: Workload, precision: str = "float32", *, compiled: bool = False
) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Return the ways that PyTorch could do a workload, by name: each returns a function that does a step.

    Parameters
    ----------
    workload : Workload
        What is done.
    precision : "float32" or "bfloat16"
        Of products.
    compiled : bool, default False
        Whether ``torch.compile`` is among them, which takes long and needs a compiler of C++.
    """
    ways: dict[str, Callable[[], Callable[[], Any]]] = {}
    if workload.training:
        for layout in LAYOUTS:
            ways[f"torch {layout}"] = partial(training_step, workload, layout, precision)
        if compiled:
            last = partial(training_step, workload, "channels_last", precision, compiled=True)
            ways["torch compiled"] = last
        return ways
    for mode in ("eager", "fused", "jit"):
        for layout in LAYOUTS:
            ways[f"torch {mode} {layout}"] = partial(inference_step, workload, layout, mode, precision)
    if compiled:
        ways["torch compiled"] = partial(inference_step, workload, "channels_last", "compiled", precision)
    return ways


def training_step(
    workload: Workload, layout: str, precision: str = "float32", *, compiled: bool = False
) -> Callable[[], float]:
    """Return a function that does one training step as `workloads.step` does, and returns its loss.

    Parameters
    ----------
    workload : Workload
        What is done.
    layout : "contiguous" or "channels_last"
        Of images and filters in memory.
    precision : "float32" or "bfloat16"
        The second by autocast.
    compiled : bool, default False
        Whether forward and backward go through ``torch.compile``.
    """
    import torch

    model = workload.model()
    x, y = workload.data(model)
    step = training(model, workload.rate, layout, precision, compiled=compiled)
    return partial(step, images(x, layout), torch.from_numpy(y))


def training(
    model: Graph, rate: float, layout: str, precision: str = "float32", *, compiled: bool = False
) -> Callable[[Any, Any], float]:
    """Return a function that trains a model's twin on tensors by SGD with momentum, and returns the loss.

    Parameters
    ----------
    model : Graph
        Whose weights the twin begins with.
    rate : float
        At which it is trained.
    layout, compiled
        As of `training_step`.
    precision : "float32", "bfloat16" or "float64"
        The last of everything, images included.
    """
    import torch

    wide = torch.float64 if precision == "float64" else torch.float32
    network = twin(model, layout=layout).to(wide)
    optimizer = torch.optim.SGD(network.parameters(), lr=rate, momentum=MOMENTUM, fused=True)

    def loss_of(xt: Any, yt: Any) -> Any:
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            z = network(xt)
        return torch.nn.functional.cross_entropy(z.to(wide), yt)

    run = torch.compile(loss_of) if compiled else loss_of

    def step(xt: Any, yt: Any) -> float:
        optimizer.zero_grad()
        loss = run(xt, yt)
        loss.backward()
        optimizer.step()
        return float(loss.detach())

    return step


def inference_step(
    workload: Workload, layout: str, mode: str = "eager", precision: str = "float32"
) -> Callable[[], Array]:
    """Return a function that returns the outputs for the workload's images.

    Parameters
    ----------
    workload : Workload
        What is done.
    layout : "contiguous" or "channels_last"
        Of images and filters in memory.
    mode : "eager", "fused", "jit" or "compiled"
        As it is; with PyTorch's own folding of batch normalizations; traced, frozen and optimized by
        TorchScript after that; or folded and through ``torch.compile``.
    precision : "float32" or "bfloat16"
        Of images, filters and all between: without the conversions of autocast.
    """
    import torch

    model = workload.model()
    dtype = getattr(torch, precision)
    x = images(workload.data(model)[0], layout).to(dtype)
    network = twin(model, training=False, layout=layout).to(dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # TorchScript is deprecated, but fast
        if mode != "eager":
            network = importlib.import_module("torch.fx.experimental.optimization").fuse(network)
            network = network.to(memory_format=_format(layout))
        if mode == "jit":
            with torch.no_grad():
                traced = torch.jit.freeze(torch.jit.trace(network, x))
                network = torch.jit.optimize_for_inference(traced)
    if mode == "compiled":
        network = torch.compile(network)

    def step() -> Array:
        with torch.inference_mode():
            z: Array = network(x).float().numpy()
        return z

    return step


def images(x: Array, layout: str = "contiguous") -> Any:
    """Return images (n, h, w, c) as a tensor (n, c, h, w) with the memory layout of that name."""
    import torch

    order = torch.from_numpy(np.ascontiguousarray(x.transpose(0, 3, 1, 2)))
    return order.contiguous(memory_format=_format(layout))


def twin(model: Graph, *, training: bool = True, layout: str = "contiguous") -> Any:
    """Return a ``torch.nn.Module`` that computes what `model` does, on images (n, c, h, w).

    It is written as its users would: in training, additions and ReLU overwrite what nothing else reads.

    Parameters
    ----------
    model : Graph
        Of the layers that the benchmarks use.
    training : bool, default True
        Whether it is to be trained.
    layout : "contiguous" or "channels_last"
        Of its filters in memory.

    Raises
    ------
    ArgumentError
        If it has a layer that is not known here.
    """
    import torch

    uses = Counter(i for node in model.nodes for i in node.inputs)
    last = {i: k for k, node in enumerate(model.nodes) for i in node.inputs}
    shapes = [model.input_shape, *(node.shape for node in model.nodes)]
    sources = [node.inputs for node in model.nodes]
    modules = []
    for node in model.nodes:
        first = node.inputs[0]
        inplace = training and first > 0 and uses[first] == 1
        modules.append(_module(node, shapes[first], inplace=inplace))

    class Twin(torch.nn.Module):  # type: ignore[misc]
        def __init__(self, modules: list[Any]) -> None:
            super().__init__()
            for k, module in enumerate(modules):
                self.add_module(f"node{k}", module)

        def forward(self, x: Any) -> Any:
            values = [x]
            for k, inputs in enumerate(sources):
                values.append(getattr(self, f"node{k}")(*(values[i] for i in inputs)))
                for i in inputs:
                    if last[i] == k:
                        values[i] = None
            return values[-1]

    return Twin(modules).to(memory_format=_format(layout)).train(training)


def _format(layout: str) -> Any:
    import torch

    return {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}[layout]


def _module(node: Node, shape: Shape, *, inplace: bool) -> Any:
    """Return the module that does what a node does with an input of `shape`."""
    import torch
    from torch import nn

    class Sum(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any, y: Any) -> Any:
            return x.add_(y) if inplace else x + y

    class Flatten(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.permute(0, 2, 3, 1).flatten(1)

    class Mean(nn.Module):  # type: ignore[misc]
        def forward(self, x: Any) -> Any:
            return x.mean((2, 3))

    layer: Any = node.layer
    match layer:
        case layers.Conv2D() if type(layer) is layers.Conv2D:
            pads, sizes = _pads(layer, shape)
            c, k = shape[2], layer.filters
            options = {"padding": sizes, "dilation": layer.dilation_rate, "groups": layer.groups}
            module = nn.Conv2d(c, k, layer.kernel_size, layer.strides, bias=layer.use_bias, **options)
            _fill(module, weight=layer.weight.value.transpose(3, 2, 0, 1), bias=layer.bias)
            return nn.Sequential(nn.ZeroPad2d(pads), module) if pads else module
        case layers.Dense() if type(layer) is layers.Dense:
            module = nn.Linear(*layer.weight.shape, bias=layer.use_bias)
            return _fill(module, weight=layer.weight.value.T, bias=layer.bias)
        case layers.BatchNormalization():
            kind = nn.BatchNorm2d if len(node.shape) == 3 else nn.BatchNorm1d
            module = kind(node.shape[-1], eps=layer.epsilon, momentum=to_torch_momentum(layer.momentum))
            statistics = {"running_mean": layer.running_mean, "running_var": layer.running_var}
            return _fill(module, weight=layer.gamma, bias=layer.beta, **statistics)
        case layers.ReLU():
            return nn.ReLU(inplace=inplace)
        case layers.GELU(approximate=approximate):
            return nn.GELU("tanh" if approximate else "none")
        case layers.MaxPooling2D():
            pads, sizes = _pads(layer, shape)
            if not pads:
                return nn.MaxPool2d(layer.pool_size, layer.strides, sizes)
        case layers.GlobalAveragePooling2D():
            return Mean()
        case layers.Add():
            return Sum()
        case layers.Flatten():
            return Flatten() if len(shape) == 3 else nn.Flatten()
        case layers.Dropout(rate=rate):
            return torch.nn.Dropout(rate)
    raise ArgumentError("twin", expected="a layer that is known here", got=layer.where)


def _pads(layer: Any, shape: Shape) -> tuple[list[int], tuple[int, int]]:
    """Return left, right, top and bottom where they differ, and what goes on both sides otherwise."""
    size = shape[0], shape[1]
    kernel = pair(getattr(layer, "kernel_size", None) or layer.pool_size, layer.where)
    strides = pair(layer.strides or kernel, layer.where)
    dilation = pair(getattr(layer, "dilation_rate", 1), layer.where)
    window: Window = resolve_window(size, kernel, strides, dilation, layer.padding, layer.where)
    (top, bottom), (left, right) = window.pads
    if (top, left) == (bottom, right):
        return [], (top, left)
    return [left, right, top, bottom], (0, 0)


def _fill(module: Any, **values: Any) -> Any:
    """Set parameters and buffers to arrays, or to the values of handgrad's; None leaves one as it is."""
    import torch

    with torch.no_grad():
        for name, value in values.items():
            if value is not None:
                array = np.ascontiguousarray(getattr(value, "value", value))
                getattr(module, name).copy_(torch.from_numpy(array))
    return module
