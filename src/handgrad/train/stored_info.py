"""What a model's file and its run's folder say of outputs and inputs, besides ``model.info``."""

from __future__ import annotations

import warnings
from dataclasses import replace
from pathlib import Path

from handgrad import losses
from handgrad.data.preprocessing import described, recorded
from handgrad.data.transform_config import fixed_steps, from_config
from handgrad.errors import HandgradError
from handgrad.graph import Graph, ModelInfo
from handgrad.train.outputs import output_kind
from handgrad.train.recipe_file import read_toml_or_json
from handgrad.typing import Config


def complete_info(model: Graph, about: Config, config: Path) -> ModelInfo:
    """Return ``model.info``, and what it lacks from elsewhere: files of older versions have none.

    Parameters
    ----------
    model : Graph
        From the file.
    about : dict
        What was saved about it: ``"loss"`` says what outputs mean, ``"classes"`` names them.
    config : path
        Where the configuration of its run would be, whose recipe says what images passed through.

    Warns
    -----
    UserWarning
        If images passed through something that only the recipe says.
    """
    info, classes = model.info, about.get("classes")
    if not info.classes and isinstance(classes, list) and all(isinstance(name, str) for name in classes):
        info = replace(info, classes=tuple(classes))
    if info.kind is None and (loss := _loss(about)) is not None:
        kind, from_logits = output_kind(model, loss)
        info = replace(info, kind=kind, from_logits=from_logits, loss=loss.config())
    if info.preprocessing is None and config.is_file():
        info = replace(info, preprocessing=_of_recipe(config))
    return info


def _loss(about: Config) -> losses.Loss | None:
    try:
        return losses.get(about["loss"]) if "loss" in about else None
    except HandgradError:  # one of the user's own
        return None


def _of_recipe(path: Path) -> tuple[Config, ...] | None:
    """Return what the images of a run passed through, None where that cannot be read."""
    try:
        augment = read_toml_or_json(path)["recipe"]["augment"]
        steps = recorded(fixed_steps(None if augment is None else from_config(augment)))
    except (HandgradError, OSError, LookupError, TypeError):
        return None
    if steps:
        warnings.warn(
            f"the model's file does not say what images passed through: {described(steps)} of {path} is used",
            stacklevel=4,
        )
    return steps
