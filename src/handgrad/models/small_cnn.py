"""A small convolutional network."""

from __future__ import annotations

import numpy as np

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.graph import Graph, Sequential
from handgrad.typing import DTypeLike, Shape


def small_cnn(
    input_shape: Shape,
    classes: int,
    *,
    width: int = 32,
    dropout: float = 0.25,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Return a network of stages that halve the image and double the channels, until it is 4 pixels or less.

    There are two stages or more. A stage is twice (convolution 3x3, batch normalization, ReLU), then max
    pooling and dropout; after the last a dense layer gives a logit for each class.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels; at least 4 pixels high and wide.
    classes : int
        Number of classes.
    width : int, default 32
        Channels of the first stage.
    dropout : float, default 0.25
        Rate after every stage.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Examples
    --------
    >>> small_cnn((8, 8, 1), 10).output_shape
    (10,)
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 4:
        raise ArgumentError(
            "small_cnn input_shape", expected="(height, width, channels), 4x4 or more", got=repr(input_shape)
        )
    chain: list[layers.Layer | Graph] = []
    size, stage = min(input_shape[:2]), 0
    while stage < 2 or size > 4:
        stage += 1
        filters = width * 2 ** (stage - 1)
        for i in (1, 2):
            name = f"stage{stage}.{{}}{i}"
            chain += [
                layers.Conv2D(filters, 3, padding="same", use_bias=False, name=name.format("conv")),
                layers.BatchNormalization(momentum=0.9, name=name.format("bn")),
                layers.ReLU(name=name.format("relu")),
            ]
        chain += [
            layers.MaxPooling2D(2, name=f"stage{stage}.pool"),
            layers.Dropout(dropout, name=f"stage{stage}.dropout"),
        ]
        size //= 2
    chain += [layers.Flatten(name="flatten"), layers.Dense(classes, name="logits")]
    return Sequential(chain, input_shape=input_shape, seed=seed, dtype=dtype)
