"""Residual networks.

K. He et al., "Deep residual learning for image recognition", CVPR 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.graph import Graph, Input, Symbol
from handgrad.typing import DTypeLike, Shape

MOMENTUM = 0.9

Block = Callable[[Symbol, int, int, str], Symbol]
"""(input, width, stride of its 3x3 convolution, name) -> output"""


def resnet18(
    input_shape: Shape,
    classes: int,
    *,
    stem: str = "3x3",
    width: int = 64,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """Return ResNet-18: a stem, and four stages of two blocks, of 64, 128, 256 and 512 channels.

    A block is twice (convolution 3x3, batch normalization), a ReLU between them, plus its input, and a ReLU.
    The second to fourth stage halve the image in their first convolution; there the input passes a
    convolution 1x1 of stride 2 and a batch normalization to fit. After the last stage come the mean over
    the image and a dense layer.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels.
    classes : int
        Number of classes.
    stem : "3x3" or "7x7", default "3x3"
        How it begins: a convolution 3x3, for images as small as CIFAR's; or, for images of about 224 pixels,
        as in the paper, a convolution 7x7 of stride 2 and max pooling 3x3 of stride 2. Batch normalization
        and ReLU follow the convolution.
    width : int, default 64
        Channels of the first stage.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Notes
    -----
    With ``stem="7x7"``, 3 channels and 1000 classes it has the 11,689,512 parameters of torchvision's.

    Examples
    --------
    >>> model = resnet18((32, 32, 3), 10)
    >>> sum(p.size for p in model.parameters().values())
    11173962
    """
    return _resnet(
        "resnet18",
        input_shape,
        classes,
        _basic_block,
        (2, 2, 2, 2),
        stem=stem,
        width=width,
        seed=seed,
        dtype=dtype,
    )


def resnet20(
    input_shape: Shape, classes: int, *, width: int = 16, seed: int = 0, dtype: DTypeLike = np.float32
) -> Graph:
    """Return ResNet-20 for CIFAR: a stem, and three stages of three blocks, of 16, 32 and 64 channels.

    Stem and blocks are those of `resnet18`. Where a stage halves the image, the paper pads the input with
    channels of zeros (option A); here it passes a convolution 1x1 and a batch normalization (option B), which
    is 2,752 parameters more.

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels.
    classes : int
        Number of classes.
    width : int, default 16
        Channels of the first stage.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Examples
    --------
    >>> model = resnet20((32, 32, 3), 10)
    >>> sum(p.size for p in model.parameters().values())
    272474
    """
    return _resnet(
        "resnet20",
        input_shape,
        classes,
        _basic_block,
        (3, 3, 3),
        stem="3x3",
        width=width,
        seed=seed,
        dtype=dtype,
    )


def resnet50(
    input_shape: Shape,
    classes: int,
    *,
    stem: str = "7x7",
    blocks: Sequence[int] = (3, 4, 6, 3),
    width: int = 64,
    seed: int = 0,
    dtype: DTypeLike = np.float32,
) -> Graph:
    """Return ResNet-50: a stem, and four stages of 3, 4, 6 and 3 bottlenecks.

    A bottleneck is convolutions 1x1, 3x3 and 1x1, the last to four times the channels of the others (64,
    128, 256 and 512), each with batch normalization, with ReLUs between them; plus its input, and a ReLU. The
    stride is that of the 3x3 convolution, as torchvision has it (the paper strides in the first 1x1).

    Parameters
    ----------
    input_shape : (int, int, int)
        Height, width, channels.
    classes : int
        Number of classes.
    stem : "7x7" or "3x3", default "7x7"
        As in `resnet18`.
    blocks : sequence of int, default (3, 4, 6, 3)
        Bottlenecks of each stage; (3, 4, 23, 3) is ResNet-101.
    width : int, default 64
        Channels of the first stage's 3x3 convolutions.
    seed : int, default 0
        Of the initial values.
    dtype : dtype, default float32
        Of parameters and computation.

    Notes
    -----
    With 3 channels and 1000 classes it has the 25,557,032 parameters of torchvision's.

    Examples
    --------
    >>> resnet50((64, 64, 3), 10, width=8).output_shape
    (10,)
    """
    return _resnet(
        "resnet50",
        input_shape,
        classes,
        _bottleneck,
        blocks,
        stem=stem,
        width=width,
        seed=seed,
        dtype=dtype,
    )


def _resnet(
    where: str,
    input_shape: Shape,
    classes: int,
    block: Block,
    blocks: Sequence[int],
    *,
    stem: str,
    width: int,
    seed: int,
    dtype: DTypeLike,
) -> Graph:
    """Return the model: stem, stages of so many blocks, the mean over the image, logits."""
    if len(input_shape) != 3:
        raise ArgumentError(
            f"{where} input_shape", expected="(height, width, channels)", got=repr(input_shape)
        )
    i = Input(input_shape)
    h = _stem(where, i, stem, width)
    for stage, count in enumerate(blocks, start=1):
        for b in range(1, count + 1):
            strides = 2 if stage > 1 and b == 1 else 1
            h = block(h, width * 2 ** (stage - 1), strides, f"stage{stage}.block{b}")
    h = layers.GlobalAveragePooling2D(name="pool")(h)
    return Graph(i, layers.Dense(classes, name="logits")(h), seed=seed, dtype=dtype)


def _stem(where: str, h: Symbol, stem: str, width: int) -> Symbol:
    if stem == "3x3":
        return _relu(_conv_bn(h, width, 3, 1, "stem", ""), "stem.relu")
    if stem == "7x7":
        h = _relu(_conv_bn(h, width, 7, 2, "stem", ""), "stem.relu")
        pool: Symbol = layers.MaxPooling2D(3, 2, padding=1, name="stem.pool")(h)
        return pool
    raise ArgumentError(f"{where} stem", expected='"3x3" or "7x7"', got=repr(stem))


def _basic_block(x: Symbol, width: int, strides: int, name: str) -> Symbol:
    h = _relu(_conv_bn(x, width, 3, strides, name, "1"), f"{name}.relu1")
    h = _conv_bn(h, width, 3, 1, name, "2")
    return _relu(_add(h, x, strides, name), f"{name}.relu2")


def _bottleneck(x: Symbol, width: int, strides: int, name: str) -> Symbol:
    h = _relu(_conv_bn(x, width, 1, 1, name, "1"), f"{name}.relu1")
    h = _relu(_conv_bn(h, width, 3, strides, name, "2"), f"{name}.relu2")
    h = _conv_bn(h, 4 * width, 1, 1, name, "3")
    return _relu(_add(h, x, strides, name), f"{name}.relu3")


def _add(h: Symbol, x: Symbol, strides: int, name: str) -> Symbol:
    """Return ``h + x``, x brought to h's shape by a projection where it has another."""
    if x.shape != h.shape:
        x = _conv_bn(x, h.shape[2], 1, strides, f"{name}.projection", "")
    y: Symbol = layers.Add(name=f"{name}.add")(h, x)
    return y


def _conv_bn(x: Symbol, filters: int, kernel_size: int, strides: int, name: str, number: str) -> Symbol:
    """Return a convolution without bias, its output ``ceil(size/strides)`` large, and its normalization."""
    conv = layers.Conv2D(
        filters,
        kernel_size,
        strides,
        padding=kernel_size // 2,
        use_bias=False,
        name=f"{name}.conv{number}",
    )
    y: Symbol = layers.BatchNormalization(momentum=MOMENTUM, name=f"{name}.bn{number}")(conv(x))
    return y


def _relu(x: Symbol, name: str) -> Symbol:
    y: Symbol = layers.ReLU(name=name)(x)
    return y
