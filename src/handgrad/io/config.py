"""Models as JSON and back: layers, connections and names, without the values of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handgrad import layers
from handgrad.errors import CheckpointError
from handgrad.graph import Graph, Input, Symbol
from handgrad.layers import Layer
from handgrad.typing import Config

VERSION = 1


def model_config(model: Graph) -> Config:
    """Return what `model_from_config` makes the same model from, with other values of parameters.

    Returns
    -------
    dict
        ``input_shape``, ``dtype``, ``seed``, ``name``, and ``nodes``: for each its name, its inputs (0 is the
        model's input, i + 1 the output of node i), and its layer's class and configuration, or the name of
        the node that it shares the layer of.
    """
    first: dict[int, str] = {}
    nodes: list[Config] = []
    for node in model.nodes:
        entry: Config = {"name": node.name, "inputs": list(node.inputs)}
        if id(node.layer) in first:
            entry["shares"] = first[id(node.layer)]
        else:
            first[id(node.layer)] = node.name
            kind = type(node.layer)
            entry |= {"class": kind.__name__, "config": node.layer.config()}
            if getattr(layers, kind.__name__, None) is not kind:
                entry["module"] = kind.__module__
        nodes.append(entry)
    return {
        "version": VERSION,
        "name": model.name,
        "input_shape": list(model.input_shape),
        "dtype": model.dtype.name,
        "seed": int(model.seed),
        "nodes": nodes,
    }


def model_from_config(config: Config, custom_objects: Mapping[str, type] | None = None) -> Graph:
    """Return a new model.

    Parameters
    ----------
    config : dict
        From `model_config`.
    custom_objects : mapping of str to class, optional
        Layers and initializers that are not of handgrad, by the names of their classes.

    Raises
    ------
    CheckpointError
        If it was made by a newer version, or has a layer of unknown class.
    """
    if config["version"] > VERSION:
        raise CheckpointError(
            "model",
            expected=f"format {VERSION} or older",
            got=f"format {config['version']}",
            do="update handgrad: python -m pip install -U handgrad",
        )
    inputs = Input(tuple(config["input_shape"]))
    values: list[Symbol] = [inputs]
    made: dict[str, Layer] = {}
    for entry in config["nodes"]:
        name = entry["name"]
        layer = made[entry["shares"]] if "shares" in entry else _layer(entry, custom_objects or {})
        made[name] = layer
        values.append(inputs.apply(layer, tuple(values[i] for i in entry["inputs"]), name))
    return Graph(inputs, values[-1], seed=config["seed"], dtype=config["dtype"], name=config["name"])


def _layer(entry: Config, custom_objects: Mapping[str, type]) -> Layer:
    name = entry["class"]
    kind = custom_objects.get(name, None if "module" in entry else getattr(layers, name, None))
    if not (isinstance(kind, type) and issubclass(kind, Layer)):
        raise CheckpointError(
            entry["name"],
            expected="a layer of handgrad",
            got=f"class {name}{' of ' + entry['module'] if 'module' in entry else ''}",
            do=f'pass custom_objects={{"{name}": {name}}}',
        )
    return kind.from_config({k: _custom(v, custom_objects) for k, v in entry["config"].items()})


def _custom(value: Any, custom_objects: Mapping[str, type]) -> Any:
    """Return the user's own initializer where `value` is the configuration of one."""
    if not isinstance(value, dict) or value.get("class") not in custom_objects:
        return value
    fields = dict(value)
    initializer: Any = custom_objects[fields.pop("class")](**fields)
    return initializer
