"""The contract that every layer keeps, as a check: for the layers here and for yours."""

from __future__ import annotations

import contextlib
import copy
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.arguments import check_count, check_flag
from handgrad.errors import ArgumentError, BuildError, HandgradError, ShapeError
from handgrad.graph import Graph
from handgrad.layers import Init, Layer, Merge, Run
from handgrad.rng import Stream
from handgrad.testing.gradcheck import gradcheck
from handgrad.typing import Array


class ContractError(HandgradError, AssertionError):
    """A layer breaks the contract."""


def check_layer(layer: Layer, shape: Any, *, batch: int = 4, empty_batch: bool = True) -> list[str]:
    """Check that a layer keeps the contract.

    Parameters
    ----------
    layer : Layer
        Not built; is not changed.
    shape : tuple of int, or tuple of such
        Of one input without the batch axis; a tuple of shapes for a `Merge`.
    batch : int, default 4
        Inputs in a batch.
    empty_batch : bool, default True
        Whether a batch of no inputs must give no outputs.

    Returns
    -------
    list of str
        What was checked, a line each.

    Raises
    ------
    ContractError
        At the first thing that does not hold: what was expected, and what came.

    Notes
    -----
    The contract:

    - The constructor's fields are the configuration: JSON can hold it, and a layer made from it is the same.
    - `build` returns the output's shape and creates parameters once; the same seed gives the same ones.
    - `forward` writes nothing: not its input, not the layer. Run again it returns the same bits, in the dtype
      it got.
    - What backward needs goes through `saved`, a NamedTuple: two forwards can be in flight at once.
    - `backward` adds to the parameters' gradients, writes nothing else, and returns dx, or None if not
      needed.
    - Only `commit` writes buffers.
    - A frozen layer still passes dx and leaves its gradients alone.
    - Parameters and buffers carry the whole state: put into a new layer they give the same output.
    - Before `build`, and on inputs of the wrong rank, there is an error that names the layer.
    - All gradients are right, in training, in inference and frozen.

    Examples
    --------
    >>> import handgrad as hg
    >>> len(hg.testing.check_layer(hg.layers.Conv2D(3, 3, padding="same"), (5, 4, 2)))
    11
    """
    if not isinstance(layer, Layer):
        got = f"the class {layer.__name__}" if isinstance(layer, type) else type(layer).__name__
        do = f"create it: {layer.__name__}(...)" if isinstance(layer, type) else "a model has gradcheck"
        do = do if isinstance(layer, type | Graph) else ""
        raise ArgumentError("check_layer", expected="a layer", got=got, do=do)
    if layer.built:
        raise BuildError(
            f"check_layer of {layer.where}", expected="a layer that is not built", got="one that is",
            do=f"give it a new one: {type(layer).__name__}(...)",
        )  # fmt: skip
    check_count("check_layer", "batch", batch)
    check_flag("check_layer", "empty_batch", empty_batch)
    with contextlib.suppress(BuildError):  # arguments and a shape that do not fit are told of as they are
        copy.deepcopy(layer).output_shape(layer.checked_shape(shape))
    case = _Case(layer, shape, batch)
    checks: list[tuple[str, Callable[[_Case], None]]] = [
        ("the configuration makes the same layer again", _configuration),
        ("build creates parameters once, from the seed alone", _build),
        ("errors before build and on wrong inputs name the layer", _errors),
        ("forward is pure and keeps the dtype", _pure_forward),
        ("saved carries all that backward needs", _two_in_flight),
        ("backward accumulates and writes nothing else", _backward),
        ("only commit writes buffers", _commit),
        ("a frozen layer passes dx and keeps its gradients", _frozen),
        ("parameters and buffers are the whole state", _state),
        ("gradients are right in training, inference and frozen", _gradients),
    ]
    if empty_batch:
        checks.append(("an empty batch gives an empty output", _empty))
    for what, check in checks:
        try:
            check(case)
        except HandgradError:
            raise
        except ValueError as error:
            written = "read-only" in str(error)  # all that a layer is given here is
            expected = "inputs and upstream gradients to be left as they are" if written else what
            got = "a write into one" if written else f"ValueError: {error}"
            raise ContractError(case.where, expected=expected, got=got) from error
    return [f"{type(layer).__name__}: {what}" for what, _ in checks]


class _Case:
    def __init__(self, layer: Layer, shape: Any, batch: int) -> None:
        self.layer, self.shape, self.batch = layer, shape, batch
        self.many = isinstance(layer, Merge)
        self.where = layer.where

    def new(self, dtype: Any = np.float64, seed: int = 0) -> Layer:
        """Return a built copy whose parameters and buffers are not trivial."""
        layer = copy.deepcopy(self.layer)
        layer.build(self.shape, Init(Stream((seed,)), dtype))
        for name, p in layer.parameters().items():
            p.assign(p.value + Stream((seed,)).child("jitter", name).normal(p.shape, 0.1, dtype))
        if layer.buffers():
            _, saved = layer.forward(self.input(7, dtype), Run(training=True))
            layer.commit(saved)
        return layer

    def input(self, seed: int = 1, dtype: Any = np.float64, batch: int | None = None) -> Any:
        """Return a read-only batch."""
        n = self.batch if batch is None else batch
        shapes = self.shape if self.many else (self.shape,)
        arrays = []
        for i, shape in enumerate(shapes):
            a = Stream((seed,)).child("x", i).normal((n, *shape), dtype=dtype)
            a.flags.writeable = False
            arrays.append(a)
        return tuple(arrays) if self.many else arrays[0]

    def upstream(self, y: Array) -> Array:
        """Return a random read-only gradient of y."""
        u = Stream((2,)).child("u").normal(y.shape, dtype=y.dtype)
        u.flags.writeable = False
        return u

    def require(self, holds: bool, expected: str, got: str) -> None:
        """Raise ContractError unless it holds."""
        if not holds:
            raise ContractError(self.where, expected=expected, got=got)


def _configuration(case: _Case) -> None:
    config = case.layer.config()
    try:
        text = json.dumps(config)
    except TypeError as error:
        raise ContractError(case.where, expected="a config() that JSON can hold", got=str(error)) from None
    again = type(case.layer).from_config(json.loads(text))
    case.require(
        json.dumps(again.config()) == text,
        "from_config(config()) to give the same configuration",
        f"{again.config()}",
    )


def _build(case: _Case) -> None:
    layer = copy.deepcopy(case.layer)
    promised = layer.output_shape(case.shape)
    case.require(not layer.built, "output_shape to leave the layer unbuilt", "a built one")
    out = layer.build(case.shape, Init(Stream((3,)), np.float32))
    case.require(out == promised, f"build to return output_shape's {promised}", str(out))
    before = {name: p.value.copy() for name, p in layer.parameters().items()}
    layer.build(case.shape, Init(Stream((4,)), np.float32))
    other = copy.deepcopy(case.layer)
    other.build(case.shape, Init(Stream((3,)), np.float32))
    for name, value in before.items():
        same = np.array_equal(layer.parameters()[name].value, value)
        case.require(same, f"a second build to keep {name}", "another value")
        same = np.array_equal(other.parameters()[name].value, value)
        case.require(same, f"the same seed to give the same {name}", "another value")
        case.require(value.dtype == np.float32, f"{name} of the dtype of Init, float32", str(value.dtype))


def _errors(case: _Case) -> None:
    layer = copy.deepcopy(case.layer)
    wanted = (
        f"{layer.where}: expected a built layer, got one that has no parameters yet; call build(shape) with "
        "the input's shape, or put it in a model"
    )
    try:
        layer.forward(case.input(), Run())
    except BuildError as error:
        case.require(str(error) == wanted, f"the message {wanted!r} before build", repr(str(error)))
    else:
        raise ContractError(case.where, expected="BuildError from forward before build", got="an output")
    layer = case.new()
    number = np.float64(1.0)
    try:
        layer.forward((number,) * len(case.shape) if case.many else number, Run())
    except ShapeError as error:
        named = str(error).startswith(layer.where)
        case.require(named, "a ShapeError that begins with the layer's name for a number", repr(str(error)))
    else:
        raise ContractError(
            case.where, expected="ShapeError for a number in place of a batch", got="an output"
        )


def _pure_forward(case: _Case) -> None:
    for dtype in (np.float32, np.float64):
        for training in (True, False):
            layer, x, run = case.new(dtype), case.input(dtype=dtype), Run(training=training)
            before = _snapshot(layer)
            y, _ = layer.forward(x, run)
            again, _ = layer.forward(x, run)
            case.require(y.dtype == dtype, f"an output of {np.dtype(dtype)} for such an input", str(y.dtype))
            wanted = (case.batch, *layer.output_shape(case.shape))
            case.require(y.shape == wanted, f"an output of shape {wanted}", str(y.shape))
            case.require(
                np.array_equal(y, again, equal_nan=True), "the same bits from a second forward", "others"
            )
            changed = _difference(before, _snapshot(layer))
            case.require(not changed, "forward to write nothing on the layer", f"changed {changed}")


def _two_in_flight(case: _Case) -> None:
    layer, run = case.new(), Run(training=True)
    a, b = case.input(11), case.input(12)
    y, saved_a = layer.forward(a, run)
    case.require(
        isinstance(saved_a, tuple) and hasattr(saved_a, "_fields"),
        "saved as a NamedTuple",
        type(saved_a).__name__,
    )
    u = case.upstream(y)
    alone = layer.backward(u, saved_a, run)
    _, saved_a = layer.forward(a, run)
    layer.forward(b, run)
    after = layer.backward(u, saved_a, run)
    case.require(
        _equal(alone, after), "backward to use saved alone", "a dx that changes with a later forward"
    )


def _backward(case: _Case) -> None:
    layer, x, run = case.new(), case.input(), Run(training=True)
    y, saved = layer.forward(x, run)
    u = case.upstream(y)
    before = _snapshot(layer, grads=False)
    dx = layer.backward(u, saved, run)
    once = {name: p.grad.copy() for name, p in layer.parameters().items()}
    for xi, dxi in zip(x if case.many else (x,), dx if case.many else (dx,), strict=True):
        case.require(dxi.shape == xi.shape, f"dx of the input's shape {xi.shape}", str(dxi.shape))
        case.require(dxi.dtype == xi.dtype, f"dx of the input's dtype {xi.dtype}", str(dxi.dtype))
    none = layer.backward(u, saved, run, need_dx=False)
    case.require(none is None, "None from backward with need_dx=False", type(none).__name__)
    for name, p in layer.parameters().items():
        twice = np.array_equal(p.grad, once[name] + once[name])
        case.require(twice, f"a second backward to add to {name}.grad", "another sum")
        case.require(bool(np.any(once[name])), f"a gradient for {name}", "zeros")
    changed = _difference(before, _snapshot(layer, grads=False))
    case.require(not changed, "backward to write nothing but gradients", f"changed {changed}")


def _commit(case: _Case) -> None:
    layer, run = case.new(), Run(training=True)
    values = {name: p.value.copy() for name, p in layer.parameters().items()}
    _, saved = layer.forward(case.input(21), run)
    buffers = {name: b.value.copy() for name, b in layer.buffers().items()}
    layer.commit(saved)
    for name, value in values.items():
        same = np.array_equal(layer.parameters()[name].value, value)
        case.require(same, f"commit to leave {name} alone", "another value")
    _, saved = layer.forward(case.input(22), Run(training=False))
    before = {name: b.value.copy() for name, b in layer.buffers().items()}
    layer.commit(saved)
    for name, value in before.items():
        same = np.array_equal(layer.buffers()[name].value, value)
        case.require(same, f"inference to leave {name} alone", "another value")
    moved = any(not np.array_equal(before[name], buffers[name]) for name in buffers)
    case.require(moved or not buffers, "commit after training to move a buffer", "the same values")
    layer = case.new()
    _, saved = layer.forward(case.input(21), run)
    layer.commit(layer.retained(saved))
    for name, value in before.items():
        same = np.array_equal(layer.buffers()[name].value, value)
        case.require(same, f"commit to find in retained what it moves {name} by", "another value")


def _frozen(case: _Case) -> None:
    layer, x, run = case.new(), case.input(), Run(training=True)
    layer.freeze()
    y, saved = layer.forward(x, run)
    before = _snapshot(layer)
    dx = layer.backward(case.upstream(y), saved, run)
    layer.commit(saved)
    case.require(all(d is not None for d in (dx if case.many else (dx,))), "dx from a frozen layer", "None")
    changed = _difference(before, _snapshot(layer))
    case.require(
        not changed, "a frozen layer to keep parameters, gradients and buffers", f"changed {changed}"
    )


def _state(case: _Case) -> None:
    layer = case.new()
    other = type(case.layer).from_config(layer.config())
    other.build(case.shape, Init(Stream((99,)), np.float64))
    mine, theirs = layer.parameters() | layer.buffers(), other.parameters() | other.buffers()
    for name, owned in mine.items():
        theirs[name].assign(owned.value)
    x = case.input(31)
    y, _ = layer.forward(x, Run())
    z, _ = other.forward(x, Run())
    case.require(
        np.array_equal(y, z), "the same output from a layer with the same configuration and state", "another"
    )


def _gradients(case: _Case) -> None:
    x = case.input(41)
    gradcheck(case.new(), x, training=True)
    gradcheck(case.new(), x, training=False)
    frozen = case.new()
    frozen.freeze()
    gradcheck(frozen, x, training=True)


def _empty(case: _Case) -> None:
    layer, x = case.new(), case.input(batch=0)
    for training in (True, False):
        before = _snapshot(layer, grads=False)
        run = Run(training=training)
        y, saved = layer.forward(x, run)
        wanted = (0, *layer.output_shape(case.shape))
        case.require(y.shape == wanted, f"an output of shape {wanted} for an empty batch", str(y.shape))
        dx = layer.backward(y, saved, run)
        for xi, dxi in zip(x if case.many else (x,), dx if case.many else (dx,), strict=True):
            case.require(dxi.shape == xi.shape, f"dx of shape {xi.shape} for an empty batch", str(dxi.shape))
        layer.commit(saved)
        changed = _difference(before, _snapshot(layer, grads=False))
        case.require(not changed, "an empty batch to change nothing", f"changed {changed}")


def _snapshot(layer: Layer, *, grads: bool = True) -> dict[str, Any]:
    """Return copies of all that a layer holds."""
    held: dict[str, Any] = {}
    for name, value in vars(layer).items():
        if isinstance(value, Layer):
            held |= {f"{name}.{inner}": v for inner, v in _snapshot(value, grads=grads).items()}
        else:
            held[name] = copy.deepcopy(value)
    for name, p in layer.parameters().items():
        held[name] = p.value.copy()
        if grads:
            held[f"{name}.grad"] = p.grad.copy()
    for name, b in layer.buffers().items():
        held[name] = b.value.copy()
    return held


def _difference(before: dict[str, Any], after: dict[str, Any]) -> str:
    names = sorted(before.keys() | after.keys())
    return ", ".join(n for n in names if n not in before or n not in after or not _equal(before[n], after[n]))


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, tuple) and isinstance(b, tuple):
        return len(a) == len(b) and all(_equal(i, j) for i, j in zip(a, b, strict=True))
    if isinstance(a, np.ndarray) or isinstance(b, np.ndarray):
        return bool(np.array_equal(a, b, equal_nan=True))
    return bool(a == b)
