"""A call of every kernel that computes, with small arguments: one list for what they have in common."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels import Kernels
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream

Result = TypeVar("Result")

UPDATES = {"sgd", "adagrad", "adadelta", "rmsprop", "adam", "muon"}
"""The kernels that write what they are given: apart, in test_update.py and test_muon.py."""

OF_GRADIENTS = {"all_finite", "sum_of_squares"}
"""The kernels that answer a question, of real numbers alone: apart, in test_gradient.py."""

PACKING = {"pack_filters"}
"""The kernel whose result only another one can read: apart, in test_packed.py."""


class Statistics(np.ndarray):
    """Mean and scale of a normalization, which are float64 whatever the dtype of the rest."""


@dataclass(eq=False)
class Call:
    """A kernel and its arguments in float64; `batched` numbers those that have the batch axis first."""

    kernel: str
    args: tuple[Any, ...]
    batched: tuple[int, ...] = (0,)
    kwargs: dict[str, Any] = field(default_factory=dict)
    note: str = ""

    def __str__(self) -> str:
        return f"{self.kernel}-{self.note}" if self.note else self.kernel

    def run(
        self, convert: Callable[[np.ndarray], Any] = np.asarray, table: Kernels = REFERENCE
    ) -> tuple[Any, ...]:
        """Return the results for arguments converted by a function, as a tuple."""
        args = tuple(convert(a) if isinstance(a, np.ndarray) else a for a in self.args)
        result = getattr(table, self.kernel)(*args, **self.kwargs)
        return result if isinstance(result, tuple) else (result,)

    def with_args(self, args: tuple[Any, ...]) -> Call:
        """Return the same call with other arguments."""
        return Call(self.kernel, args, self.batched, self.kwargs, self.note)


def once(function: Callable[[Call], Result]) -> Callable[[Call], Result]:
    """Return the function that computes once for each call: what it returns lives as long as the call."""
    found: WeakKeyDictionary[Call, Result] = WeakKeyDictionary()

    def get(call: Call) -> Result:
        if call not in found:
            found[call] = function(call)
        return found[call]

    return get


def converter(dtype: Any) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function that converts arguments to `dtype`: not integers, and not statistics."""

    def convert(a: np.ndarray) -> np.ndarray:
        keep = isinstance(a, Statistics) or a.dtype.kind != "f"
        return np.asarray(a) if keep else np.asarray(a, dtype)

    return convert


def _calls() -> list[Call]:
    rng = np.random.default_rng(0)

    def r(*shape: int) -> np.ndarray:
        return rng.normal(size=shape)

    calls = []
    windows = {
        "padded": Window((3, 2), pads=((1, 1), (0, 2))),
        "strided": Window((2, 3), strides=(2, 3)),
        "dilated": Window((2, 2), dilation=(2, 1), pads=((0, 1), (1, 0))),
        "grouped": Window((2, 2), strides=(1, 2)),
    }
    for note, window in windows.items():
        g = 2 if note == "grouped" else 1
        x, w, b = r(2, 5, 6, 4), r(*window.kernel, 4 // g, 6), r(6)
        dy = r(2, *window.output_size((5, 6)), 6)
        calls += [
            Call("conv2d", (x, w, b, window, g), note=note),
            Call("conv2d_backward_input", (dy, w, x.shape, window, g), note=note),
            Call("conv2d_backward_weight", (dy, x, w.shape, window, g), (0, 1), note=note),
        ]
    for note, c, k, g in [("3x3", 4, 5, 1), ("grouped", 4, 6, 2), ("depthwise", 4, 4, 4)]:
        x, w, add = r(2, 5, 6, c), r(3, 3, c // g, k), r(2, 5, 6, k)
        same = Window((3, 3), pads=((1, 1), (1, 1)))
        calls += [
            Call("conv2d_packed", (x, w, r(k), same, g), note=note),
            Call("conv2d_packed", (x, w, None, same, g, add, True), (0, 5), note=f"{note} added"),
        ]
    x, w, b, dy = r(5, 3), r(3, 4), r(4), r(5, 4)
    calls += [
        Call("conv2d", (r(1, 3, 3, 2), r(2, 2, 2, 3), None, Window((2, 2))), note="no bias"),
        Call("dense", (x, w, b)),
        Call("dense", (x, w, None), note="no bias"),
        Call("dense_backward_input", (dy, w)),
        Call("dense_backward_weight", (dy, x), (0, 1)),
        Call("bias_backward", (r(2, 3, 4),)),
    ]
    x, dy, gamma, beta = r(6, 3), r(6, 3), r(3), r(3)
    mean, s = r(3).view(Statistics), (0.5 + rng.random(3)).view(Statistics)
    calls += [
        Call("batch_norm_statistics", (x,), ()),
        Call("batch_norm", (x, mean, s, gamma, beta)),
        Call("batch_norm", (x, mean, s, None, None), note="plain"),
        Call("batch_norm_backward", (dy, x, mean, s, gamma), (0, 1)),
        Call("batch_norm_backward", (dy, x, mean, s, None), (0, 1), note="plain"),
        Call("batch_norm_backward", (dy, x, mean, s, gamma, 4), (0, 1), note="of some rows"),
        Call("batch_norm_backward_constant", (dy, x, mean, s, gamma), (0, 1)),
        Call("batch_norm_backward_constant", (dy, x, mean, s, None), (0, 1), note="plain"),
    ]
    calls += _fused(r)
    residual = r(6, 3)
    y = REFERENCE.batch_norm_relu(x, mean, s, gamma, beta, residual)
    calls += [
        Call("batch_norm_relu", (x, mean, s, gamma, beta)),
        Call("batch_norm_relu", (x, mean, s, None, None), note="plain"),
        Call("batch_norm_relu", (x, mean, s, gamma, beta, residual), (0, 5), note="residual"),
    ]
    calls += [
        Call("batch_norm_relu_backward", (dy, x, None, mean, s, gamma, beta, 4), (0, 1), note="of some rows"),
    ]
    for name in ("batch_norm_relu_backward", "batch_norm_relu_backward_constant"):
        calls += [
            Call(name, (dy, x, None, mean, s, gamma, beta), (0, 1)),
            Call(name, (dy, x, None, mean, s, None, None), (0, 1), note="plain"),
            Call(name, (dy, x, y, mean, s, gamma, beta), (0, 1, 2), note="residual"),
        ]
    calls += _groups(r)
    x = r(2, 5, 6, 3)
    for note, window in {
        "padded": Window((3, 2), (2, 1), pads=((1, 1), (0, 1))),
        "overlapping": Window((3, 3)),
        "of one": Window((1, 1)),
    }.items():
        dy = r(2, *window.output_size((5, 6)), 3)
        index = REFERENCE.max_pool2d(x, window)[1]
        calls += [
            Call("max_pool2d", (x, window), note=note),
            Call("max_pool2d_backward", (dy, index, x.shape, window), (0, 1), note=note),
        ]
        for count in (False, True):
            kwargs, name = {"count_padding": count}, f"{note}{' counted' if count else ''}"
            calls += [
                Call("average_pool2d", (x, window), kwargs=kwargs, note=name),
                Call("average_pool2d_backward", (dy, x.shape, window), kwargs=kwargs, note=name),
            ]
    for note, pads in {"": ((1, 0), (2, 1)), "nothing": ((0, 0), (0, 0))}.items():
        rows, columns = sum(pads[0]), sum(pads[1])
        calls += [
            Call("pad2d", (x, pads, 2.5), note=note),
            Call("pad2d_backward", (r(2, 5 + rows, 6 + columns, 3), pads), note=note),
        ]
    calls += [
        Call("global_average_pool2d", (x,)),
        Call("global_average_pool2d_backward", (r(2, 3), x.shape)),
        Call("upsample2d", (r(2, 2, 3, 2), (2, 3))),
        Call("upsample2d", (r(2, 2, 3, 2), (1, 1)), note="of one"),
        Call("upsample2d_backward", (r(2, 4, 9, 2), (2, 3))),
        Call("upsample2d_backward", (r(2, 4, 9, 2), (1, 1)), note="of one"),
    ]
    for name, rest, kwargs in [
        ("relu", (), {}),
        ("leaky_relu", (0.1,), {}),
        ("elu", (0.7,), {}),
        ("selu", (), {}),
        ("softplus", (), {}),
        ("sigmoid", (), {}),
        ("tanh", (), {}),
        ("gelu", (), {}),
        ("gelu", (), {"approximate": True}),
        ("silu", (), {}),
        ("softmax", (), {}),
    ]:
        note = "by tanh" if kwargs else ""
        calls.append(Call(name, (r(4, 5), *rest), kwargs=kwargs, note=note))
        calls.append(Call(f"{name}_backward", (r(4, 5), r(4, 5), *rest), (0, 1), kwargs, note))
    x, W, U, b, dh = r(2, 4, 3), r(3, 5), r(5, 5), r(5), r(2, 4, 5)
    for f in ("tanh", "relu", "sigmoid"):
        h = REFERENCE.simple_rnn(x, W, U, b, f)
        calls.append(Call("simple_rnn", (x, W, U, b, f), note=f))
        calls.append(Call("simple_rnn_backward", (dh, x, h, W, U, f), (0, 1, 2), note=f))
    calls += [
        Call("simple_rnn", (x, W, U, None, "tanh"), note="no bias"),
        Call("simple_rnn_backward", (dh, x, h, W, U, "sigmoid", 2), (0, 1, 2), note="truncated"),
        Call("softmax_cross_entropy", (r(4, 3), rng.integers(0, 3, 4)), (0, 1)),
        Call("binary_cross_entropy", (r(4, 3), rng.random((4, 3))), (0, 1)),
        Call("mean_squared_error", (r(4, 3), r(4, 3)), (0, 1)),
        Call("add", (r(4, 5), r(4, 5)), (0, 1)),
        Call("dropout", (r(4, 5), 0.3, Stream((1,)))),
        Call("dropout_backward", (r(4, 5), rng.random((4, 5)) < 0.7, 0.3), (0, 1)),
    ]
    return calls


def _fused(r: Callable[..., np.ndarray]) -> list[Call]:
    calls = []
    for note, window in {
        "3x3": Window((3, 3), pads=((1, 1), (1, 1))),
        "strided": Window((2, 3), strides=(2, 2), pads=((0, 1), (1, 0))),
    }.items():
        x, w, dy = r(2, 5, 6, 3), r(*window.kernel, 3, 4), r(2, *window.output_size((5, 6)), 4)
        b, gamma, beta = (r(4), r(3), r(3)) if note == "3x3" else (None, None, None)
        norm = r(3).view(Statistics), (0.5 + abs(r(3))).view(Statistics), gamma, beta
        calls += [
            Call("conv2d_statistics", (x, w, b, window), (), note=note),
            Call("batch_norm_relu_conv2d", (x, *norm, w, b, window), note=note),
            Call("batch_norm_relu_conv2d_statistics", (x, *norm, w, b, window), (), note=note),
            Call(
                "batch_norm_relu_conv2d_backward_weight", (dy, x, *norm, w.shape, window), (0, 1), note=note
            ),
            Call(
                "conv2d_backward_input",
                (dy, w, x.shape, window, 1, r(2, 5, 6, 3)),
                (0, 5),
                note=f"{note} added",
            ),
        ]
    return calls


def _groups(r: Callable[..., np.ndarray]) -> list[Call]:
    calls = []
    for note, shape, groups in [
        ("images", (2, 6, 4), 2),
        ("rows", (3, 1, 5), 1),
        ("rows in groups", (3, 1, 6), 2),
        ("each channel", (2, 7, 3), 3),
    ]:
        x, dy, gamma, beta = r(*shape), r(*shape), r(shape[2]), r(shape[2])
        if note == "images":
            gamma, beta = None, None
        _, mean, s = REFERENCE.group_norm(x, gamma, beta, groups, 0.1)
        statistics = mean.view(Statistics), s.view(Statistics)
        calls += [
            Call("group_norm", (x, gamma, beta, groups, 0.1), note=note),
            Call("group_norm_backward", (dy, x, *statistics, gamma), (0, 1, 2, 3), note=note),
        ]
    x, dy = r(4, 5), r(4, 5)
    for note, gamma in {"": r(5), "plain": None}.items():
        s = REFERENCE.rms_norm(x, gamma, 0.1)[1].view(Statistics)
        calls += [
            Call("rms_norm", (x, gamma, 0.1), note=note),
            Call("rms_norm_backward", (dy, x, s, gamma), (0, 1, 2), note=note),
        ]
    return calls


CALLS = _calls()
