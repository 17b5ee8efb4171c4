"""Models in one file."""

from __future__ import annotations

import os
import warnings
from collections.abc import Mapping
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, CheckpointError, HandgradError
from handgrad.graph import Graph, Predictor
from handgrad.io.config import model_config, model_from_config
from handgrad.io.described import check_custom_objects
from handgrad.io.tensors import read_tensors, write_tensors
from handgrad.layers import Layer
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

    Raises
    ------
    ArgumentError
        If an argument is something else; nothing is written then.

    Notes
    -----
    The header holds a checksum of all that is in the file, which `load` verifies: see `write_tensors`.

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
    _check_model(model, path)
    if not isinstance(about, Mapping | None):
        got = f"a {type(about).__name__}"
        raise ArgumentError("save about", expected="a mapping of names to what JSON can hold", got=got)
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
        If there is no such file, it is damaged, altered or of another program, or it holds no model that can
        be made; says what the file is.

    Warns
    -----
    UserWarning
        If a parameter or buffer holds NaN or infinity.
    """
    check_custom_objects(custom_objects)
    tensors, header = _read(path)
    prefix = header.get("prefix", "")
    of_original = {name: t for name, t in tensors.items() if name.startswith(ORIGINAL)}
    if "original" not in header:
        return _model(path, header["model"], tensors, prefix, custom_objects)
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
    state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
    limit = sum(t.size for t in state.values())
    try:
        model = model_from_config(config, custom_objects, limit=limit)
        model.load_state(state)
    except HandgradError as error:
        raise in_file(path, error) from error
    if broken := [name for name, t in state.items() if not _finite(t)]:
        more = f" and {len(broken) - 1} more" if len(broken) > 1 else ""
        warnings.warn(
            f"{os.fspath(path)}: {broken[0]}{more} with NaN or infinity, and so will be what it predicts",
            stacklevel=3,
        )
    return model


def _finite(a: Array) -> bool:
    """Whether all elements are finite: a sum says yes at once, as nearly always."""
    if a.dtype.kind not in "fc":
        return True
    wide = np.complex128 if a.dtype.kind == "c" else np.float64
    with np.errstate(all="ignore"):
        return bool(np.isfinite(np.sum(a, dtype=wide)) or np.isfinite(a).all())


def load_about(path: str | os.PathLike[str]) -> Config:
    """Return what `save` was given as `about`."""
    about = _read(path)[1].get("about", {})
    if not isinstance(about, dict):
        got = type(about).__name__
        raise CheckpointError(os.fspath(path), expected="what was saved about a model", got=f"a {got}")
    return about


def _read(path: str | os.PathLike[str]) -> tuple[dict[str, Any], Config]:
    tensors, header = read_tensors(path)
    if not isinstance(header.get("model"), dict) or not isinstance(header.get("prefix", ""), str):
        raise CheckpointError(os.fspath(path), expected="a model", got="a file without one")
    return tensors, header


def in_file(path: str | os.PathLike[str], error: HandgradError) -> CheckpointError:
    """Return an error in what a file describes, with the file's name before it."""
    of_all = error.where in ("load_state", "model")
    where = os.fspath(path) if of_all else f"{os.fspath(path)}: {error.where}"
    got = error.got if len(error.got) < 1000 else f"{error.got[:1000]}..."
    return CheckpointError(where, expected=error.expected, got=got, do=error.do, source=error.source)


def _check_model(model: Any, path: Any) -> None:
    """Raise ArgumentError, with what to pass, unless `model` is one."""
    if isinstance(model, Graph):
        return
    do, got = "", f"a {type(model).__name__}"
    if isinstance(getattr(model, "model", None), Graph):  # a trainer
        do = "pass its .model; its own .save(path) keeps all that training goes on from"
    elif isinstance(model, Predictor):
        do = "pass the model that it was made of"
    elif isinstance(model, Layer):
        do = "put it into a model: Sequential([layer], input_shape=...)"
    elif isinstance(path, Graph):
        do = "pass the model first: save(model, path)"
    raise ArgumentError("save", expected="a model", got=got, do=do)
