"""What every kernel takes: the shapes of its arrays, as functions of the kernel's own arguments.

The reference checks them before it computes. The extension module checks them itself, in a few nanoseconds;
what it refuses is put into words by the same functions. So all tables refuse the same arguments with the same
text, and nothing is broadcast that the formulas do not broadcast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial, update_wrapper
from importlib import import_module
from typing import Any

from handgrad.errors import HandgradError
from handgrad.kernels.contracts import images, rows
from handgrad.kernels.contracts.checks import any_floats
from handgrad.kernels.protocol import Kernel


class Checked:
    """A kernel of the reference that refuses what its contract does.

    Parameters
    ----------
    kernel : callable
        The function, which trusts what it is given.
    """

    def __init__(self, kernel: Any) -> None:
        self.__name__: str
        update_wrapper(self, kernel)
        self.kernel: Kernel = kernel
        self.contract = contract_of(kernel.__name__)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Check the arguments, then compute."""
        self.contract(*args, **kwargs)
        return self.kernel(*args, **kwargs)

    def __reduce__(self) -> tuple[Any, ...]:
        """Copy and pickle by name, as functions are."""
        return _checked, (self.__module__, self.__name__)


def _checked(module: str, name: str) -> Checked:
    return Checked(getattr(import_module(module), name))


def contract_of(name: str) -> Callable[..., None]:
    """Return the function that raises ShapeError or DataError if a kernel does not take such arguments."""
    return partial(_CONTRACTS.get(name, any_floats), name)


def what_is_wrong(
    contract: Callable[..., None], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> HandgradError | None:
    """Return how the arguments of a call break a contract, or None if they keep it."""
    try:
        contract(*args, **kwargs)
    except HandgradError as error:
        return error
    return None


_OF_ELEMENTS = ("relu", "leaky_relu", "elu", "selu", "softplus", "sigmoid", "tanh", "gelu", "silu")

_CONTRACTS: dict[str, Callable[..., None]] = {
    "conv2d": images.conv2d,
    "conv2d_backward_input": images.conv2d_backward_input,
    "conv2d_backward_weight": images.conv2d_backward_weight,
    "conv2d_statistics": images.conv2d,
    "batch_norm_relu_conv2d": images.normalized_conv2d,
    "batch_norm_relu_conv2d_statistics": images.normalized_conv2d,
    "batch_norm_relu_conv2d_backward_weight": images.normalized_conv2d_backward_weight,
    "pack_filters": images.pack_filters,
    "conv2d_packed": images.conv2d_packed,
    "dense": rows.dense,
    "dense_backward_input": rows.dense_backward_input,
    "dense_backward_weight": rows.dense_backward_weight,
    "bias_backward": rows.bias_backward,
    "batch_norm_statistics": rows.statistics,
    "batch_norm": rows.batch_norm,
    "batch_norm_backward": rows.batch_norm_backward,
    "batch_norm_backward_constant": rows.batch_norm_backward,
    "batch_norm_relu": rows.batch_norm,
    "batch_norm_relu_backward": rows.batch_norm_relu_backward,
    "batch_norm_relu_backward_constant": rows.batch_norm_relu_backward,
    "group_norm": rows.group_norm,
    "group_norm_backward": rows.group_norm_backward,
    "rms_norm": rows.rms_norm,
    "rms_norm_backward": rows.rms_norm_backward,
    "max_pool2d": images.pool,
    "max_pool2d_backward": images.max_pool_backward,
    "average_pool2d": images.pool,
    "average_pool2d_backward": images.average_pool_backward,
    "global_average_pool2d": images.images,
    "global_average_pool2d_backward": images.global_pool_backward,
    "pad2d": images.images,
    "pad2d_backward": images.pad_backward,
    "upsample2d": images.images,
    "upsample2d_backward": images.upsample_backward,
    **{f"{name}_backward": rows.of_dy for name in _OF_ELEMENTS},
    "softmax": rows.softmax,
    "softmax_backward": rows.softmax_backward,
    "dropout_backward": rows.dropout_backward,
    "add": rows.add,
    "simple_rnn": rows.simple_rnn,
    "simple_rnn_backward": rows.simple_rnn_backward,
    "softmax_cross_entropy": rows.cross_entropy,
    "binary_cross_entropy": rows.of_targets,
    "mean_squared_error": rows.of_targets,
    **dict.fromkeys(("sgd", "adagrad", "adadelta", "rmsprop", "adam", "muon"), rows.update),
}
