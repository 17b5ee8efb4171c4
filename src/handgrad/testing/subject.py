"""What `gradcheck` checks, as a function of named arrays: a layer, a model or a loss."""

from __future__ import annotations

import copy
from typing import Any, Protocol

import numpy as np

from handgrad.errors import ArgumentError, HandgradError
from handgrad.graph import Graph
from handgrad.layers import Init, Layer, Merge, Run
from handgrad.layers.parameter import rebind
from handgrad.rng import Stream
from handgrad.typing import Array

Arrays = dict[str, Array]


class GradientError(HandgradError, AssertionError):
    """A gradient is not the derivative of its function."""


def float64(a: Any) -> Array:
    """Return inputs as an array; raise ArgumentError if they are no numbers to take a derivative at."""
    try:
        x = np.asarray(a, np.float64)
    except (TypeError, ValueError):
        raise ArgumentError("gradcheck x", expected="an array of numbers", got=repr(a)) from None
    if not x.size or not np.isfinite(x).all():
        got = "NaN or infinity" if x.size else f"shape {x.shape}"
        raise ArgumentError("gradcheck x", expected="a batch of finite numbers", got=got)
    return x


def subject_of(layer: Any, inputs: tuple[Array, ...], y: Any, run: Run, rng: Stream) -> Subject:
    """Return what is to be checked; raise ArgumentError if it has no gradient that could be."""
    of_loss = callable(layer) and hasattr(layer, "compute") and not isinstance(layer, type | Layer | Graph)
    if of_loss == (y is None):
        got, do = "none", "gradcheck(loss, z, y) checks a loss at outputs z of a model and labels y"
        if not of_loss:
            got, do = "some", "labels are for a loss; a tuple x holds the inputs of a Merge"
        wanted = "labels" if of_loss else "no labels"
        raise ArgumentError(f"gradcheck of {type(layer).__name__}", expected=wanted, got=got, do=do)
    if of_loss:
        return OfLoss(layer, inputs, y, run)
    if not isinstance(layer, Layer | Graph):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        do = f"create it: {layer.__name__}(...)" if isinstance(layer, type) else ""
        raise ArgumentError("gradcheck", expected="a layer, a model or a loss", got=got, do=do)
    if len(inputs) > 1 and not isinstance(layer, Merge):
        got, do = f"{len(inputs)} in a tuple", "a tuple is for the inputs of a Merge"
        raise ArgumentError(f"gradcheck of {type(layer).__name__}", expected="one input", got=got, do=do)
    return OfLayer(layer, inputs, run, rng)


class Subject(Protocol):
    """What is checked, as a function of named arrays."""

    where: str
    inputs: tuple[str, ...]
    at: Arrays

    def forward(self, at: Arrays) -> tuple[Array, Any]:
        """Return the output and what was saved, with the arrays `at`."""

    def gradients(self, at: Arrays, u: Array) -> Arrays:
        """Return what backward says, for every array it gives a gradient of."""


class OfLoss:
    """A loss, of outputs z."""

    inputs: tuple[str, ...] = ("z",)

    def __init__(self, loss: Any, inputs: tuple[Array, ...], y: Any, run: Run) -> None:
        self.loss, self.y, self.run, (self.z,) = loss, y, run, inputs
        self.where = type(loss).__name__
        self.at: Arrays = {"z": self.z}

    def forward(self, at: Arrays) -> tuple[Array, Any]:
        """Return the loss and its gradient."""
        value, dz = self.loss(at["z"], self.y, self.run.kernels)
        return np.asarray(value), dz

    def gradients(self, at: Arrays, u: Array) -> Arrays:
        """Return the gradient, times u."""
        return {"z": u * self.forward(at)[1]}


class OfLayer:
    """A float64 copy of a layer or model."""

    def __init__(self, layer: Layer | Graph, inputs: tuple[Array, ...], run: Run, rng: Stream) -> None:
        self.layer = copy.deepcopy(layer)
        self.run = run
        self.many = isinstance(layer, Merge)
        if isinstance(self.layer, Graph):
            vars(self.layer)["dtype"] = np.dtype(np.float64)
            self.where = self.layer.name or type(self.layer).__name__
        else:
            shapes = tuple(i.shape[1:] for i in inputs)
            self.layer.build(shapes if self.many else shapes[0], Init(dtype=np.float64))
            self.where = self.layer.where
        self.where += " in training" if run.training else " in inference"
        for name, p in self.layer.parameters().items():
            rebind(p, p.value.astype(np.float64), np.zeros(p.shape))
            if p.size and np.ptp(p.value) == 0:
                p.value += rng.child("parameter", name).normal(p.shape, 0.5, np.float64)
        if self.layer.buffers():
            batch = tuple(
                rng.child("buffers", i).normal((8, *a.shape[1:]), dtype=np.float64)
                for i, a in enumerate(inputs)
            )
            self._move_buffers(self._pack(batch))
        names = [f"x{i}" for i in range(len(inputs))] if self.many else ["x"]
        self.inputs = tuple(names)
        self.at: Arrays = dict(zip(names, inputs, strict=True))
        self.at |= {name: p.value for name, p in self.layer.parameters().items()}

    def _move_buffers(self, batch: Any) -> None:
        moved = copy.deepcopy(self.layer)
        moved.unfreeze()  # buffers of a frozen layer would stay where they began
        _, saved = moved.forward(batch, Run(training=True, rng=self.run.rng))
        moved.commit(saved)
        for name, buffer in moved.buffers().items():
            self.layer.buffers()[name].assign(buffer.value)

    def _pack(self, inputs: tuple[Array, ...]) -> Any:
        return inputs if self.many else inputs[0]

    def forward(self, at: Arrays) -> tuple[Array, Any]:
        """Return the output and what was saved, with the arrays `at`."""
        for name, p in self.layer.parameters().items():
            rebind(p, at[name], p.grad)  # it may be complex
        return self.layer.forward(self._pack(tuple(at[n] for n in self.inputs)), self.run)

    def gradients(self, at: Arrays, u: Array) -> Arrays:
        """Return what backward says, for every array it gives a gradient of."""
        for p in self.layer.parameters().values():
            p.grad[...] = 0
        _, saved = self.forward(at)
        dx: Any = self.layer.backward(u, saved, self.run, need_dx=True)
        grads = dict(zip(self.inputs, dx if self.many else (dx,), strict=True))
        for name, g in grads.items():
            self._check_shape(name, g, at[name])
        trained = (
            self.layer.trainable_parameters() if isinstance(self.layer, Graph) else self.layer.parameters()
        )
        if isinstance(self.layer, Graph) or self.layer.trainable:
            grads |= {name: p.grad.copy() for name, p in trained.items()}
        return grads

    def _check_shape(self, name: str, gradient: Any, x: Array) -> None:
        if np.shape(gradient) != x.shape or gradient is None:
            raise GradientError(
                self.where,
                expected=f"dL/d{name} of {name}'s shape {x.shape}",
                got="None" if gradient is None else f"shape {np.shape(gradient)}",
                do="backward returns a gradient for every number of its input",
            )
