"""Transforms to configurations that JSON can hold, and back."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import Any

from handgrad.arguments import plain
from handgrad.data.transform import Transform
from handgrad.data.transforms import AlternatingFlip, Compose, Cutout, Normalize, RandomCrop, RandomFlip
from handgrad.errors import ArgumentError
from handgrad.typing import Config

PLAIN = (Normalize, RandomFlip, AlternatingFlip, RandomCrop, Cutout)
FIXED = (Normalize,)
"""Those that draw no random numbers, and so give the same to every image."""

BY_NAME = {kind.__name__: kind for kind in (*PLAIN, Compose)}


def to_config(transform: Transform) -> Config:
    """Return what JSON can hold of a transform, for `from_config`.

    Raises
    ------
    ArgumentError
        If it is none of handgrad's own.

    Examples
    --------
    >>> to_config(RandomCrop(2, mode="edge"))
    {'class': 'RandomCrop', 'padding': 2, 'mode': 'edge'}
    """
    if isinstance(transform, Compose):
        return {"class": "Compose", "transforms": [to_config(t) for t in transform.transforms]}
    if isinstance(transform, PLAIN):
        values = {f.name: getattr(transform, f.name) for f in fields(transform)}
        return {"class": type(transform).__name__, **{name: plain(v) for name, v in values.items()}}
    raise ArgumentError(
        "transform",
        expected=f"one of {', '.join(BY_NAME)}, which a configuration can name",
        got=type(transform).__name__,
    )


def steps(transform: Transform) -> tuple[Transform, ...]:
    """Return the transforms that one consists of, in order."""
    if isinstance(transform, Compose):
        return tuple(step for each in transform.transforms for step in steps(each))
    return (transform,)


def fixed_steps(transform: Transform | None) -> tuple[Transform, ...]:
    """Return those steps of a transform of training images that are no chance: what all images need."""
    return tuple(step for step in steps(transform) if isinstance(step, FIXED)) if transform else ()


def from_config(config: Config) -> Transform:
    """Return the transform that `to_config` described.

    Raises
    ------
    ArgumentError
        If it is no configuration, its class or one of its fields is unknown, a field is missing, or a value
        means nothing.
    """
    if not isinstance(config, dict):
        raise ArgumentError("transform", expected='a dict with a "class"', got=repr(config))
    values: dict[str, Any] = dict(config)
    name = values.pop("class", None)
    if not isinstance(name, str) or name not in BY_NAME:
        raise ArgumentError("transform", expected=f"a class of {', '.join(BY_NAME)}", got=repr(name))
    known = [f.name for f in fields(BY_NAME[name])]
    if unknown := [str(field) for field in values if field not in known]:
        raise ArgumentError(name, expected=f"fields of {', '.join(known)}", got=", ".join(unknown))
    required = [f.name for f in fields(BY_NAME[name]) if f.default is MISSING]
    if missing := [field for field in required if field not in values]:
        raise ArgumentError(name, expected=f"a value for {', '.join(missing)}", got="none")
    if name == "Compose":
        configs = values["transforms"]
        if not isinstance(configs, list | tuple):
            raise ArgumentError("Compose", expected="a list of transforms", got=repr(configs))
        values["transforms"] = [from_config(c) for c in configs]
    transform: Transform = BY_NAME[name](**values)
    return transform
