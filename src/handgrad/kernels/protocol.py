"""The table of functions that compute: which function runs is data.

What holds for every kernel: inputs are never modified; results are freshly allocated, of the inputs' dtype
unless said otherwise; an empty batch gives an empty result; NaN passes through. The exception is the family
`update`, which writes the arrays it is there to move. Names follow one rule: ``op``, ``op_backward``, or
``op_backward_input`` and ``op_backward_weight`` where they are separable. The contract of each entry is the
docstring of the function of that name in `handgrad.kernels.reference`, and its shapes are checked as
`handgrad.kernels.contracts` says.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields
from typing import Any, TypeAlias

Kernel: TypeAlias = Callable[..., Any]


@dataclass(frozen=True, eq=False, repr=False)
class Kernels:
    """One implementation of every kernel; ``dataclasses.replace`` makes a table that differs in some."""

    # conv: images (n, h, w, c), filters (kh, kw, c/groups, k)
    conv2d: Kernel
    conv2d_backward_input: Kernel
    conv2d_backward_weight: Kernel
    # fused: convolutions with the normalization before them, and statistics for the one after
    conv2d_statistics: Kernel
    batch_norm_relu_conv2d: Kernel
    batch_norm_relu_conv2d_statistics: Kernel
    batch_norm_relu_conv2d_backward_weight: Kernel
    # packed: filters made ready once, for many images
    pack_filters: Kernel
    conv2d_packed: Kernel
    # dense: rows (m, c)
    dense: Kernel
    dense_backward_input: Kernel
    dense_backward_weight: Kernel
    bias_backward: Kernel
    # norm: rows (m, c), statistics per column
    batch_norm_statistics: Kernel
    batch_norm: Kernel
    batch_norm_backward: Kernel
    batch_norm_backward_constant: Kernel
    batch_norm_relu: Kernel
    batch_norm_relu_backward: Kernel
    batch_norm_relu_backward_constant: Kernel
    # group_norm: samples (n, m, c), statistics per sample and group of channels; rms: rows (n, c)
    group_norm: Kernel
    group_norm_backward: Kernel
    rms_norm: Kernel
    rms_norm_backward: Kernel
    # pool
    max_pool2d: Kernel
    max_pool2d_backward: Kernel
    average_pool2d: Kernel
    average_pool2d_backward: Kernel
    global_average_pool2d: Kernel
    global_average_pool2d_backward: Kernel
    # resize
    pad2d: Kernel
    pad2d_backward: Kernel
    upsample2d: Kernel
    upsample2d_backward: Kernel
    # activation
    relu: Kernel
    relu_backward: Kernel
    leaky_relu: Kernel
    leaky_relu_backward: Kernel
    elu: Kernel
    elu_backward: Kernel
    selu: Kernel
    selu_backward: Kernel
    softplus: Kernel
    softplus_backward: Kernel
    sigmoid: Kernel
    sigmoid_backward: Kernel
    tanh: Kernel
    tanh_backward: Kernel
    gelu: Kernel
    gelu_backward: Kernel
    silu: Kernel
    silu_backward: Kernel
    softmax: Kernel
    softmax_backward: Kernel
    # dropout
    dropout: Kernel
    dropout_backward: Kernel
    # merge
    add: Kernel
    # recurrent: sequences (n, t, c)
    simple_rnn: Kernel
    simple_rnn_backward: Kernel
    # loss: value and gradient together
    softmax_cross_entropy: Kernel
    binary_cross_entropy: Kernel
    mean_squared_error: Kernel
    # update: these write the parameters and the state they are given
    sgd: Kernel
    adagrad: Kernel
    adadelta: Kernel
    rmsprop: Kernel
    adam: Kernel
    muon: Kernel
    # gradient: what is asked of all gradients at once
    all_finite: Kernel
    sum_of_squares: Kernel

    def origins(self) -> dict[str, str]:
        """Return for every entry the module it comes from."""
        return {f.name: getattr(self, f.name).__module__ for f in fields(self)}
