"""Models by name."""

from __future__ import annotations

from collections.abc import Callable

from handgrad.errors import ArgumentError
from handgrad.graph import Graph
from handgrad.models.lenet import lenet
from handgrad.models.resnet import resnet18, resnet20, resnet50
from handgrad.models.small_cnn import small_cnn
from handgrad.models.whitened_cnn import whitened_cnn

MODELS: dict[str, Callable[..., Graph]] = {
    "small_cnn": small_cnn,
    "lenet": lenet,
    "resnet18": resnet18,
    "resnet20": resnet20,
    "resnet50": resnet50,
    "whitened_cnn": whitened_cnn,
}


def get(name: str) -> Callable[..., Graph]:
    """Return the function that makes a model, from its name.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """
    if name not in MODELS:
        raise ArgumentError("model", expected=f"one of {', '.join(MODELS)}", got=repr(name))
    return MODELS[name]
