"""What may be assigned to a model, and where it is that others have what it has not."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from handgrad.errors import ArgumentError

if TYPE_CHECKING:
    from handgrad.graph.graph import Graph

FIXED = ("dtype", "input_shape", "output_shape", "nodes")

_TRAINER = "handgrad.Trainer(model, loss, optimizer) has it"
_MODE = "the mode is an argument: forward(x, handgrad.Run(training=True)), and predict(x)"
ELSEWHERE = {
    "fit": _TRAINER,
    "evaluate": _TRAINER,
    "train_on_batch": "handgrad.Trainer(model, loss, optimizer) has train_step",
    "compile": "give loss and optimizer to handgrad.Trainer(model, loss, optimizer)",
    "train": _MODE,
    "eval": _MODE,
    "add": "give all layers to Sequential([...])",
    "append": "give all layers to Sequential([...])",
    "save": "handgrad.save(model, path)",
    "save_weights": "handgrad.save(model, path)",
    "load": "handgrad.load(path)",
    "load_weights": "handgrad.load(path)",
    "weights": "parameters() and buffers() have them by name",
    "trainable_weights": "trainable_parameters() has them by name",
    "get_weights": "state() has copies by name",
    "state_dict": "state() has copies by name",
    "set_weights": "load_state(state) sets all of them",
    "load_state_dict": "load_state(state) sets all of them",
    "named_parameters": "parameters() has them by name",
    "trainable": "freeze() and unfreeze(), of a model or a layer; a layer has trainable",
}
"""By the names that other libraries have for it."""


def check_attribute(model: Graph, name: str, value: Any) -> None:
    """Raise ArgumentError if an attribute is not one that may be set: nothing would come of it."""
    if name == "trainable":
        where, do = (
            f"{type(model).__name__} trainable",
            "call freeze() or unfreeze(), of the model or a layer",
        )
        raise ArgumentError(where, expected="not to be set", got=repr(value), do=do)
    if name in FIXED and name in vars(model):
        raise ArgumentError(
            f"{type(model).__name__} {name}",
            expected=f"{name} to stay as it was made",
            got=repr(value),
            do="make a new model",
        )


def no_attribute(model: Graph, name: str) -> AttributeError:
    """Return the error of an attribute that a model has not, with where it is."""
    elsewhere = f"; {ELSEWHERE[name]}" if name in ELSEWHERE else ""
    return AttributeError(
        f"{type(model).__name__!r} object has no attribute {name!r}{elsewhere}", name=name, obj=model
    )


def check_state_given(state: Any) -> None:
    """Raise ArgumentError if `state` is no dict, such as a model or the path of a file."""
    if isinstance(state, Mapping):
        return
    do = "give it what state() of the other model returns" if hasattr(state, "state") else ""
    if isinstance(state, str | os.PathLike):
        do = "handgrad.load(path) makes the model that a file holds"
    raise ArgumentError("load_state", expected="a dict of arrays by name", got=type(state).__name__, do=do)
