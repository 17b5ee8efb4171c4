"""The programming interface of ML-From-Scratch's neural networks, over handgrad's layers.

A program written for https://github.com/eriklindernoren/ML-From-Scratch runs with only its import lines
changed::

    from handgrad.compat.mlfromscratch import Adam, Conv2D, CrossEntropy, Dense, NeuralNetwork

What such a program relies on is kept: names, arguments and defaults, images as (samples, channels, height,
width), one-hot labels, batch normalization of every feature by itself with epsilon 0.01, momentum that
averages gradients. What was wrong is not: see `NeuralNetwork`, `CrossEntropy`, and the layers.
"""

from handgrad.compat.mlfromscratch.layers import (
    RNN,
    Activation,
    AveragePooling2D,
    BatchNormalization,
    ConstantPadding2D,
    Conv2D,
    Dense,
    Dropout,
    Flatten,
    Layer,
    MaxPooling2D,
    Reshape,
    UpSampling2D,
    ZeroPadding2D,
)
from handgrad.compat.mlfromscratch.loss_functions import CrossEntropy, SquareLoss
from handgrad.compat.mlfromscratch.neural_network import NeuralNetwork
from handgrad.compat.mlfromscratch.optimizers import (
    Adadelta,
    Adagrad,
    Adam,
    NesterovAcceleratedGradient,
    RMSprop,
    StochasticGradientDescent,
)
from handgrad.compat.mlfromscratch.utils import (
    accuracy_score,
    normalize,
    shuffle_data,
    to_categorical,
    train_test_split,
)

__all__ = [
    "RNN",
    "Activation",
    "Adadelta",
    "Adagrad",
    "Adam",
    "AveragePooling2D",
    "BatchNormalization",
    "ConstantPadding2D",
    "Conv2D",
    "CrossEntropy",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPooling2D",
    "NesterovAcceleratedGradient",
    "NeuralNetwork",
    "RMSprop",
    "Reshape",
    "SquareLoss",
    "StochasticGradientDescent",
    "UpSampling2D",
    "ZeroPadding2D",
    "accuracy_score",
    "normalize",
    "shuffle_data",
    "to_categorical",
    "train_test_split",
]
