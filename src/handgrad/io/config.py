"""Models as JSON and back: layers, connections and names, without the values of parameters."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from handgrad import layers
from handgrad.errors import CheckpointError, HandgradError
from handgrad.graph import Graph, Input, ModelInfo, Symbol
from handgrad.io.described import VERSION, check_config, check_custom_objects, layer_config
from handgrad.layers import Init, Layer, Merge
from handgrad.typing import Config


def model_config(model: Graph) -> Config:
    """Return what `model_from_config` makes the same model from, with other values of parameters.

    Returns
    -------
    dict
        ``input_shape``, ``dtype``, ``seed``, ``name``, ``info``, as `ModelInfo.config` gives it, and
        ``nodes``: for each its name, its inputs (0 is the model's input, i + 1 the output of node i), and its
        layer's class and configuration, or the name of the node that it shares the layer of.
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
        "info": model.info.config(),
        "nodes": nodes,
    }


def model_from_config(
    config: Config, custom_objects: Mapping[str, type] | None = None, *, limit: int | None = None
) -> Graph:
    """Return a new model.

    Parameters
    ----------
    config : dict
        From `model_config`.
    custom_objects : mapping of str to class, optional
        Layers and initializers that are not of handgrad, by the names of their classes.
    limit : int, optional
        How many elements a parameter or buffer may have: what a stranger describes asks for no more memory.

    Raises
    ------
    ArgumentError
        If `custom_objects` is something else.
    CheckpointError
        If it was made by a newer version, has a layer of unknown class, or is no description of a model.
    HandgradError
        What a layer raises of arguments or an input shape that it cannot take.
    """
    custom = check_custom_objects(custom_objects)
    check_config(config)
    try:
        return _graph(config, custom, limit)
    except HandgradError:
        raise
    except Exception as error:  # a class that came as a custom object raises whatever it does
        raise CheckpointError(
            "model", expected="a model as handgrad describes it", got=f"another ({error!r})"
        ) from error


def _graph(config: Config, custom_objects: Mapping[str, type], limit: int | None) -> Graph:
    inputs = Input(tuple(config["input_shape"]))
    values: list[Symbol] = [inputs]
    made: dict[str, Layer] = {}
    for entry in config["nodes"]:
        name = entry["name"]
        layer = made[entry["shares"]] if "shares" in entry else _layer(entry, custom_objects)
        made[name] = layer
        taken = tuple(values[i] for i in entry["inputs"])
        values.append(inputs.apply(layer, taken, name))
        if limit is not None and not layer.built:
            layer.path = name
            shapes = tuple(symbol.shape for symbol in taken)
            shape = shapes if isinstance(layer, Merge) else shapes[0]
            layer.build(shape, Init(dtype=config["dtype"], limit=limit, where=f"{name}."))
    model = Graph(inputs, values[-1], seed=config["seed"], dtype=config["dtype"], name=config.get("name"))
    if "info" in config:  # files of older versions say nothing about outputs
        model.info = ModelInfo.from_config(config["info"])
    return model


def _layer(entry: Config, custom_objects: Mapping[str, type]) -> Layer:
    name = entry["class"]
    known: Any = None if "module" in entry or name not in layers.__all__ else getattr(layers, name)
    kind = custom_objects.get(name, known)
    if not (isinstance(kind, type) and issubclass(kind, Layer) and kind not in (Layer, Merge)):
        raise CheckpointError(
            entry["name"],
            expected="a layer of handgrad",
            got=f"class {name}{' of ' + str(entry['module']) if 'module' in entry else ''}",
            do=f'pass custom_objects={{"{name}": {name}}}',
        )
    if not issubclass(kind, Merge) and len(entry["inputs"]) != 1:
        got = f"{len(entry['inputs'])}"
        raise CheckpointError(entry["name"], expected=f"one input of a {name}", got=got)
    config = entry["config"]
    if name not in custom_objects:
        config = layer_config(entry["name"], kind, config)
    layer: Layer = kind.from_config({k: _custom(v, custom_objects) for k, v in config.items()})
    return layer


def _custom(value: Any, custom_objects: Mapping[str, type]) -> Any:
    """Return the user's own initializer where `value` is the configuration of one."""
    kind = value.get("class") if isinstance(value, dict) else None
    if not isinstance(kind, str) or kind not in custom_objects:
        return value
    fields = dict(value)
    initializer: Any = custom_objects[fields.pop("class")](**fields)
    return initializer
