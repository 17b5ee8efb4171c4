"""Every kernel where float32 ends: huge and denormal numbers, infinity and NaN, long sums, against float64.

Where a formula itself is undetermined, its limit is right. Normalizations are in test_range_norm.py, sums in
test_long_sums.py.
"""

from __future__ import annotations

from dataclasses import fields

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels import Kernels
from handgrad.kernels.bfloat16 import rounded
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from tests.kernels.calls import Call
from tests.kernels.extremes import MAX, check, each_scale, normal, with_algorithm
from tests.kernels.tables import COMPILED, each_table, in_bfloat16
from tests.kernels.test_range_norm import fused, in_columns, in_samples

# --- what is proportional to its numbers ------------------------------------------------------------------

SAME = Window((3, 3), pads=((1, 1), (1, 1)))
TWO = Window((2, 2), (2, 2))
x, dy = normal(0, 2, 7, 6, 20), normal(1, 2, 7, 6, 24)
w, depthwise = normal(2, 3, 3, 20, 24) / 20, normal(3, 3, 3, 1, 20) / 5
_, tap = REFERENCE.max_pool2d(x, SAME)
rows = normal(4, 300, 20)

PROPORTIONAL: list[tuple[Call, int]] = [
    (Call("conv2d", (x, w, None, SAME)), 0),
    (Call("conv2d", (x, depthwise, None, SAME, 20), note="depthwise"), 0),
    (Call("conv2d", (x, w, None, Window((3, 3), (2, 2))), note="strided"), 0),
    (Call("conv2d_backward_input", (dy, w, x.shape, SAME)), 0),
    (Call("conv2d_backward_weight", (dy / 50, x, w.shape, SAME)), 0),
    (Call("conv2d_backward_weight", (dy / 50, x, w.shape, SAME), note="images"), 1),
    (Call("conv2d_packed", (x, w, None, SAME)), 0),
    (Call("dense", (rows, normal(5, 20, 9) / 9, None)), 0),
    (Call("dense_backward_input", (rows, normal(5, 9, 20) / 9)), 0),
    (Call("dense_backward_weight", (rows / 50, normal(5, 300, 9))), 0),
    (Call("bias_backward", (rows / 50,)), 0),
    (Call("max_pool2d", (x, SAME)), 0),
    (Call("max_pool2d_backward", (x / 9, tap, x.shape, SAME)), 0),
    (Call("average_pool2d", (x, SAME)), 0),
    (Call("average_pool2d", (x[..., :3], TWO), note="few channels"), 0),
    (Call("average_pool2d_backward", (x, x.shape, SAME)), 0),
    (Call("global_average_pool2d", (x,)), 0),
    (Call("global_average_pool2d_backward", (rows, (300, 3, 2, 20))), 0),
    (Call("pad2d", (x, ((1, 0), (2, 1)), 0.0)), 0),
    (Call("pad2d_backward", (x, ((1, 0), (2, 1)))), 0),
    (Call("upsample2d", (x, (2, 3))), 0),
    (Call("upsample2d_backward", (x / 6, (7, 3))), 0),
    (Call("add", (x, np.zeros_like(x))), 0),
    (Call("dropout", (rows, 0.3, Stream((1,)))), 0),
    (Call("dropout_backward", (rows, rows < 0, 0.3)), 0),
    (Call("relu", (rows,)), 0),
    (Call("leaky_relu", (rows, 0.1)), 0),
    *(
        (Call(f"{name}_backward", (rows, normal(6, 300, 20), *rest)), 0)
        for name, rest in [("leaky_relu", (0.1,)), ("elu", (0.7,)), ("selu", ()), ("softplus", ())]
    ),
    *((Call(f"{name}_backward", (rows, normal(6, 300, 20))), 0) for name in ("gelu", "silu")),
    *((Call(f"{name}_backward", (rows, normal(6, 300, 20) % 1)), 0) for name in ("relu", "sigmoid", "tanh")),
    (Call("softmax_backward", (rows / 2, REFERENCE.softmax(normal(7, 300, 20)))), 0),
    (Call("mean_squared_error", (rows, np.zeros_like(rows))), 0),
    (Call("simple_rnn_backward", (normal(1, 2, 4, 5), normal(2, 2, 4, 3), normal(3, 2, 4, 5) % 1,
                                  normal(4, 3, 5) / 5, normal(5, 5, 5) / 9, "tanh")), 0),
]  # fmt: skip


@each_table
@each_scale
@pytest.mark.parametrize(("call", "i"), PROPORTIONAL, ids=str)
def test_what_is_proportional_to_its_numbers_is_at_every_size(call, i, scale, table):
    args = list(call.args)
    args[i] = args[i] * scale
    if call.kernel == "add":
        args[1] = -args[0] / 2
    check(call.with_args(tuple(args)), table)


# --- what is not ------------------------------------------------------------------------------------------


@each_table
@each_scale
@pytest.mark.parametrize("name", ["elu", "selu", "softplus", "sigmoid", "tanh", "gelu", "silu", "softmax"])
def test_activations_at_every_size(name, scale, table):
    args = (0.7,) if name == "elu" else ()
    check(Call(name, (rows * scale, *args)), table)
    if name not in ("sigmoid", "tanh", "softmax"):  # whose derivatives are functions of the output
        check(Call(f"{name}_backward", (normal(8, *rows.shape), rows * scale, *args)), table)
    if name == "gelu":
        for call in (Call("gelu", (rows * scale,)), Call("gelu_backward", (rows, rows * scale))):
            call.kwargs["approximate"] = True
            check(call, table)


# kernel: values at infinity, at minus infinity; derivatives there
LIMITS: dict[str, tuple[float, float, float, float]] = {
    "relu": (np.inf, 0, 1, 0),
    "leaky_relu": (np.inf, -np.inf, 1, 0.1),
    "elu": (np.inf, -0.1, 1, 0),
    "selu": (np.inf, -1.7580993, 1.0507010, 0),
    "softplus": (np.inf, 0, 1, 0),
    "sigmoid": (1, 0, 0, 0),
    "tanh": (1, -1, 0, 0),
    "gelu": (np.inf, 0, 1, 0),
    "gelu by tanh": (np.inf, 0, 1, 0),
    "silu": (np.inf, 0, 1, 0),
}


@each_table
@pytest.mark.parametrize("size", [200.0, 1e10, MAX, np.inf], ids=str)
@pytest.mark.parametrize("name", LIMITS)
def test_activations_reach_their_limits(name, size, table):
    kernel, kwargs = name.removesuffix(" by tanh"), {"approximate": True} if " by" in name else {}
    args = (0.1,) if kernel in ("elu", "leaky_relu") else ()
    high, low, *slopes = LIMITS[name]
    at = np.array([size, -size, np.nan], np.float32)
    with np.errstate(over="ignore"):
        y = getattr(table, kernel)(at, *args, **kwargs)
    ends = [size * slopes[0] if high == np.inf else high, -size * slopes[1] if low == -np.inf else low]
    with np.errstate(over="ignore"):
        expected = np.array([*ends, np.nan], np.float32)
    np.testing.assert_allclose(y, expected, rtol=2e-7)
    assert (y[:2] == expected[:2]).all() or kernel == "selu"
    given = y if kernel in ("relu", "sigmoid", "tanh") else at
    dx = getattr(table, f"{kernel}_backward")(np.full(3, 2, np.float32), given, *args, **kwargs)
    np.testing.assert_allclose(dx[:2], [2 * slopes[0], 2 * slopes[1]], rtol=2e-7)
    assert np.isnan(dx[2]) or kernel in ("relu", "leaky_relu", "elu", "selu")


@each_table
@pytest.mark.parametrize("k", [2, 3, 17, 40])
def test_beside_one_infinite_number_softmax_gives_the_others_nothing(k, table):
    z = normal(0, 5, k).astype(np.float32)
    z[0, 1] = z[1, 0] = z[1, 1] = z[2, 1] = np.inf
    z[2, 0], z[3, 0], z[4] = np.nan, -np.inf, -np.inf
    y = table.softmax(z)
    np.testing.assert_array_equal(y[0], np.eye(k)[1])
    assert np.isnan(y).all(axis=1).tolist() == [False, True, True, False, True]
    assert y[3, 0] == 0


# --- losses -----------------------------------------------------------------------------------------------


@each_table
@each_scale
@pytest.mark.parametrize("k", [3, 20])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_losses_at_every_size(scale, k, smoothing, table):
    z, t = normal(0, 50, k) * scale, REFERENCE.softmax(normal(1, 50, k))
    labels, kwargs = np.arange(50) % k, {"smoothing": smoothing}
    check(Call("softmax_cross_entropy", (z, labels), kwargs=kwargs), table)
    check(Call("softmax_cross_entropy", (z, t), kwargs=kwargs), table)
    check(Call("binary_cross_entropy", (z, t % 1)), table)
    check(Call("binary_cross_entropy", (z, np.round(t))), table)
    check(Call("mean_squared_error", (z, -z)), table)


@each_table
@pytest.mark.parametrize(
    ("z", "t", "value"),
    [(np.inf, 0, np.inf), (np.inf, 1, 0), (-np.inf, 0, 0), (-np.inf, 1, np.inf), (np.inf, 0.3, np.inf),
     (-np.inf, 0.3, np.inf), (MAX, 0, MAX), (MAX, 1, 0), (-MAX, 1, MAX)],
)  # fmt: skip
def test_an_infinite_logit_costs_nothing_where_it_is_right_and_else_infinitely_much(z, t, value, table):
    for n in (1, 20):
        logits, targets = np.zeros((n, 1), np.float32), np.full((n, 1), t)
        logits[0] = z
        found, dz = table.binary_cross_entropy(logits, targets)
        assert found == pytest.approx((value + (n - 1) * np.log(2)) / n, rel=1e-6)
        assert dz[0, 0] == pytest.approx(((z > 0) - t) / n)
        if t in (0, 1):  # the same as one class of two
            pairs = np.concatenate([logits, np.zeros_like(logits)], axis=1)
            found, dz = table.softmax_cross_entropy(pairs, np.full(n, 1 - t))
            assert found == pytest.approx((value + (n - 1) * np.log(2)) / n, rel=1e-6)
            assert dz[0].tolist() == pytest.approx([((z > 0) - t) / n, (t - (z > 0)) / n])
            one_hot = np.eye(2)[np.full(n, 1 - t)]
            assert table.softmax_cross_entropy(pairs, one_hot)[0] == pytest.approx(found)


@each_table
def test_label_smoothing_makes_an_infinite_logit_infinitely_dear(table):
    z = np.array([[np.inf, 0, 0]], np.float32)
    for labels in (np.array([0]), np.eye(3)[:1]):
        value, dz = table.softmax_cross_entropy(z, labels, smoothing=0.3)
        assert value == np.inf
        np.testing.assert_allclose(dz, [[0.2, -0.1, -0.1]], rtol=1e-6)


@each_table
@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
def test_nan_is_not_taken_for_a_number_beside_infinity(bad, table):
    z, t = np.array([[np.nan, bad, 0]], np.float32), np.array([[0.0, 1.0, 0.0]])
    for value, dz in (
        table.softmax_cross_entropy(z, t),
        table.softmax_cross_entropy(z, np.array([1])),
        table.binary_cross_entropy(z, t),
        table.mean_squared_error(z, t),
    ):
        assert np.isnan(value)
        assert np.isnan(dz[0, 0])


# --- padding ----------------------------------------------------------------------------------------------


@each_table
@pytest.mark.parametrize("channels", [1, 3, 20])
@pytest.mark.parametrize("value", [-np.inf, -MAX, -0.0])
@pytest.mark.parametrize("kernel", [(2, 2), (3, 3), (3, 2), (17, 17)])
def test_padding_never_wins(kernel, value, channels, table):
    """However small the numbers are: every window's gradient arrives on the image."""
    window = Window(kernel, pads=tuple(((k - 1), (k - 1)) for k in kernel))
    images = np.full((1, 2, 2, channels), value, np.float32)
    y, which = table.max_pool2d(images, window)
    np.testing.assert_array_equal(y, np.full_like(y, value))
    dx = table.max_pool2d_backward(np.ones_like(y), which, images.shape, window)
    assert dx.sum() == y.size


@pytest.mark.parametrize("name", [n for n in ("avx2", "plain") if n in COMPILED])
def test_padding_never_wins_in_bfloat16(name):
    table, images = in_bfloat16()[name], rounded(np.full((1, 2, 2, 9), -np.inf, np.float32))
    window = Window((2, 2), pads=((1, 1), (1, 1)))
    y, which = table.max_pool2d(images, window)
    dx = table.max_pool2d_backward(rounded(np.ones(y.shape, np.float32)), which, images.shape, window)
    assert dx.astype(np.float32).sum() == y.size


# --- updates ----------------------------------------------------------------------------------------------

RULES: dict[str, tuple[int, dict[str, float]]] = {
    "adam": (2, {"lr": 0.1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-8}),
    "rmsprop": (1, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8}),
    "rmsprop centered": (2, {"lr": 0.1, "rho": 0.9, "epsilon": 1e-8}),
    "adagrad": (1, {"lr": 0.1, "epsilon": 1e-10}),
    "adadelta": (2, {"lr": 1.0, "rho": 0.9, "epsilon": 1e-6}),
}


def trained(table: Kernels, rule: str, gradients: np.ndarray) -> tuple[np.ndarray, list[np.ndarray]]:
    states, numbers = RULES[rule]
    p = np.ones_like(gradients[0])
    state = [np.zeros_like(p) for _ in range(states)]
    for t, g in enumerate(gradients, 1):
        getattr(table, rule.split()[0])(p, g, *state, **numbers, **({"t": t} if rule == "adam" else {}))
    return p, state


@each_table
@pytest.mark.parametrize("scale", [1e-30, 1.0, 1e15, 1e19, 2e19, 1e25, 3e37], ids="{:g}".format)
@pytest.mark.parametrize("rule", RULES)
def test_one_huge_gradient_moves_a_parameter_as_in_float64_and_so_do_those_after_it(rule, scale, table):
    gradients = np.random.default_rng(0).uniform(0.5, 2, (9, 40))
    gradients[4] *= scale
    p, state = trained(table, rule, gradients.astype(np.float32))
    right, _ = trained(REFERENCE, rule, gradients.astype(np.float32).astype(np.float64))
    np.testing.assert_allclose(p, right, rtol=1e-4)
    assert all(np.isfinite(a).all() for a in state)


@each_table
@pytest.mark.parametrize("rule", RULES)
def test_huge_gradients_throughout_move_parameters_by_bounded_steps(rule, table):
    p, state = trained(table, rule, np.full((50, 40), MAX, np.float32))
    assert all(np.isfinite(a).all() for a in state)
    assert (p < 1).all()
    assert (np.abs(p - 1) <= 50 * 0.1 * (6 if rule.startswith("rmsprop") else 1.01)).all()


@each_table
@pytest.mark.parametrize("bad", [np.nan, np.inf])
@pytest.mark.parametrize("rule", RULES)
def test_what_is_not_finite_is_not_hidden(rule, bad, table):
    gradients = np.ones((3, 40), np.float32)
    gradients[1, 7] = bad
    with np.errstate(all="ignore"):
        p, _ = trained(table, rule, gradients)
    assert not np.isfinite(p[7])
    assert np.isfinite(np.delete(p, 7)).all()


@pytest.mark.parametrize(
    ("scale", "dtype"), [(1e-30, np.float32), (1e30, np.float32), (1e-200, np.float64), (1e200, np.float64)]
)
def test_muon_takes_matrices_of_every_size(scale, dtype):
    numbers = {"lr": 0.1, "momentum": 0.9, "nesterov": True, "ns_steps": 5, "scale": 1.0}
    moved = []
    for size in (1.0, scale):
        p, g = np.ones((4, 6), dtype), (normal(0, 4, 6) * size).astype(dtype)
        REFERENCE.muon(p, g, np.zeros_like(p), keep_norm=False, **numbers)
        moved.append(p)
    np.testing.assert_allclose(*moved, rtol=1e-5)
    p, zero = np.full((4, 6), scale, dtype), np.zeros((4, 6), dtype)
    REFERENCE.muon(p, zero, zero.copy(), keep_norm=True, **numbers)
    np.testing.assert_allclose(p, np.full((4, 6), 0.5), rtol=1e-6)


@each_table
@pytest.mark.parametrize("value", [1e-45, 1e-30, 1e19, MAX])
def test_questions_about_gradients_at_every_size(value, table):
    g = np.full(20_000, value, np.float32)
    assert table.all_finite(g)
    assert float(table.sum_of_squares(g)) == pytest.approx(20_000 * float(np.float32(value)) ** 2, rel=1e-12)


# --- where what is not finite goes ------------------------------------------------------------------------


@each_table
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf, 1e38])
def test_a_direct_convolution_keeps_what_is_not_finite_to_the_outputs_that_see_it(bad, table):
    table = with_algorithm(table, 0)
    images, filters = np.ones((1, 12, 12, 20), np.float32), np.full((3, 3, 20, 24), 0.01, np.float32)
    images[0, 5, 5, 3] = bad
    y = table.conv2d(images, filters, None, SAME)
    assert np.count_nonzero(~np.isfinite(y).all(axis=-1)) == (0 if np.isfinite(bad) else 9)
    assert np.count_nonzero((np.abs(y) > 1e10).any(axis=-1) | np.isnan(y).any(axis=-1)) == 9


@pytest.mark.parametrize(("tile", "most"), [(2, 16), (4, 64)])
@pytest.mark.parametrize("name", COMPILED)
@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e38])
def test_a_convolution_by_tiles_keeps_it_to_the_tiles_that_see_it(bad, name, tile, most):
    table = with_algorithm(COMPILED[name], tile)
    images, filters = np.ones((1, 12, 12, 20), np.float32), np.full((3, 3, 20, 24), 0.01, np.float32)
    images[0, 5, 5, 3] = bad
    y = table.conv2d(images, filters, None, SAME)
    wrong = ~np.isfinite(y).all(axis=-1) | (np.abs(y) > 1e10).any(axis=-1)
    assert 9 <= np.count_nonzero(wrong) <= most


# --- nothing is left out ----------------------------------------------------------------------------------


def test_every_kernel_is_walked_through():
    walked = {call.kernel for call, _ in PROPORTIONAL}
    walked |= {call.kernel for call in [*in_columns(1.0, 0.0, 6), *in_samples(1.0, 0.0, 1, 1), *fused(1.0)]}
    walked |= {name.split()[0] for name in [*LIMITS, *RULES]}
    walked |= {"softmax", "softmax_cross_entropy", "binary_cross_entropy"}
    walked |= {"muon", "all_finite", "sum_of_squares"}
    without = {"sgd", "simple_rnn", "pack_filters"}  # products and sums, or made of what is here
    assert {f.name for f in fields(Kernels)} - walked - without == set()
