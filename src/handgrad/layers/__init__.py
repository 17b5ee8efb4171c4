"""Layers: differentiable functions with parameters, each with its derivation."""

from handgrad.layers.activation import (
    ELU,
    GELU,
    SELU,
    Activation,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softmax,
    Softplus,
    Tanh,
)
from handgrad.layers.conv import Conv2D
from handgrad.layers.dense import Dense
from handgrad.layers.dropout import Dropout
from handgrad.layers.group_norm import GroupNormalization, InstanceNormalization
from handgrad.layers.initializers import (
    Constant,
    Dirac,
    GlorotNormal,
    GlorotUniform,
    HeNormal,
    HeUniform,
    Initializer,
    Orthogonal,
    RandomNormal,
)
from handgrad.layers.layer import Layer, Merge, NothingSaved, Run, owned
from handgrad.layers.layer_norm import LayerNormalization, RMSNormalization
from handgrad.layers.merge import Add, Concatenate
from handgrad.layers.norm import BatchNormalization
from handgrad.layers.parameter import Buffer, Init, Parameter
from handgrad.layers.pool import AveragePooling2D, GlobalAveragePooling2D, MaxPooling2D
from handgrad.layers.recurrent import SimpleRNN
from handgrad.layers.reshape import ConstantPadding2D, Flatten, Reshape, UpSampling2D, ZeroPadding2D
from handgrad.layers.weight_standardization import WeightStandardizedConv2D, WeightStandardizedDense
from handgrad.layers.whitening import whiten

__all__ = [
    "ELU",
    "GELU",
    "SELU",
    "Activation",
    "Add",
    "AveragePooling2D",
    "BatchNormalization",
    "Buffer",
    "Concatenate",
    "Constant",
    "ConstantPadding2D",
    "Conv2D",
    "Dense",
    "Dirac",
    "Dropout",
    "Flatten",
    "GlobalAveragePooling2D",
    "GlorotNormal",
    "GlorotUniform",
    "GroupNormalization",
    "HeNormal",
    "HeUniform",
    "Init",
    "Initializer",
    "InstanceNormalization",
    "Layer",
    "LayerNormalization",
    "LeakyReLU",
    "MaxPooling2D",
    "Merge",
    "NothingSaved",
    "Orthogonal",
    "Parameter",
    "RMSNormalization",
    "RandomNormal",
    "ReLU",
    "Reshape",
    "Run",
    "SiLU",
    "Sigmoid",
    "SimpleRNN",
    "Softmax",
    "Softplus",
    "Tanh",
    "UpSampling2D",
    "WeightStandardizedConv2D",
    "WeightStandardizedDense",
    "ZeroPadding2D",
    "owned",
    "whiten",
]
