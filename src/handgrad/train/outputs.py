"""What a trained model's outputs mean, from its loss, its last layer and its data."""

from __future__ import annotations

import warnings
from dataclasses import replace
from typing import Any

import numpy as np

from handgrad.data import Dataset, Transform
from handgrad.data.preprocessing import described, recorded
from handgrad.data.transform_config import fixed_steps
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.graph import Graph, ModelInfo
from handgrad.layers import Dropout, Flatten, Layer, Reshape, Sigmoid, Softmax
from handgrad.losses import BinaryCrossEntropy, CrossEntropy, Loss, MeanSquaredError
from handgrad.losses.names import LOSSES
from handgrad.typing import Array, Config


def model_info(
    model: Graph, loss: Loss, dataset: Dataset | None = None, transform: Transform | None = None
) -> ModelInfo:
    """Return what is known about a model that is trained with a loss; what is not known stays as it was.

    Parameters
    ----------
    model : Graph
        The model.
    loss : Loss
        Its loss.
    dataset : Dataset, optional
        What it is trained on.
    transform : Transform, optional
        What else training images pass through.
    """
    info = model.info
    kind, from_logits = output_kind(model, loss, getattr(dataset, "labels", None))
    if kind is not None:
        config = loss.config() if type(loss) in LOSSES else None
        info = replace(info, kind=kind, from_logits=from_logits, loss=config)
    if classes := getattr(dataset, "class_names", None):
        info = replace(info, classes=tuple(map(str, classes)))
    passed, fixed = getattr(dataset, "preprocessing", None), fixed_steps(transform)
    if passed is not None or fixed:
        info = replace(info, preprocessing=recorded((*(passed or ()), *fixed)))
    values = getattr(dataset, "value_range", None)
    return replace(info, input_range=values) if dataset is not None else info


def output_kind(model: Graph, loss: Loss, labels: Array | None = None) -> tuple[str | None, bool]:
    """Return the kind of a model's outputs, None if its loss does not say so, and whether they are logits."""
    last = final_layer(model)
    several = model.output_shape[-1:] != (1,)
    if isinstance(loss, CrossEntropy) or (isinstance(last, Softmax) and several):
        kind: str | None = "classification"
    elif isinstance(loss, BinaryCrossEntropy) or (isinstance(last, Sigmoid) and _yes_or_no(loss, labels)):
        kind = "multi_label" if several else "binary"
    else:
        kind = "regression" if isinstance(loss, MeanSquaredError) else None
    return kind, not isinstance(last, Softmax | Sigmoid)


def final_layer(model: Graph) -> Layer:
    """Return the last layer of a model that computes something else than an order or a mask."""
    node = model.nodes[-1]
    while isinstance(node.layer, Flatten | Reshape | Dropout) and node.inputs[0]:
        node = model.nodes[node.inputs[0] - 1]
    return node.layer


def check_preprocessing(info: ModelInfo, dataset: Dataset, *, stacklevel: int) -> None:
    """Warn if samples are known not to have passed through what a model was trained on."""
    passed, wanted = getattr(dataset, "preprocessing", None), info.preprocessing
    if passed is not None and wanted is not None and recorded(passed) != wanted:
        warnings.warn(
            f"the model is trained on samples that passed through {described(wanted)}, and these "
            f"passed through {described(recorded(passed))}: let them pass through "
            "handgrad.data.preprocess(x, model)",
            stacklevel=stacklevel + 1,
        )


def saved_info(config: Config, path: str) -> ModelInfo | None:
    """Return the info in what `handgrad.io.model_config` gave to the file at `path`, None in older ones.

    Raises
    ------
    CheckpointError
        If it is something else.
    """
    if "info" not in config:
        return None
    try:
        return ModelInfo.from_config(config["info"])
    except ArgumentError as error:
        raise CheckpointError(
            path, expected="what the model's outputs mean", got=f"something else ({error})"
        ) from None


def _yes_or_no(loss: Loss, labels: Any) -> bool:
    """Whether numbers to be approximated are 0 and 1, stored as integers."""
    if not isinstance(loss, MeanSquaredError) or labels is None:
        return False
    labels = np.asarray(labels)
    return labels.dtype.kind in "bui" and bool(((labels == 0) | (labels == 1)).all())
