"""A network after LeNet-5."""

from __future__ import annotations

import numpy as np

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.graph import Graph, Sequential
from handgrad.typing import DTypeLike, Shape


def lenet(
    input_shape: Shape, classes: int, *, width: int = 16, seed: int = 0, dtype: DTypeLike = np.float32
) -> Sequential:
    """Return a network of two convolutions 5x5, each halved by max pooling, and a dense layer.

    After LeNet-5 (Y. LeCun et al., "Gradient-based learning applied to document recognition", Proceedings of
    the IEEE, 1998), with what came later: batch normalization and ReLU after each convolution, the maximum in
    place of the mean.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels; at least 4 pixels high and wide.
    classes : int
        Number of classes.
    width : int, default 16
        Channels of the first convolution; the second has twice as many.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Examples
    --------
    >>> model = lenet((28, 28, 1), 10)
    >>> sum(p.size for p in model.parameters().values())
    28986
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 4:
        raise ArgumentError(
            "lenet input_shape", expected="(height, width, channels), 4x4 or more", got=repr(input_shape)
        )
    chain: list[layers.Layer | Graph] = []
    for stage in (1, 2):
        chain += [
            layers.Conv2D(width * stage, 5, padding="same", use_bias=False, name=f"conv{stage}"),
            layers.BatchNormalization(momentum=0.9, name=f"bn{stage}"),
            layers.ReLU(name=f"relu{stage}"),
            layers.MaxPooling2D(2, name=f"pool{stage}"),
        ]
    chain += [layers.Flatten(name="flatten"), layers.Dense(classes, name="logits")]
    return Sequential(chain, input_shape=input_shape, seed=seed, dtype=dtype)
