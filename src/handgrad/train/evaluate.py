"""Loss and metrics on data that is not trained on, a batch at a time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from handgrad.data import Loader, as_dataset
from handgrad.graph import Graph
from handgrad.kernels import Kernels, default_kernels, reuse_memory
from handgrad.layers import Run
from handgrad.losses import Loss
from handgrad.losses.loss import checked
from handgrad.train.metrics import Metric, metrics_for
from handgrad.train.totals import Totals
from handgrad.train.views import Views
from handgrad.typing import Array


@reuse_memory()
def evaluate(
    model: Graph,
    loss: Loss,
    metrics: Mapping[str, Metric],
    x: Any,
    y: Any = None,
    batch_size: int = 256,
    *,
    views: Views | None = None,
    kernels: Kernels | None = None,
) -> dict[str, float]:
    """Return the means over all samples, in inference mode; the model is left as it is.

    Parameters
    ----------
    model : Graph
        The model.
    loss : Loss
        The loss.
    metrics : mapping of str to Metric
        What is measured besides, by name; `Accuracy` follows the loss.
    x, y : arrays or Dataset
        The samples and their labels.
    batch_size : int, default 256
        How many at once.
    views : Views, optional
        Over which the outputs for an image are averaged; the image as it is by default.
    kernels : Kernels, optional
        The table of functions that compute.

    Returns
    -------
    dict of str to float
        ``"loss"``, and each metric.
    """
    kernels = kernels or default_kernels()
    dataset = as_dataset(x, y, dtype=model.dtype)
    labels: Array | None = getattr(dataset, "labels", None)
    totals = Totals(metrics_for(metrics, loss, model.output_shape, labels))
    run = Run(training=False, kernels=kernels)

    def predict(x: Array) -> Array:
        return model.forward(x, run, keep=False)[0]

    for xb, yb in Loader(dataset, batch_size, shuffle=False).epoch(0):
        with np.errstate(over="ignore", invalid="ignore", divide="ignore"):  # the means show it
            z = predict(xb) if views is None else views.mean(predict, xb)
            value, _ = checked(loss.where, z, loss(z, yb, kernels))
        if labels is None and totals.samples == 0:
            totals.metrics = metrics_for(metrics, loss, model.output_shape, yb)
        totals.add(value, z, yb)
    return totals.means()
