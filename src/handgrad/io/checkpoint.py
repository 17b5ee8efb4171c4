"""Checkpoints: all that training goes on from, in one file."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from handgrad.arguments import unmasked
from handgrad.errors import CheckpointError
from handgrad.io.tensors import read_tensors, write_tensors
from handgrad.typing import Array, Config

MODEL, OPTIMIZER, CALLBACKS = "model/", "optimizer/", "callbacks/"


@dataclass(frozen=True)
class Checkpoint:
    """The state of a training run between two steps.

    Attributes
    ----------
    model : Config
        Layers and connections.
    state : dict of str to ndarray
        Parameters and buffers.
    optimizer : dict
        State of the optimizer: arrays, and numbers of steps.
    callbacks : dict of str to ndarray
        Arrays that callbacks keep.
    progress : dict
        Where the run is, as JSON can hold it: epoch, batch, sums so far, history, callbacks.
    """

    model: Config
    state: dict[str, Array]
    optimizer: dict[str, Array | int]
    callbacks: dict[str, Array]
    progress: Config


def save_checkpoint(path: str | os.PathLike[str], checkpoint: Checkpoint) -> None:
    """Write a checkpoint, replacing what stood at `path` at once or not at all; `load` reads its model."""
    parts = ((MODEL, checkpoint.state), (OPTIMIZER, checkpoint.optimizer), (CALLBACKS, checkpoint.callbacks))
    tensors = {prefix + name: unmasked(name, v) for prefix, part in parts for name, v in part.items()}
    header = {"model": checkpoint.model, "prefix": MODEL, "progress": checkpoint.progress}
    write_tensors(path, tensors, header)


def load_checkpoint(path: str | os.PathLike[str]) -> Checkpoint:
    """Return what `save_checkpoint` wrote.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged, or it is no checkpoint.
    """
    tensors, header = read_tensors(path)
    if not all(isinstance(header.get(part), dict) for part in ("model", "progress")):
        raise CheckpointError(
            os.fspath(path), expected="a checkpoint", got="a model without the state of its training"
        )
    parts: dict[str, dict[str, Any]] = {
        prefix: {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith(prefix)}
        for prefix in (MODEL, OPTIMIZER, CALLBACKS)
    }
    model, optimizer, callbacks = parts.values()
    return Checkpoint(header["model"], model, optimizer, callbacks, header["progress"])
