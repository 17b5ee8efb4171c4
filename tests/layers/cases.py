"""Every layer, in every configuration that its formulas tell apart: one list for all tests of layers."""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Any

import numpy as np

import handgrad as hg
from handgrad import layers
from handgrad.layers import Init, Layer, Merge, Run


@dataclass(frozen=True)
class Case:
    """A layer and the shape of one of its inputs (a tuple of shapes for a Merge)."""

    name: str
    layer: Layer
    shape: Any
    batch: int = 3

    def __str__(self) -> str:
        return self.name

    def new(self, dtype: Any = np.float64, *, frozen: bool = False) -> Layer:
        """Return the layer, built, with parameters and buffers that are not trivial."""
        layer = copy.deepcopy(self.layer)
        layer.build(self.shape, Init(dtype=dtype))
        for name, p in layer.parameters().items():
            p.assign(p.value + hg.rng.Stream(("case", name)).normal(p.shape, 0.3, dtype))
        if layer.buffers():
            _, saved = layer.forward(self.input(seed=9, dtype=dtype, batch=8), Run(training=True))
            layer.commit(saved)
        if frozen:
            layer.freeze()
        return layer

    def input(self, seed: int = 0, dtype: Any = np.float64, batch: int | None = None) -> Any:
        """Return a batch: an array, or a tuple of arrays for a Merge."""
        rng = np.random.default_rng(seed)
        n = self.batch if batch is None else batch
        if isinstance(self.layer, Merge):
            return tuple(rng.normal(size=(n, *s)).astype(dtype) for s in self.shape)
        return rng.normal(size=(n, *self.shape)).astype(dtype)


def normal(*shape: int, seed: int = 0, dtype: Any = np.float64) -> np.ndarray:
    """Return normal random numbers."""
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


def _cases(kind: str, *cases: tuple[Any, ...]) -> list[Case]:
    return [Case(f"{kind}: {name}", layer, *rest) for name, layer, *rest in cases]


def conv(filters: int, kernel: Any, **options: Any) -> Layer:
    """Return a convolution whose bias is not zero at first."""
    return layers.Conv2D(filters, kernel, bias_initializer="random_normal", **options)


CONVOLUTIONS = _cases(
    "conv",
    ("valid", conv(3, 3), (5, 6, 2)),
    ("1x1", conv(3, 1), (3, 4, 2)),
    ("no bias", conv(3, 2, use_bias=False), (4, 3, 2)),
    ("same", conv(3, 3, padding="same"), (5, 4, 2)),
    ("same, even kernel", conv(2, (2, 4), padding="same"), (5, 4, 2)),
    ("same, strided", conv(2, 3, strides=2, padding="same"), (5, 6, 2)),
    ("same, stride larger than kernel", conv(2, 2, strides=3, padding="same"), (7, 6, 2)),
    ("same, dilated and strided", conv(2, 3, strides=2, dilation_rate=2, padding="same"), (6, 5, 2)),
    ("one pixel", conv(2, 3, padding="same"), (1, 1, 3)),
    ("one channel in and out", conv(1, 3, padding=1), (3, 5, 1)),
    ("kernel as large as image", conv(4, (3, 5)), (3, 5, 2)),
    ("rectangular kernel and strides", conv(2, (1, 3), strides=(2, 1)), (5, 6, 2)),
    ("stride larger than kernel", conv(2, 2, strides=3), (8, 7, 2)),
    ("pixels left over", conv(2, 2, strides=3, padding=1), (5, 7, 1)),
    ("padding of an int", conv(2, 3, padding=2), (3, 4, 2)),
    ("padding of a pair", conv(2, 3, padding=(0, 2)), (4, 3, 2)),
    ("padding of each side", conv(2, 2, strides=(1, 2), padding=((0, 2), (3, 1))), (4, 3, 2)),
    ("padding larger than kernel", conv(2, 2, padding=3), (2, 3, 1)),
    ("dilated", conv(2, 3, dilation_rate=(2, 3), padding=(1, 2)), (5, 6, 2)),
    ("groups", conv(6, 3, groups=2, padding=1), (4, 3, 4)),
    ("groups, strided and dilated", conv(3, 2, strides=2, dilation_rate=2, groups=3), (6, 5, 6)),
    ("depthwise", conv(3, 3, groups=3, padding="same"), (4, 5, 3)),
    ("depthwise, two filters a channel", conv(6, (2, 3), groups=3), (4, 5, 3)),
)

POOLINGS = _cases(
    "pool",
    ("max", layers.MaxPooling2D(2), (4, 6, 2)),
    ("max, pixels left over", layers.MaxPooling2D(2), (5, 7, 2)),
    ("max, overlapping", layers.MaxPooling2D(3, 1), (4, 5, 2)),
    ("max, stride larger than window", layers.MaxPooling2D(2, 3), (8, 6, 2)),
    ("max, same", layers.MaxPooling2D(3, 2, "same"), (5, 6, 2)),
    ("max, rectangular", layers.MaxPooling2D((1, 3), (2, 1)), (5, 5, 2)),
    ("max, padding of an int", layers.MaxPooling2D(3, 2, 1), (5, 6, 2)),
    ("max, padding of each side", layers.MaxPooling2D(3, 2, ((2, 0), (1, 2))), (4, 5, 2)),
    ("max, window of one", layers.MaxPooling2D(1), (3, 2, 2)),
    ("max, one pixel", layers.MaxPooling2D(2, padding="same"), (1, 1, 2)),
    ("average", layers.AveragePooling2D(2), (4, 6, 2)),
    ("average, pixels left over", layers.AveragePooling2D(2), (5, 7, 2)),
    ("average, overlapping", layers.AveragePooling2D(3, 1), (4, 5, 2)),
    ("average, stride larger than window", layers.AveragePooling2D(2, 3), (8, 6, 2)),
    ("average, same", layers.AveragePooling2D(3, 2, "same"), (5, 6, 2)),
    ("average, same, padding counts", layers.AveragePooling2D(3, 2, "same", count_padding=True), (5, 6, 2)),
    ("average, padding of a pair", layers.AveragePooling2D((2, 3), 1, (1, 0)), (4, 5, 2)),
    ("average, padding counts", layers.AveragePooling2D(3, 2, 1, count_padding=True), (5, 6, 2)),
    ("average, one pixel", layers.AveragePooling2D(2, padding="same"), (1, 1, 2)),
    ("global average", layers.GlobalAveragePooling2D(), (3, 5, 4)),
    ("global average, one pixel", layers.GlobalAveragePooling2D(), (1, 1, 4)),
)

NORMALIZATIONS = _cases(
    "norm",
    ("channels", layers.BatchNormalization(), (4, 3, 2)),
    ("features of a vector", layers.BatchNormalization(), (5,), 4),
    ("two samples", layers.BatchNormalization(), (3,), 2),
    ("one image", layers.BatchNormalization(), (3, 4, 2), 1),
    ("one pixel", layers.BatchNormalization(), (1, 1, 3), 4),
    ("sequences", layers.BatchNormalization(), (4, 3)),
    ("rows", layers.BatchNormalization(axis=1), (3, 4, 2)),
    ("every feature", layers.BatchNormalization(axis=(1, 2, 3), epsilon=0.01), (2, 3, 2), 4),
    ("rows and channels", layers.BatchNormalization(axis=(1, -1)), (3, 4, 2)),
    ("no center", layers.BatchNormalization(center=False), (3, 3, 2)),
    ("no scale", layers.BatchNormalization(scale=False), (3, 3, 2)),
    ("neither", layers.BatchNormalization(center=False, scale=False), (3, 3, 2)),
    ("large epsilon", layers.BatchNormalization(epsilon=3.0), (3, 3, 2)),
    ("biased", layers.BatchNormalization(momentum=0.7, running_variance="biased"), (3, 3, 2)),
)

NORMALIZATION_MODES = _cases(
    "norm",
    ("cumulative", layers.BatchNormalization(momentum=None), (3, 3, 2)),
    ("no running statistics", layers.BatchNormalization(running_statistics=False), (3, 3, 2), 5),
    ("ghost batches", layers.BatchNormalization(ghost_size=2), (2, 3, 2), 5),
    ("ghost batches, every feature", layers.BatchNormalization(axis=(1, 2), ghost_size=3), (3, 2), 7),
    ("one value by the running ones", layers.BatchNormalization(on_single="running"), (4,)),
)

SAMPLE_NORMALIZATIONS = _cases(
    "norm of samples",
    ("layer", layers.LayerNormalization(), (5,)),
    ("layer, pixels", layers.LayerNormalization(), (3, 4, 2)),
    ("layer, images", layers.LayerNormalization((1, 2, 3), 0.01), (3, 2, 2)),
    ("layer, rows and channels", layers.LayerNormalization((-1, 1)), (3, 4, 2)),
    ("layer, no center", layers.LayerNormalization(center=False), (2, 3)),
    ("layer, no scale", layers.LayerNormalization(scale=False), (2, 3)),
    ("layer, neither", layers.LayerNormalization(center=False, scale=False), (2, 3)),
    ("layer, large epsilon", layers.LayerNormalization(epsilon=3.0), (2, 3)),
    ("group", layers.GroupNormalization(2), (3, 5, 6)),
    ("group, a vector", layers.GroupNormalization(2), (6,)),
    ("group, only one", layers.GroupNormalization(1), (2, 3, 3)),
    ("group, each channel", layers.GroupNormalization(-1), (2, 3, 2)),
    ("group, channels first", layers.GroupNormalization(3, axis=1), (6, 2, 3)),
    ("group, sequences", layers.GroupNormalization(2, epsilon=0.01), (3, 4)),
    ("group, no center", layers.GroupNormalization(2, center=False), (2, 3, 4)),
    ("group, no scale", layers.GroupNormalization(2, scale=False), (2, 3, 4)),
    ("instance", layers.InstanceNormalization(), (3, 4, 2)),
    ("instance, channels first", layers.InstanceNormalization(1, 0.01), (2, 3, 4)),
    ("instance, neither", layers.InstanceNormalization(center=False, scale=False), (3, 2, 2)),
    ("rms", layers.RMSNormalization(), (5,)),
    ("rms, pixels", layers.RMSNormalization(), (3, 4, 2)),
    ("rms, rows and channels", layers.RMSNormalization((1, 3), 0.01), (3, 4, 2)),
    ("rms, no scale", layers.RMSNormalization(scale=False), (2, 3)),
)

STANDARDIZED = _cases(
    "standardized",
    (
        "conv",
        layers.WeightStandardizedConv2D(3, (3, 2), strides=2, padding=1, bias_initializer="random_normal"),
        (5, 6, 2),
    ),
    ("conv, groups", layers.WeightStandardizedConv2D(4, 3, groups=2, use_bias=False, epsilon=0.1), (4, 3, 4)),
    ("conv, depthwise", layers.WeightStandardizedConv2D(3, 2, dilation_rate=2, groups=3), (4, 5, 3)),
    ("conv 1x1", layers.WeightStandardizedConv2D(2, 1), (3, 2, 4)),
    ("dense", layers.WeightStandardizedDense(4, bias_initializer="random_normal"), (5,)),
    ("dense, pixels", layers.WeightStandardizedDense(3, use_bias=False, epsilon=0.1), (2, 3, 4)),
)

ACTIVATIONS = _cases(
    "activation",
    ("relu", layers.ReLU(), (3, 4)),
    ("leaky relu", layers.LeakyReLU(), (3, 4)),
    ("leaky relu 0.2", layers.LeakyReLU(0.2), (7,)),
    ("elu", layers.ELU(), (3, 4)),
    ("elu 0.5", layers.ELU(0.5), (7,)),
    ("selu", layers.SELU(), (3, 4)),
    ("softplus", layers.Softplus(), (3, 4)),
    ("sigmoid", layers.Sigmoid(), (3, 4)),
    ("tanh", layers.Tanh(), (2, 2, 3)),
    ("gelu", layers.GELU(), (3, 4)),
    ("gelu by tanh", layers.GELU(approximate=True), (3, 4)),
    ("silu", layers.SiLU(), (3, 4)),
    ("softmax", layers.Softmax(), (5,)),
    ("softmax of pixels", layers.Softmax(), (2, 3, 4)),
    ("softmax of one class", layers.Softmax(), (1,)),
)

DENSES = _cases(
    "dense",
    ("vector", layers.Dense(4), (5,)),
    ("no bias", layers.Dense(4, use_bias=False), (5,)),
    ("one in, one out", layers.Dense(1), (1,)),
    ("pixels", layers.Dense(4), (2, 3, 5)),
)

RECURRENTS = _cases(
    "rnn",
    ("tanh", layers.SimpleRNN(4), (5, 3)),
    ("tanh, every state", layers.SimpleRNN(4, return_sequences=True), (5, 3)),
    ("relu", layers.SimpleRNN(4, "relu", return_sequences=True), (5, 3)),
    ("sigmoid", layers.SimpleRNN(4, "sigmoid"), (5, 3)),
    ("no bias", layers.SimpleRNN(3, use_bias=False, return_sequences=True), (4, 2)),
    ("truncated beyond the end", layers.SimpleRNN(3, truncate=9, return_sequences=True), (4, 2)),
)

# its recurrent weight has no gradient, which the contract of a layer wants
ONE_STEP = Case("rnn: one step", layers.SimpleRNN(3), (1, 2))

RESHAPES = _cases(
    "reshape",
    ("flatten", layers.Flatten(), (3, 4, 2)),
    ("flatten a vector", layers.Flatten(), (5,)),
    ("reshape", layers.Reshape((4, 3)), (2, 6)),
    ("reshape, one axis left open", layers.Reshape((3, -1, 2)), (4, 6)),
    ("zero padding", layers.ZeroPadding2D(), (3, 4, 2)),
    ("zero padding of none", layers.ZeroPadding2D(0), (3, 4, 2)),
    ("constant padding of each side", layers.ConstantPadding2D(((0, 2), (1, 3)), 1.5), (2, 3, 2)),
    ("upsampling", layers.UpSampling2D(), (3, 2, 2)),
    ("upsampling, rectangular", layers.UpSampling2D((1, 3)), (2, 3, 2)),
)

RANDOMS = _cases(
    "dropout",
    ("half", layers.Dropout(), (4, 5)),
    ("none", layers.Dropout(0.0), (4, 5)),
    ("images", layers.Dropout(0.2), (3, 4, 2)),
)

MERGES = _cases(
    "merge",
    ("add", layers.Add(), ((3, 2), (3, 2))),
    ("add three", layers.Add(), ((2, 2, 3),) * 3),
    ("add one", layers.Add(), ((4,),)),
    ("concatenate", layers.Concatenate(), ((3, 3, 2), (3, 3, 1))),
    ("concatenate rows", layers.Concatenate(1), ((2, 3), (1, 3), (4, 3))),
    ("concatenate one", layers.Concatenate(), ((4,),)),
)

CASES = [
    *CONVOLUTIONS,
    *DENSES,
    *NORMALIZATIONS,
    *NORMALIZATION_MODES,
    *SAMPLE_NORMALIZATIONS,
    *STANDARDIZED,
    *ACTIVATIONS,
    *POOLINGS,
    *RECURRENTS,
    *RESHAPES,
    *RANDOMS,
    *MERGES,
]


def names(case: Case) -> str:
    """Return how pytest names a test of `case`."""
    return case.name.replace(" ", "-")
