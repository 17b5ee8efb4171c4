"""Convolutional networks with every gradient written by hand."""

import importlib
from typing import TYPE_CHECKING, Any

from handgrad import errors, layers, rng
from handgrad.graph import Graph, Input, ModelInfo, Predictor, Sequential, Symbol, fold
from handgrad.kernels import get_threads, set_threads
from handgrad.layers import Run

if TYPE_CHECKING:
    from handgrad import compat, data, inspect, io, kernels, losses, models, optim, testing, train, viz
    from handgrad.io import load, save
    from handgrad.train import Trainer, precise_statistics, statistics_gap

__version__ = "0.1.0"

__all__ = [
    "Graph",
    "Input",
    "ModelInfo",
    "Predictor",
    "Run",
    "Sequential",
    "Symbol",
    "Trainer",
    "compat",
    "data",
    "errors",
    "fold",
    "get_threads",
    "inspect",
    "io",
    "kernels",
    "layers",
    "load",
    "losses",
    "models",
    "optim",
    "precise_statistics",
    "rng",
    "save",
    "set_threads",
    "statistics_gap",
    "testing",
    "train",
    "viz",
]

_LATER = {
    "load": "handgrad.io",
    "save": "handgrad.io",
    "Trainer": "handgrad.train",
    "precise_statistics": "handgrad.train",
    "statistics_gap": "handgrad.train",
}


def __getattr__(name: str) -> Any:
    """Import what is not needed at once when it is first used."""
    if name in _LATER:
        return getattr(importlib.import_module(_LATER[name]), name)
    if name in __all__:
        return importlib.import_module(f"handgrad.{name}")
    raise AttributeError(f"module 'handgrad' has no attribute {name!r}")


def __dir__() -> list[str]:
    """Return the public names, also those that were not used yet."""
    return [*__all__, "__version__"]
