"""What may be assigned to a layer: once it is built, no argument that its parameters follow from."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.arguments import check_flag
from handgrad.errors import ArgumentError, BuildError, ShapeError
from handgrad.layers.initializers import Initializer, get_initializer
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.typing import Shape

if TYPE_CHECKING:
    from handgrad.layers.layer import Layer


def check_attribute(layer: Layer, name: str, value: Any) -> None:
    """Raise if `value` must not become the attribute `name` of a layer; nothing has changed then."""
    state = vars(layer)
    held, built = state.get(name), state.get("input_shape") is not None
    if name == "trainable":
        check_flag(layer.where, name, value)
    elif name == "name":
        if not isinstance(value, str | None):
            kind = type(layer).__name__
            raise ArgumentError(f"{kind} name", expected="a string or None", got=repr(value))
    elif not built or value is held:
        return
    elif isinstance(held, Parameter | Buffer) or isinstance(value, Parameter | Buffer):
        _check_replacement(layer, name, held, value)
    elif name == "input_shape" and value is not None:
        raise ArgumentError(
            f"{layer.where} input_shape",
            expected=f"{held}, which it was built for",
            got=repr(value),
            do="make a new layer for another shape",
        )
    elif name in constructor_fields(type(layer)):
        _check_change(layer, name, value)


def check_flags(layer: Layer) -> None:
    """Raise ArgumentError if an argument that is declared as a bool is something else."""
    for field in fields(layer):
        if field.init and field.type in ("bool", bool):
            check_flag(layer.where, field.name, getattr(layer, field.name, False))


def constructor_fields(kind: type[Layer]) -> tuple[str, ...]:
    """Return the names of a layer's dataclass fields that its constructor takes."""
    return tuple(f.name for f in fields(kind) if f.init)


def _check_replacement(layer: Layer, name: str, held: Any, value: Any) -> None:
    """Raise unless a parameter or buffer takes the place of another that it fits."""
    where = f"{layer.where} {name}"
    if not isinstance(held, Parameter | Buffer):
        raise ArgumentError(
            where,
            expected="the parameters and buffers that it was built with",
            got=f"another {type(value).__name__}",
            do="create makes them all, by the constructor's arguments: make a new layer",
        )
    if not isinstance(value, type(held)):
        do = f"to set its numbers: layer.{name}.value = array"
        if value is None:
            do = "whether there is one follows from the constructor's arguments: make a new layer"
        raise ArgumentError(
            where,
            expected=f"a {type(held).__name__} of shape {held.shape}",
            got="None" if value is None else type(value).__name__,
            do=do,
        )
    if value.shape != held.shape:
        raise ShapeError(where, expected=f"shape {held.shape}", got=f"{value.shape}")
    if value.value.dtype != held.value.dtype:
        raise ArgumentError(where, expected=f"{held.value.dtype}", got=f"{value.value.dtype}")
    value.name = value.name or held.name


@dataclass(frozen=True)
class _Shapes(Init):
    """Creates parameters for their shapes alone."""

    def parameter(
        self,
        name: str,
        shape: Shape,
        initializer: str | Initializer,
        *,
        fans: tuple[int, int] = (1, 1),
        decay: bool = True,
    ) -> Parameter:
        """Return a parameter of zeros."""
        get_initializer(initializer)
        return Parameter(np.zeros(shape, self.dtype), decay=decay, name=name)


def _check_change(layer: Layer, name: str, value: Any) -> None:
    """Raise if a layer with this argument would have other parameters, or outputs of another shape."""
    trial = copy.copy(layer)
    owned = {n for n, v in vars(layer).items() if isinstance(v, Parameter | Buffer)}
    vars(trial).update(dict.fromkeys(owned | {"input_shape"}), **{name: value})
    out = trial.build(layer.input_shape, _Shapes())
    if out != layer.output_shape(layer.input_shape) or _shapes(trial) != _shapes(layer):
        raise ArgumentError(
            f"{layer.where} {name}",
            expected=f"{getattr(layer, name)!r}, which it was built with",
            got=repr(value),
            do="its parameters, or what follows it, would not fit: make a new layer, and a new model",
        )


def _shapes(layer: Layer) -> dict[str, Shape]:
    return {name: owned.shape for name, owned in (layer.parameters() | layer.buffers()).items()}


def check_created(layer: Layer, before: dict[str, Any]) -> None:
    """Raise if `create` took the place of what was assigned before, or made what no model would find.

    Raises
    ------
    BuildError
        If something in `before`, the layer's attributes, was a parameter, or stood where one is now; or if a
        layer, list, tuple or dict among the attributes holds parameters or buffers that the layer's
        `parameters` and `buffers` do not return: they would be neither trained nor saved.
    """
    own = {id(p): name for name, p in (layer.parameters() | layer.buffers()).items()}
    first = "input_shape" not in before
    for name, value in vars(layer).items():
        was = before.get(name) if first else None
        if was is not None and was is not value and isinstance(value, Parameter | Buffer):
            raise BuildError(
                f"{layer.where} {name}",
                expected="nothing before build, which creates it",
                got=f"{'an' if isinstance(was, np.ndarray) else 'a'} {type(was).__name__}",
                do=f"build the layer, or make the model, first; then layer.{name}.value = array",
            )
        hidden = {id(p): p for p in _held(value, set()) if id(p) not in own}
        if hidden:
            raise BuildError(
                layer.where,
                expected="parameters and buffers that are attributes of the layer itself",
                got=f"{len(hidden)} in its attribute {name}, a {type(value).__name__}",
                do="they would be neither trained nor saved: give each an attribute of its own; and connect "
                "layers in a model, handgrad.Sequential or Graph, which can be called on a symbol as a layer",
            )


def _held(value: Any, seen: set[int]) -> Iterator[Parameter | Buffer]:
    """Yield the parameters and buffers that an attribute holds."""
    if id(value) in seen:
        return
    seen.add(id(value))
    if isinstance(value, Parameter | Buffer):
        yield value
    elif isinstance(value, list | tuple | set | frozenset | dict):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _held(part, seen)
    elif _has_parameters(value):
        yield from (*value.parameters().values(), *value.buffers().values())


def _has_parameters(value: Any) -> bool:
    """Whether it is a layer or, of what this room does not know, a model."""
    methods = ("parameters", "buffers", "freeze", "unfreeze")
    return not isinstance(value, type) and all(callable(getattr(value, name, None)) for name in methods)


def check_declared(kind: type[Layer]) -> None:
    """Raise BuildError if a class has fields, but was not made a dataclass: no constructor takes them."""
    own = vars(kind)
    if "__dataclass_fields__" in own or "__init__" in own:
        return
    annotations = inspect.get_annotations(kind)
    names = [
        n for n, a in annotations.items() if "ClassVar" not in str(a) and n not in kind.__dataclass_fields__
    ]
    if names:
        raise BuildError(
            kind.__name__,
            expected="a dataclass, whose fields are the arguments",
            got=f"a class with {', '.join(names)}, and no constructor that takes them",
            do=f"write @dataclass(eq=False) above class {kind.__name__}",
        )


def arguments_of(kind: type[Layer]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the names of a layer's arguments, and of those among them that its constructor takes.

    They are the same for a dataclass. A constructor written by hand may leave out `name` and `trainable`,
    which are set as attributes then.
    """
    declared = constructor_fields(kind)
    parameters = list(inspect.signature(kind.__init__).parameters.values())[1:]
    taken = tuple(p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY))
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        taken = (*declared, *(name for name in taken if name not in declared))
    elif set(taken) == set(declared):
        taken = declared
    return tuple(dict.fromkeys(("name", "trainable", *taken))), taken


def required_arguments(kind: type[Layer]) -> list[str]:
    """Return the arguments of a layer's constructor that have no default."""
    by_name = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
    parameters = inspect.signature(kind).parameters.values()
    return [p.name for p in parameters if p.kind in by_name and p.default is p.empty]
