"""Whether JSON describes a model: all that can be said before a layer is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, fields
from reprlib import Repr
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, CheckpointError
from handgrad.layers import Layer
from handgrad.typing import Config, is_bfloat16, is_integer

VERSION = 1
_SHORT = Repr()
_SHORT.maxstring = _SHORT.maxother = 60


def check_config(config: Any) -> None:
    """Raise CheckpointError unless `config` has the form that `model_config` returns."""
    where = "model"
    _require(isinstance(config, dict), where, "an object that describes it", config)
    version = config.get("version")
    if is_integer(version) and version > VERSION:
        raise CheckpointError(
            where,
            expected=f"format {VERSION} or older",
            got=f"format {version}",
            do="update handgrad: python -m pip install -U handgrad",
        )
    shape, name, seed = (config.get(key) for key in ("input_shape", "name", "seed"))
    _require(is_integer(version) and version >= 1, where, "version to be a whole number", version)
    _require(_integers(shape, least=1), where, "input_shape to be a list of whole numbers", shape)
    _require(name is None or isinstance(name, str), where, "name to be text", name)
    _require(is_integer(seed) and seed >= 0, where, "seed to be a whole number of at least 0", seed)
    dtype = config.get("dtype")
    _require(_is_dtype(dtype), where, "dtype to be a floating-point type", dtype)
    nodes = config.get("nodes")
    _require(isinstance(nodes, list) and nodes != [], where, "nodes to be a list of layers", nodes)
    names: set[str] = set()
    for i, node in enumerate(nodes):
        _check_node(f"node {i}", i, node, names)
        names.add(node["name"])


def _check_node(where: str, i: int, node: Any, before: set[str]) -> None:
    _require(isinstance(node, dict), where, "an object that describes a layer", node)
    name, inputs = node.get("name"), node.get("inputs")
    _require(isinstance(name, str) and name != "", where, "name to be text", name)
    _require(name not in before, where, "a name of its own", name)
    _require(
        _integers(inputs) and all(k <= i for k in inputs) and inputs != [],
        name,
        f"inputs to be numbers from 0 to {i}, of the values before it",
        inputs,
    )
    if "shares" in node:
        shares = node["shares"]
        known = isinstance(shares, str) and shares in before
        _require(known, name, "shares to be the name of a layer before it", shares)
        return
    kind, config = node.get("class"), node.get("config")
    _require(isinstance(kind, str), name, "class to be the name of a class", kind)
    _require(isinstance(config, dict), name, "config to be an object with the layer's arguments", config)


def layer_config(where: str, kind: type[Layer], config: Config) -> Config:
    """Return the arguments of one of handgrad's layers, with flags that are bools.

    Raises
    ------
    CheckpointError
        If one is missing, or of a kind that no layer looks at itself: flags, and the name.
    """
    config = dict(config)
    for f in fields(kind):
        if f.name not in config:
            optional = not f.init or f.default is not MISSING or f.default_factory is not MISSING
            _require(optional, where, f"{f.name} of the {kind.__name__}", None)
            continue
        value = config[f.name]
        if f.type == "bool":
            flag = isinstance(value, int) and value in (0, 1)  # as Python takes them for flags
            _require(flag, where, f"{f.name} to be true or false", value)
            config[f.name] = bool(value)
        if f.name == "name":
            _require(value is None or isinstance(value, str), where, "name to be text", value)
    return config


def check_custom_objects(custom_objects: Any) -> Mapping[str, type]:
    """Return `custom_objects` as a mapping; raise ArgumentError if they are no classes by name."""
    if custom_objects is None:
        return {}
    expected = "classes by name"
    if not isinstance(custom_objects, Mapping):
        kinds = custom_objects if isinstance(custom_objects, list | tuple | set) else (custom_objects,)
        names = [kind.__name__ for kind in kinds if isinstance(kind, type)]
        pairs = ", ".join(f'"{name}": {name}' for name in names) or '"Name": Name'
        got = type(custom_objects).__name__
        raise ArgumentError("custom_objects", expected=expected, got=f"a {got}", do=f"pass {{{pairs}}}")
    for name, kind in custom_objects.items():
        if not isinstance(name, str) or not isinstance(kind, type):
            got = f"{_SHORT.repr(kind)} for {name!r}"
            raise ArgumentError("custom_objects", expected=expected, got=got, do="pass the class itself")
    return custom_objects


def _require(fits: bool, where: str, expected: str, value: Any) -> None:
    if not fits:
        got = "nothing" if value is None else _SHORT.repr(value)
        raise CheckpointError(where, expected=expected, got=got)


def _integers(value: Any, least: int = 0) -> bool:
    return isinstance(value, list | tuple) and all(is_integer(n) and n >= least for n in value)


def _is_dtype(name: Any) -> bool:
    if not isinstance(name, str):
        return False
    try:
        dtype = np.dtype(name)
    except (TypeError, ValueError, SyntaxError):
        return False
    return dtype.names is None and (dtype.kind in "fc" or is_bfloat16(dtype))
