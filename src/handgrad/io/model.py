"""Models in one file."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from handgrad.errors import ArgumentError, CheckpointError
from handgrad.graph import Graph
from handgrad.io.config import model_config, model_from_config
from handgrad.io.tensors import read_tensors, write_tensors
from handgrad.typing import Array, Config

ORIGINAL = "original/"
"""What the names of tensors begin with that belong to the model a folded one was made of."""


def save(model: Graph, path: str | os.PathLike[str], *, about: Mapping[str, Any] | None = None) -> None:
    """Write a model to a safetensors file.

    Parameters
    ----------
    model : Graph
        Its parameters and buffers become tensors of their names, its layers and connections JSON in the
        header. A folded model's original comes with it, its tensors under ``original/``.
    path : path
        Of the file; what stood there is replaced at once or not at all.
    about : mapping, optional
        Anything else to keep with it that JSON can hold, such as class names; `load_about` returns it.

    Examples
    --------
    >>> import handgrad as hg, tempfile, os
    >>> model = hg.Sequential([hg.layers.Dense(3)], input_shape=(4,))
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = os.path.join(folder, "m.safetensors")
    ...     hg.save(model, path)
    ...     again = hg.load(path)
    >>> bool((again["dense"].weight.value == model["dense"].weight.value).all())
    True
    """
    tensors, header = model.state(), {"model": model_config(model), "about": dict(about or {})}
    if model.original is not None:
        tensors |= {ORIGINAL + name: tensor for name, tensor in model.original.state().items()}
        header["original"] = model_config(model.original)
    write_tensors(path, tensors, header)


def load(path: str | os.PathLike[str], custom_objects: Mapping[str, type] | None = None) -> Graph:
    """Return the model in a file from `save`, or the one in a checkpoint.

    Parameters
    ----------
    path : path
        Of the file.
    custom_objects : mapping of str to class, optional
        Layers and initializers that are not of handgrad, by the names of their classes.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged, or it holds no model that can be made.
    """
    tensors, header = _read(path)
    of_original = {name: t for name, t in tensors.items() if name.startswith(ORIGINAL)}
    if "original" not in header:
        return _model(path, header["model"], tensors, header.get("prefix", ""), custom_objects)
    rest = {name: t for name, t in tensors.items() if name not in of_original}
    model = _model(path, header["model"], rest, "", custom_objects)
    model.original = _model(path, header["original"], of_original, ORIGINAL, custom_objects)
    return model


def _model(
    path: str | os.PathLike[str],
    config: Config,
    tensors: Mapping[str, Array],
    prefix: str,
    custom_objects: Mapping[str, type] | None,
) -> Graph:
    """Return a model with the state in the tensors that begin with `prefix`."""
    try:
        model = model_from_config(config, custom_objects)
    except (ArgumentError, AttributeError, IndexError, KeyError, TypeError) as error:
        reason = error if isinstance(error, ArgumentError) else repr(error)
        raise CheckpointError(
            os.fspath(path), expected="a model as handgrad describes it", got=f"another ({reason})"
        ) from error
    model.load_state({name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)})
    return model


def load_about(path: str | os.PathLike[str]) -> Config:
    """Return what `save` was given as `about`."""
    about: Config = _read(path)[1].get("about", {})
    return about


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Config]:
    tensors, header = read_tensors(path)
    if not isinstance(header.get("model"), dict):
        raise CheckpointError(os.fspath(path), expected="a model", got="a file without one")
    return tensors, header
