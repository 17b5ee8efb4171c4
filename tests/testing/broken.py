"""A layer that keeps the contract, and layers that break it in one place each."""

# ruff: noqa: RUF009 (layers take what layers are given)

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from handgrad.layers import Buffer, Init, Layer, Parameter, owned


class ScaleSaved(NamedTuple):
    x: np.ndarray
    mean: np.ndarray
    training: bool


@dataclass(eq=False)
class Scale(Layer):
    """``y = a*x + running mean``, written as a user would: one parameter, one buffer."""

    initial: float = 1.0
    momentum: float = 0.9

    scale: Parameter = owned()
    mean: Buffer = owned()

    def output_shape(self, shape):
        return shape

    def create(self, shape, init: Init):
        self.scale = init.parameter("scale", shape, "random_normal")
        self.mean = Buffer(np.zeros(shape))

    def forward(self, x, run):
        self.check_input(x)
        mean = np.mean(x, axis=0) if len(x) else np.zeros(x.shape[1:], x.dtype)
        y = x * self.scale.value + self.mean.value.astype(x.dtype if x.dtype.kind == "f" else float)
        return y, ScaleSaved(x, mean, run.training)

    def backward(self, dy, saved, run, *, need_dx=True):
        if self.trainable:
            self.scale.accumulate(np.sum(dy * saved.x, axis=0))
        return dy * self.scale.value if need_dx else None

    def commit(self, saved):
        if saved.training and self.trainable and len(saved.x):
            self.mean.assign(self.momentum * self.mean.value + (1 - self.momentum) * saved.mean)


@dataclass(eq=False)
class ConfigWithAnArray(Scale):
    initial: Any = None

    def __post_init__(self):
        self.initial = np.zeros(2)


@dataclass(eq=False)
class ConfigDrifts(Scale):
    def __post_init__(self):
        self.momentum /= 2


@dataclass(eq=False)
class ShapeChanges(Scale):
    def build(self, shape, init=None):
        super().build(shape, init)
        return (*shape, 1)


@dataclass(eq=False)
class ShapeBuilds(Scale):
    def output_shape(self, shape):
        self.input_shape = shape
        return shape


@dataclass(eq=False)
class BuildsAgain(Scale):
    def build(self, shape, init=None):
        self.input_shape = None
        return super().build(shape, init)


@dataclass(eq=False)
class DrawsWithoutASeed(Scale):
    def create(self, shape, init):
        super().create(shape, init)
        self.scale = Parameter(np.random.default_rng().normal(size=shape).astype(init.dtype))


@dataclass(eq=False)
class AlwaysFloat64(Scale):
    def create(self, shape, init):
        super().create(shape, Init(init.rng, np.float64))


@dataclass(eq=False)
class RunsUnbuilt(Scale):
    def forward(self, x, run):
        if not self.built:
            return x, None
        return super().forward(x, run)


@dataclass(eq=False)
class OwnBuildError(Scale):
    def check_input(self, x):
        if not self.built:
            from handgrad.errors import BuildError

            raise BuildError(self.where, expected="build first", got="nothing")
        super().check_input(x)


@dataclass(eq=False)
class TakesNumbers(Scale):
    def forward(self, x, run):
        if self.built and np.ndim(x) == 0:
            return x, None
        return super().forward(x, run)


@dataclass(eq=False)
class Widens(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return y.astype(np.float64) if y.dtype == np.float32 else y, saved


@dataclass(eq=False)
class AddsAnAxis(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return y[..., None], saved


@dataclass(eq=False)
class IsRandom(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return y + np.random.default_rng().normal() * 1e-3, saved


@dataclass(eq=False)
class Counts(Scale):
    calls: int = 0

    def forward(self, x, run):
        self.calls += 1
        return super().forward(x, run)


@dataclass(eq=False)
class CommitsInForward(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        super().commit(saved)
        return y, saved


@dataclass(eq=False)
class WritesItsInput(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        if np.ndim(x) and x.dtype.kind == "f":
            x *= 1
        return y, saved


@dataclass(eq=False)
class SavesADict(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return y, saved._asdict()

    def commit(self, saved):
        super().commit(ScaleSaved(**saved))

    def backward(self, dy, saved, run, *, need_dx=True):
        return super().backward(dy, ScaleSaved(**saved), run, need_dx=need_dx)


_LAST: dict[str, Any] = {}


@dataclass(eq=False)
class KeepsOutsideSaved(Scale):
    def forward(self, x, run):
        _LAST["x"] = x
        return super().forward(x, run)

    def backward(self, dy, saved, run, *, need_dx=True):
        super().backward(dy, saved, run, need_dx=need_dx)
        return dy * self.scale.value + 0 * _LAST["x"] + _LAST["x"].mean() if need_dx else None


@dataclass(eq=False)
class DxOfAnotherShape(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        dx = super().backward(dy, saved, run, need_dx=need_dx)
        return dx.reshape(len(dx), -1, 1) if need_dx else None


@dataclass(eq=False)
class DxOfAnotherDtype(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        dx = super().backward(dy, saved, run, need_dx=need_dx)
        return dx.astype(np.float32) if need_dx else None


@dataclass(eq=False)
class DxUnasked(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        return super().backward(dy, saved, run)


@dataclass(eq=False)
class Overwrites(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        if self.trainable:
            self.scale.grad[...] = np.sum(dy * saved.x, axis=0)
        return dy * self.scale.value if need_dx else None


@dataclass(eq=False)
class ForgetsItsGradient(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        return dy * self.scale.value if need_dx else None


@dataclass(eq=False)
class UpdatesInBackward(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        dx = super().backward(dy, saved, run, need_dx=need_dx)
        self.scale.value -= 0.1
        return dx


@dataclass(eq=False)
class WritesTheUpstreamGradient(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        dx = super().backward(dy, saved, run, need_dx=need_dx)
        if dy.size:
            dy *= 2
        return dx


@dataclass(eq=False)
class CommitMovesAParameter(Scale):
    def commit(self, saved):
        super().commit(saved)
        self.scale.value += 1


@dataclass(eq=False)
class CommitsInference(Scale):
    def commit(self, saved):
        super().commit(saved._replace(training=True))


@dataclass(eq=False)
class CommitsNothing(Scale):
    def commit(self, saved):
        pass


@dataclass(eq=False)
class RetainsTooLittle(Scale):
    def retained(self, saved):
        return saved._replace(x=saved.x[:0])


@dataclass(eq=False)
class TrainsThoughFrozen(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        self.scale.accumulate(np.sum(dy * saved.x, axis=0))
        return dy * self.scale.value if need_dx else None


@dataclass(eq=False)
class FrozenStopsTheGradient(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        return super().backward(dy, saved, run, need_dx=need_dx) if self.trainable else None


@dataclass(eq=False)
class HidesState(Scale):
    def create(self, shape, init):
        super().create(shape, init)
        self.offset = init.rng.child("hidden").normal(shape, dtype=np.float32)

    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return (
            y + self.offset.astype(y.dtype.char.lower()) if y.dtype.kind == "f" else y + self.offset
        ), saved


@dataclass(eq=False)
class WrongDx(Scale):
    def backward(self, dy, saved, run, *, need_dx=True):
        super().backward(dy, saved, run, need_dx=need_dx)
        return 1.01 * dy * self.scale.value if need_dx else None


@dataclass(eq=False)
class FailsOnNothing(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        if np.ndim(x):
            np.max(x.real, axis=0)
        return y, saved


@dataclass(eq=False)
class ReturnsOneForNothing(Scale):
    def forward(self, x, run):
        y, saved = super().forward(x, run)
        return (y if len(y) else np.zeros((1, *y.shape[1:]), y.dtype)), saved


@dataclass(eq=False)
class CountsEmptyBatches(Scale):
    def commit(self, saved):
        super().commit(saved)
        if saved.training and not len(saved.x):
            self.mean.assign(self.mean.value + 1)
