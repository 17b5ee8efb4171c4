"""Inputs for inference, a batch at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.errors import DataError

if TYPE_CHECKING:
    from handgrad.graph.graph import Graph


def batches(model: Graph, x: Any, size: int) -> Iterator[Any]:
    """Yield batches of up to `size` inputs of a model, at least one, which may be empty.

    Parameters
    ----------
    model : Graph
        Whose inputs they are.
    x : array or Dataset
        All inputs. A data set, which is what has a method ``batch``, gives those without their labels.
    size : int
        How many at once.

    Raises
    ------
    ShapeError, DataError
        If these are no inputs of the model.
    """
    dataset = callable(getattr(x, "batch", None))
    if not dataset and hasattr(x, "x_test"):
        raise DataError(
            model.name or type(model).__name__,
            expected="images, or a Dataset",
            got=f"{type(x).__name__}, which has images for training and for testing",
            do="give one of them, as its x_test",
        )
    model.check_shape((len(x), *x.shape) if dataset else np.shape(x))
    for start in range(0, max(len(x), 1), size):
        stop = min(start + size, len(x))
        yield x.batch(np.arange(start, stop))[0] if dataset else x[start:stop]
