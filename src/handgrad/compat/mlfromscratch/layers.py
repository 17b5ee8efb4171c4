"""The layers, under the names and with the arguments of ML-From-Scratch."""

from __future__ import annotations

from typing import Any

from handgrad import layers
from handgrad.compat.mlfromscratch import parts
from handgrad.compat.mlfromscratch.image_layers import (
    AveragePooling2D,
    ConstantPadding2D,
    Conv2D,
    MaxPooling2D,
    UpSampling2D,
    ZeroPadding2D,
)
from handgrad.compat.mlfromscratch.layer import Layer, view
from handgrad.compat.mlfromscratch.parts import (
    TO_CHANNELS_FIRST,
    TO_CHANNELS_LAST,
    FanInUniform,
    Transpose,
)
from handgrad.errors import ShapeError
from handgrad.typing import Array, Shape

__all__ = [
    "RNN",
    "Activation",
    "AveragePooling2D",
    "BatchNormalization",
    "ConstantPadding2D",
    "Conv2D",
    "Dense",
    "Dropout",
    "Flatten",
    "Layer",
    "MaxPooling2D",
    "Reshape",
    "UpSampling2D",
    "ZeroPadding2D",
]


class Dense(Layer):
    """Fully connected layer: `handgrad.layers.Dense`.

    Parameters
    ----------
    n_units : int
        Number of outputs.
    input_shape : (features,), optional
        Needed in the first layer of a network.
    """

    W = view("The weight, (features, n_units).", lambda made: made[0].weight.value)
    w0 = view("The bias, (1, n_units).", lambda made: made[0].bias.value[None, :])

    def __init__(self, n_units: int, input_shape: Any = None) -> None:
        super().__init__(input_shape)
        self.n_units = n_units

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the dense layer."""
        if len(shape) != 1:
            do = "put a Flatten before it"
            raise ShapeError(
                self.where, expected="inputs (features,)", got=f"shape {self.input_shape}", do=do
            )
        return [layers.Dense(self.n_units, kernel_initializer=FanInUniform())]


class BatchNormalization(Layer):
    """Batch normalization of every feature by itself: mean and variance are taken over the samples alone.

    Parameters
    ----------
    momentum : float, default 0.99
        Weight of the old running statistics.

    Notes
    -----
    ``y = gamma*(X - mean)/sqrt(var + 0.01) + beta``, by the mean and population variance of the batch in
    training; by the running ones in inference and when the layer is frozen, where the gradient takes them as
    the constants they are. Running statistics begin as those of the first batch in training, and move by
    ``running = momentum*running + (1 - momentum)*batch``; inference never moves them.
    """

    gamma = view("Scale, of the input's shape.", lambda made: _planes(made[0].gamma.value))
    beta = view("Shift, of the input's shape.", lambda made: _planes(made[0].beta.value))
    running_mean = view("Of the input's shape.", lambda made: _planes(made[0].running_mean.value))
    running_var = view("Of the input's shape.", lambda made: _planes(made[0].running_var.value))

    def __init__(self, momentum: float = 0.99) -> None:
        super().__init__()
        self.momentum = momentum
        self.eps = 0.01

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the normalization over the batch axis."""
        axis = tuple(range(1, len(shape) + 1))
        return [parts.BatchNormalization(axis, self.momentum, self.eps, running_variance="biased")]


class Flatten(Layer):
    """Every sample as one row; images channel by channel.

    Parameters
    ----------
    input_shape : tuple of int, optional
        Needed in the first layer of a network.
    """

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the flattening."""
        return [*_to_channels_first(shape), layers.Flatten()]


class Reshape(Layer):
    """Every sample in another shape; images are filled channel by channel.

    Parameters
    ----------
    shape : tuple of int
        (channels, height, width), or any other; one -1 stands for what is left.
    input_shape : tuple of int, optional
        Needed in the first layer of a network.
    """

    def __init__(self, shape: Any, input_shape: Any = None) -> None:
        super().__init__(input_shape)
        self.shape = tuple(shape)

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the reshaping."""
        back = [Transpose(TO_CHANNELS_LAST)] if len(self.shape) == 3 else []
        return [*_to_channels_first(shape), layers.Reshape(self.shape), *back]


class Dropout(Layer):
    """Sets numbers to zero at random in training, and scales up the others: `handgrad.layers.Dropout`.

    Parameters
    ----------
    p : float, default 0.2
        The share that is dropped, 0 <= p < 1.
    """

    def __init__(self, p: float = 0.2) -> None:
        super().__init__()
        self.p = p

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the dropout."""
        return [layers.Dropout(self.p)]


class Activation(Layer):
    """A function of each number, or softmax over the last axis.

    Parameters
    ----------
    name : str
        relu, sigmoid, selu, elu (alpha 1), softmax, leaky_relu (slope 0.01), tanh or softplus.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self.activation_name = name
        self._kind = type(layers.Activation(name)).__name__

    def layer_name(self) -> str:
        """Return the name that a summary shows: ``"Activation (ReLU)"``."""
        return f"Activation ({self._kind})"

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the activation."""
        function = layers.Activation(self.activation_name)
        if self.activation_name == "softmax" and len(shape) == 3:
            return [Transpose(TO_CHANNELS_FIRST), function, Transpose(TO_CHANNELS_LAST)]
        return [function]


class RNN(Layer):
    """Fully connected recurrent network whose output at every step has the size of its input.

    Parameters
    ----------
    n_units : int
        Size of the state.
    activation : "tanh", "relu" or "sigmoid", default "tanh"
        What is applied to each state.
    bptt_trunc : int, default 5
        How many steps a gradient goes back in time.
    input_shape : (steps, features), optional
        Needed in the first layer of a network.

    Notes
    -----
    ``s_t = f(U x_t + W s_{t-1})`` and ``o_t = V s_t``: a `handgrad.layers.SimpleRNN` and a
    `handgrad.layers.Dense`, both without bias. Gradients reach ``x_t`` through later states, too.
    """

    U = view("Weight of the input, (n_units, features).", lambda made: made[0].weight.value.T)
    W = view("Weight of the state before, (n_units, n_units).", lambda made: made[0].recurrent_weight.value.T)
    V = view("Weight of the output, (features, n_units).", lambda made: made[1].weight.value.T)

    def __init__(
        self, n_units: int, activation: str = "tanh", bptt_trunc: int | None = 5, input_shape: Any = None
    ) -> None:
        super().__init__(input_shape)
        self.n_units = n_units
        self.activation = activation
        self.bptt_trunc = bptt_trunc

    def make(self, shape: Shape) -> list[layers.Layer]:
        """Return the recurrent layer and the output layer."""
        if len(shape) != 2:
            raise ShapeError(
                self.where, expected="sequences (steps, features)", got=f"shape {self.input_shape}"
            )
        states = layers.SimpleRNN(
            self.n_units,
            self.activation,
            return_sequences=True,
            truncate=self.bptt_trunc,
            use_bias=False,
            kernel_initializer=FanInUniform(),
            recurrent_initializer=FanInUniform(),
        )
        return [states, layers.Dense(shape[-1], use_bias=False, kernel_initializer=FanInUniform())]


def _to_channels_first(shape: Shape) -> list[layers.Layer]:
    return [Transpose(TO_CHANNELS_FIRST)] if len(shape) == 3 else []


def _planes(array: Array) -> Array:
    """Return a view with channels first of an array with channels last."""
    return array.transpose(TO_CHANNELS_FIRST) if array.ndim == 3 else array
