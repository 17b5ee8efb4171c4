"""A network that learns small color images in a few epochs."""

from __future__ import annotations

import numpy as np

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.graph import Graph, Sequential
from handgrad.typing import DTypeLike, Shape


def whitened_cnn(
    input_shape: Shape,
    classes: int,
    *,
    width: int = 64,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Sequential:
    """Return a network of a whitening convolution 2x2 and up to three stages of two convolutions 3x3.

    A stage is convolution, max pooling, batch normalization and GELU, then convolution, batch normalization
    and GELU; there are as many as leave a pixel, since each halves the image. Convolutions begin near the
    identity. After the last stage the maximum over all places, and a dense layer without bias, whose small
    initial values make the first logits small.

    The first layer, ``whiten``, is random here: set it from training images with `handgrad.layers.whiten`.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels; at least 3 pixels high and wide.
    classes : int
        Number of classes.
    width : int, default 64
        Channels of the first stage; the others have four times as many.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Notes
    -----
    After K. Jordan, "94 % on CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498. Its normalizations
    have no scale and a momentum of 0.6; it divides the logits by the
    number of features, here the initial values are so much smaller.

    Examples
    --------
    >>> model = whitened_cnn((32, 32, 3), 10)
    >>> model.output_shape, sum(p.size for p in model.parameters().values())
    ((10,), 1971640)
    """
    if len(input_shape) != 3 or min(input_shape[:2]) < 3:
        raise ArgumentError(
            "whitened_cnn input_shape",
            expected="(height, width, channels), 3x3 or more",
            got=repr(input_shape),
        )
    h, w, c = input_shape
    chain: list[layers.Layer | Graph] = [
        layers.Conv2D(2 * 2 * 2 * c, 2, name="whiten"),
        layers.GELU(name="gelu"),
    ]
    h, w, stage = h - 1, w - 1, 0
    while stage < 3 and min(h, w) >= 2:
        h, w, stage = h // 2, w // 2, stage + 1
        filters, name = width if stage == 1 else 4 * width, f"stage{stage}.{{}}"
        chain += [
            _conv(filters, name.format("conv1")),
            layers.MaxPooling2D(2, name=name.format("pool")),
            _norm(name.format("bn1")),
            layers.GELU(name=name.format("gelu1")),
            _conv(filters, name.format("conv2")),
            _norm(name.format("bn2")),
            layers.GELU(name=name.format("gelu2")),
        ]
    chain += [
        layers.MaxPooling2D((h, w), name="pool"),
        layers.Flatten(name="flatten"),
        layers.Dense(
            classes,
            use_bias=False,
            kernel_initializer=layers.RandomNormal(1 / filters),
            name="logits",
        ),
    ]
    return Sequential(chain, input_shape=input_shape, seed=seed, dtype=dtype)


def _conv(filters: int, name: str) -> layers.Conv2D:
    return layers.Conv2D(
        filters, 3, padding="same", use_bias=False, kernel_initializer=layers.Dirac(), name=name
    )


def _norm(name: str) -> layers.BatchNormalization:
    return layers.BatchNormalization(momentum=0.6, scale=False, name=name)
