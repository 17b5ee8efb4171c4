"""Compiled kernels against the reference in float64, over shapes that leave nothing out; threads.

Sums of T products of standard normal numbers have the size sqrt(T); of the rounding of T sums, each below
eps*sqrt(T), about sqrt(T) remain. So errors of sums of products are measured by ``eps*T``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import cache, lru_cache, partial
from typing import Any

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels import Kernels, get_threads, reuse_memory, set_threads
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from tests.kernels.calls import PACKING, UPDATES, Call, Statistics, converter, once
from tests.kernels.pairwise import pairwise
from tests.kernels.tables import COMPILED, each_compiled

EPS = float(np.finfo(np.float32).eps)
CHANNELS = [1, 3, 16, 17, 64, 70, 130]
SIZES = [(1, 1), (2, 3), (5, 4), (7, 9), (13, 6)]
BATCHES = [0, 1, 3]
THREADS = [1, 2, 3]
float32 = converter(np.float32)


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_threads()
    yield
    set_threads(before)


def normal(seed: int, *shape: int) -> np.ndarray:
    """Return standard normal numbers that float32 holds, in float64."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32).astype(np.float64)


def rounded(a: np.ndarray) -> np.ndarray:
    return a.astype(np.float32).astype(np.float64)


def described(case: Any) -> str:
    return " ".join(str(v).replace(" ", "") for v in case.values())


KEPT = {"max_pool2d", "pad2d", "pad2d_backward", "upsample2d"}
"""Whose results are numbers that were there before."""


FUSED = {name for name in REFERENCE.origins() if REFERENCE.origins()[name].endswith("reference.fused")}
"""Convolutions with what stands before and after them."""


def summed(call: Call) -> int | None:
    """Return how many products are in a sum, of sums of products."""
    a, b = call.args[0], call.args[1] if len(call.args) > 1 else None
    if call.kernel in FUSED:
        filters = call.args[5] if call.kernel.startswith("batch_norm") else b
        return math.prod(a.shape[:3] if "weight" in call.kernel else filters.shape[:3]) + 1
    return {
        "conv2d": lambda: math.prod(b.shape[:3]) + 1,
        "conv2d_packed": lambda: math.prod(b.shape[:3]) + 2,
        "conv2d_backward_input": lambda: math.prod(b.shape) // call.args[2][3],
        "conv2d_backward_weight": lambda: math.prod(a.shape[:3]),
        "dense": lambda: a.shape[1] + 1,
        "dense_backward_input": lambda: a.shape[1],
        "dense_backward_weight": lambda: a.shape[0],
    }.get(call.kernel, lambda: None)()


@once
def expected(call: Call) -> tuple[Any, ...]:
    """Return what the reference computes in float64."""
    return call.run(converter(np.float64))


one_at_a_time = lru_cache(maxsize=1)
"""What tests of one case share, which pytest runs one after the other: all cases take gigabytes."""


def check(call: Call, table: Kernels, most: float = 16) -> None:
    """Compare with the reference; errors of sums of products are at most `most` times eps*T."""
    for y, z in zip(call.run(float32, table), expected(call), strict=True):
        assert y.shape == z.shape
        terms = summed(call)
        if call.kernel in KEPT or z.dtype.kind != "f":
            np.testing.assert_array_equal(y, z)
        elif y.dtype == np.float64 and call.kernel in FUSED:  # mean and variance of numbers with such errors
            np.testing.assert_allclose(y, z, rtol=64 * EPS, atol=most * EPS * terms)
        elif terms is not None:
            assert y.dtype == np.float32
            error = np.max(np.abs(y - z), initial=0) / (EPS * max(terms, 1))
            assert error < most, f"{call}: {error:.1f} times eps*T"
        else:
            size = np.sqrt(np.mean(z * z)) if z.size else 0
            if "_norm" in call.kernel:
                size = max(size, 1)  # of what cancels: of few rows little is left
            np.testing.assert_allclose(y, z, rtol=8 * EPS, atol=8 * EPS * size)


def check_all(calls: list[Call], table: Kernels, most: float = 16) -> None:
    for call in calls:
        try:
            check(call, table, most)
        except AssertionError as error:
            sizes = (str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in call.args)
            raise AssertionError(f"{call}({', '.join(sizes)}): {error}") from None


@cache
def with_algorithm(table: Kernels, algorithm: int) -> Kernels:
    from handgrad.kernels.cpu import cpu_kernels
    from handgrad.kernels.extension import load

    name = next(name for name, t in COMPILED.items() if t is table)
    return cpu_kernels(next(t for t in load().module.tables() if t.name == name), algorithm=algorithm)


# --- convolution ------------------------------------------------------------------------------------------

PADS = [((0, 0), (0, 0)), ((1, 1), (1, 1)), ((0, 1), (2, 0)), ((3, 2), (2, 3))]
WINDOWS = {"pads": PADS, "size": SIZES, "n": BATCHES, "c": CHANNELS}
ANY = WINDOWS | {
    "kernel": [(1, 1), (2, 2), (3, 3), (5, 5), (7, 7), (3, 2), (1, 5)],
    "strides": [(1, 1), (2, 2), (3, 3), (1, 2)],
    "dilation": [(1, 1), (2, 2)],
    "groups": ["one", "two", "depthwise", "depthwise of two"],
    "k": CHANNELS,
}
THREE_BY_THREE = WINDOWS | {"k": CHANNELS, "pads": [*PADS[:3], ((2, 2), (2, 2))]}
FIVE_BY_FIVE = WINDOWS | {
    "kernel": [(5, 5)],
    "k": CHANNELS,
    "pads": [PADS[0], ((2, 2), (2, 2)), ((4, 1), (3, 4))],
}
STRIDED = WINDOWS | {
    "strides": [(2, 2)],
    "size": [*SIZES, (18, 21), (33, 16)],
    "k": CHANNELS,
    "pads": [*PADS[:3], ((0, 1), (0, 1)), ((2, 2), (2, 2)), ((1, 0), (1, 2))],
}


def window_of(case: dict[str, Any]) -> Window:
    return Window(
        case.get("kernel", (3, 3)), case.get("strides", (1, 1)), case.get("dilation", (1, 1)), case["pads"]
    )


def possible(case: dict[str, Any]) -> bool:
    fits = min(window_of(case).output_size(case["size"])) >= 1
    return fits and not (case.get("groups") == "two" and (case["c"] % 2 or case["k"] % 2))


@one_at_a_time
def convolution(described_case: str) -> list[Call]:
    """Return calls of the three passes."""
    case = CASES[described_case]
    window, (n, c, k) = window_of(case), (case["n"], case["c"], case["k"])
    groups = {"one": 1, "two": 2}.get(case.get("groups", "one"), c)
    if "depthwise" in case.get("groups", "one"):
        k = 2 * c if case["groups"].endswith("two") else c
    x, w, b = normal(0, n, *case["size"], c), normal(1, *window.kernel, c // groups, k), normal(2, k)
    dy = normal(3, n, *window.output_size(case["size"]), k)
    return [
        Call("conv2d", (x, w, b if c % 2 else None, window, groups)),
        Call("conv2d_backward_input", (dy, w, x.shape, window, groups)),
        Call("conv2d_backward_input", (dy, w, x.shape, window, groups, normal(4, *x.shape))),
        Call("conv2d_backward_weight", (dy, x, w.shape, window, groups)),
    ]


@one_at_a_time
def fused(described_case: str) -> list[Call]:
    """Return calls of convolutions fused with normalizations."""
    case = CASES[described_case]
    window, (n, c, k) = window_of(case), (case["n"], case["c"], case["k"])
    x, w, b = rounded(normal(0, n, *case["size"], c) + 5), normal(1, *window.kernel, c, k), normal(2, k)
    size = window.output_size(case["size"])
    dy, affine = normal(3, n, *size, k), k % 2 == 0
    mean, s = rounded(normal(4, c) / 4 + 5), rounded(0.5 + abs(normal(5, c)) / 2)
    gamma, beta = (normal(6, c), normal(7, c)) if affine else (None, None)
    norm = mean.view(Statistics), s.view(Statistics), gamma, beta
    calls = [
        Call("batch_norm_relu_conv2d", (x, *norm, w, b if c % 2 else None, window)),
        Call("batch_norm_relu_conv2d_backward_weight", (dy, x, *norm, w.shape, window)),
    ]
    if n * math.prod(size) > 1:
        calls += [
            Call("conv2d_statistics", (normal(0, n, *case["size"], c), w, b, window)),
            Call("batch_norm_relu_conv2d_statistics", (x, *norm, w, None if c % 2 else b, window)),
        ]
    return calls


WIDE = {"pads": PADS[1], "size": (5, 4), "n": 1, "c": 400, "k": 384}
"""Filters that the caches do not hold."""
WIDER = WIDE | {"c": 530, "k": 512}
"""The same of tiles of 2x2, whose filters take less room."""
DEEP = {"pads": PADS[1], "size": (40, 37), "n": 1, "c": 1000, "k": 130}
"""Such filters, and more tiles of such an image than the caches hold."""
LONG = {"pads": PADS[1], "size": (60, 60), "n": 1, "c": 140, "k": 130}
"""More tiles than the caches hold, for a weight gradient that all threads share."""
SHORT_TILES = [
    {"pads": PADS[1], "size": size, "n": n, "c": 9, "k": 17}
    for n, sizes in [
        (1, [(7, 7), (14, 14)]),
        (3, [(7, 8), (5, 15), (8, 6), (6, 9), (7, 6), (6, 7)]),
        (30, [(3, 3), (6, 6), (7, 7), (11, 15), (14, 10)]),
    ]
    for size in sizes
]
"""Images of which tiles of 4x4 leave 3 or 2 rows or columns, or 3 of the ones and 2 of the others."""
PADDED_ONE = {"kernel": (1, 1), "pads": PADS[2], "size": (5, 4), "n": 3, "c": 17, "k": 16}
"""What would be a plain product without its padding."""
LONG_ROWS = {"kernel": (2, 3), "pads": PADS[1], "size": (3, 50), "n": 1, "c": 3, "k": 17}
"""Many blocks of one height."""
FIRST_LAYER = {"pads": PADS[1], "size": (20, 30), "n": 3, "c": 3, "k": 16}
"""Few channels of more places than are computed together, to filters that are whole vectors."""
FEW_PLACES = {"pads": PADS[1], "size": (4, 4), "n": 1, "c": 6, "k": 144}
"""Filters that are read once, as they are, and more than a panel of them."""
FEW_PLACES_OF_MANY = {"strides": (2, 2), "pads": PADS[1], "size": (8, 10), "n": 1, "c": 100, "k": 144}
"""The same of the input gradient's phases, and more filters than are multiplied at once."""
FEWER_FILTERS = {"kernel": (1, 1), "pads": PADS[0], "size": (5, 4), "n": 3, "c": 32, "k": 17}
"""A plain product whose gradient has fewer columns than rows."""
_FEW_FILTERS = [
    ((3, 3), (1, 1), (1, 1), PADS[1], (13, 9), 2, 40, 3),
    ((3, 2), (1, 1), (2, 2), PADS[3], (11, 12), 3, 30, 2),
    ((3, 3), (2, 1), (1, 1), PADS[2], (9, 8), 2, 3, 60),
    ((3, 3), (2, 2), (1, 1), PADS[1], (9, 8), 2, 60, 3),
    ((7, 7), (1, 1), (1, 1), PADS[0], (7, 8), 2, 40, 3),
    ((3, 3), (1, 1), (1, 1), PADS[3], (20, 300), 1, 17, 1),
    ((5, 5), (1, 1), (1, 1), PADS[3], (12, 7), 1, 33, 4),
    ((7, 7), (2, 2), (1, 1), PADS[3], (20, 31), 2, 3, 40),
]
FEW_FILTERS = [
    dict(zip(("kernel", "strides", "dilation", "pads", "size", "n", "c", "k"), case, strict=True))
    for case in _FEW_FILTERS
]
"""Results that are a part of a vector, forward or in the input gradient: taps side by side, of which there
are more than a panel, or of which not all rows are kept."""
ADDED = PADDED_ONE, LONG_ROWS, FIRST_LAYER, FEW_PLACES, FEW_PLACES_OF_MANY, FEWER_FILTERS, *FEW_FILTERS
ANY_CASES = {described(case): case for case in [*pairwise(ANY, possible), *ADDED]}
LARGEST = [WIDE, WIDER, DEEP, LONG]
THREE_BY_THREE_CASES = {
    described(case): case for case in [*pairwise(THREE_BY_THREE, possible), *SHORT_TILES, *LARGEST]
}
FIVE_BY_FIVE_CASES = {
    described(case): case
    for case in [*pairwise(FIVE_BY_FIVE, possible), *({"kernel": (5, 5)} | case for case in (WIDE, LONG))]
}
STRIDED_CASES = {
    described(case): case
    for case in [*pairwise(STRIDED, possible), *({"strides": (2, 2)} | case for case in LARGEST)]
}
CASES = ANY_CASES | THREE_BY_THREE_CASES | FIVE_BY_FIVE_CASES | STRIDED_CASES


@each_compiled
@pytest.mark.parametrize("case", ANY_CASES)
def test_convolution(case, table):
    check_all(convolution(case), table, 4)


@pytest.mark.parametrize(("algorithm", "most"), [(0, 4), (2, 5), (4, 20)], ids=["direct", "2x2", "4x4"])
@each_compiled
@pytest.mark.parametrize("case", THREE_BY_THREE_CASES)
def test_convolution_by_each_algorithm(case, table, algorithm, most):
    check_all(convolution(case), with_algorithm(table, algorithm), most)


@pytest.mark.parametrize(("algorithm", "most"), [(0, 8), (2, 10), (4, 32)], ids=["direct", "2x2", "4x4"])
@each_compiled
@pytest.mark.parametrize("case", THREE_BY_THREE_CASES)
def test_fused_convolution_by_each_algorithm(case, table, algorithm, most):
    check_all(fused(case), with_algorithm(table, algorithm), most)


@each_compiled
@pytest.mark.parametrize("case", FIVE_BY_FIVE_CASES)
def test_convolution_of_filters_of_5x5_by_tiles(case, table):
    for call in [*convolution(case), *fused(case)]:
        # a gradient's sums may be short, and its numbers millions, of which the largest error counts
        check_all([call], with_algorithm(table, 2), 48 if "weight" in call.kernel else 16)


@each_compiled
@pytest.mark.parametrize("case", STRIDED_CASES)
def test_convolution_at_stride_2_by_tiles(case, table):
    for call in [*convolution(case), *fused(case)]:
        check_all([call], with_algorithm(table, 4), 48 if "weight" in call.kernel else 24)


@pytest.mark.parametrize("algorithm", [0, 2, 4])
@each_compiled
@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6])
def test_statistics_of_what_a_convolution_writes_are_those_of_its_numbers(mean, table, algorithm):
    """However large their mean is: what y itself lost in rounding is not of the statistics' making."""
    x, w = float32(normal(0, 5, 13, 14, 6)), float32(normal(1, 3, 3, 6, 20))
    b = float32(np.full(20, mean))
    y, *found = with_algorithm(table, algorithm).conv2d_statistics(x, w, b, Window((3, 3), pads=PADS[1]))
    expected = REFERENCE.batch_norm_statistics(y.reshape(-1, 20))
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-6)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-6)


# --- everything else --------------------------------------------------------------------------------------


def _dense() -> list[Call]:
    cases = pairwise({"m": [0, 1, 5, 13, 100], "c": [1, 3, 16, 70, 300], "k": CHANNELS})
    sizes = [tuple(case.values()) for case in cases]
    # filters read as they lie, in many pieces; packed as they come, and rows a multiple of 128 apart, which
    # are copied; packed before, and many columns that end in one vector
    sizes += [(20, 384, 320), (100, 384, 300), (300, 130, 270)]
    # few classes: more numbers than are summed at a time, and what rows side by side leave
    sizes += [(8, 40, k) for k in range(2, 16)] + [(9, 2070, 10), (11, 1041, 5), (14, 1030, 2)]
    calls = []
    for m, c, k in sizes:
        x, w, b, dy = normal(0, m, c), normal(1, c, k), normal(2, k), normal(3, m, k)
        calls += [
            Call("dense", (x, w, b if m % 2 else None)),
            Call("dense_backward_input", (dy, w)),
            Call("dense_backward_weight", (dy, x)),
            Call("bias_backward", (dy,)),
        ]
    return calls


def _pool() -> list[Call]:
    axes = WINDOWS | {
        "pads": PADS[:3],
        "kernel": [(1, 1), (2, 2), (3, 3), (2, 3)],
        "strides": [(1, 1), (2, 2), (3, 3), (1, 2), (2, 1)],
        "dilation": [(1, 1), (2, 1)],
        "c": [*CHANNELS, 6],
    }
    calls = []
    for case in pairwise(axes, possible):
        window, n, c, (h, w) = window_of(case), case["n"], case["c"], case["size"]
        x, dy = normal(0, n, h, w, c), normal(1, n, *window.output_size((h, w)), c)
        calls.append(Call("max_pool2d", (x, window)))
        calls.append(Call("max_pool2d_backward", (dy, REFERENCE.max_pool2d(x, window)[1], x.shape, window)))
        for count in (False, True):
            kwargs = {"count_padding": count}
            calls.append(Call("average_pool2d", (x, window), kwargs=kwargs))
            calls.append(Call("average_pool2d_backward", (dy, x.shape, window), kwargs=kwargs))
        calls.append(Call("global_average_pool2d", (x,)))
        calls.append(Call("global_average_pool2d_backward", (normal(2, n, c), x.shape)))
    return calls


def _resize() -> list[Call]:
    calls = []
    axes = {"n": BATCHES, "size": SIZES[:3], "c": CHANNELS, "pads": PADS[:3], "by": [(1, 1), (2, 2), (1, 3)]}
    for case in pairwise(axes):
        n, (h, w), c, pads, by = case.values()
        x = normal(0, n, h, w, c)
        padded, larger = (n, h + sum(pads[0]), w + sum(pads[1]), c), (n, h * by[0], w * by[1], c)
        calls += [
            Call("pad2d", (x, pads, -1.5)),
            Call("pad2d_backward", (normal(1, *padded), pads)),
            Call("upsample2d", (x, by)),
            Call("upsample2d_backward", (normal(2, *larger), by)),
        ]
    return calls


def _norm() -> list[Call]:
    calls = []
    for case in pairwise({"m": [1, 2, 7, 64, 65, 1000], "c": CHANNELS, "affine": [False, True]}):
        m, c, affine = case.values()
        x, dy, residual = rounded(3 * normal(0, m, c) + 5), normal(1, m, c), normal(4, m, c)
        gamma, beta = (normal(2, c), normal(3, c)) if affine else (None, None)
        mean, var = REFERENCE.batch_norm_statistics(x)
        statistics = mean.view(Statistics), (1 / np.sqrt(var + 0.1)).view(Statistics)
        calls += [
            Call("batch_norm_statistics", (x,)),
            Call("batch_norm", (x, *statistics, gamma, beta)),
            Call("batch_norm_backward", (dy, x, *statistics, gamma)),
            Call("batch_norm_backward", (dy, x, *statistics, gamma, (m + 1) // 2)),
            Call("batch_norm_backward_constant", (dy, x, *statistics, gamma)),
            Call("batch_norm_relu", (x, *statistics, gamma, beta)),
            Call("batch_norm_relu", (x, *statistics, gamma, beta, residual)),
        ]
        y = REFERENCE.batch_norm_relu(x, *statistics, gamma, beta, residual)
        for name in ("batch_norm_relu_backward", "batch_norm_relu_backward_constant"):
            calls.append(Call(name, (dy, x, None, *statistics, gamma, beta)))
            calls.append(Call(name, (dy, x, y, *statistics, gamma, beta)))
        calls.append(Call("batch_norm_relu_backward", (dy, x, y, *statistics, gamma, beta, (m + 1) // 2)))
    return calls


def groups_of(c: int, kind: str) -> int:
    return {"one": 1, "each": c, "some": next((g for g in (2, 3, 5, 17) if c % g == 0), 1)}[kind]


def group_norm(x: np.ndarray, *others: np.ndarray | None, groups: int) -> list[Call]:
    """Return calls of group_norm and its backward; `others` are dy, gamma and beta."""
    dy, gamma, beta = others
    _, mean, s = REFERENCE.group_norm(x, gamma, beta, groups, 0.1)
    return [
        Call("group_norm", (x, gamma, beta, groups, 0.1)),
        Call("group_norm_backward", (dy, x, mean.view(Statistics), s.view(Statistics), gamma)),
    ]


def rms_norm(x: np.ndarray, dy: np.ndarray, gamma: np.ndarray | None) -> list[Call]:
    s = REFERENCE.rms_norm(x, gamma, 0.1)[1].view(Statistics)
    return [Call("rms_norm", (x, gamma, 0.1)), Call("rms_norm_backward", (dy, x, s, gamma))]


GROUPS = {
    "n": [1, 2, 5, 70],
    "m": [1, 2, 7, 64, 65, 1000],
    "c": CHANNELS,
    "groups": ["one", "each", "some"],
    "affine": [False, True],
}


def _groups() -> list[Call]:
    calls = []
    for case in pairwise(GROUPS):
        n, m, c, kind, affine = case.values()
        x, dy = rounded(3 * normal(0, n, m, c) + 5), normal(1, n, m, c)
        gamma, beta = (normal(2, c), normal(3, c)) if affine else (None, None)
        calls += group_norm(x, dy, gamma, beta, groups=groups_of(c, kind))
        calls += rms_norm(x.reshape(n, m * c), dy.reshape(n, m * c), normal(4, m * c) if affine else None)
        calls += rms_norm(x.reshape(n * m, c), dy.reshape(n * m, c), gamma)
    return calls


def _activation() -> list[Call]:
    calls = []
    for shape in [(1,), (3, 5), (2, 3, 3, 17), (64, 70), (0, 4)]:
        x, dy = 3 * normal(0, *shape), normal(1, *shape)
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
            calls.append(Call(name, (x, *rest), kwargs=kwargs))
            calls.append(Call(f"{name}_backward", (dy, x, *rest), kwargs=kwargs))
        calls += [
            Call("add", (x, dy)),
            Call("dropout", (x, 0.3, Stream((1,)))),
            Call("dropout_backward", (dy, x > 0, 0.3)),
            Call("all_finite", (x,)),
            Call("all_finite", (np.where(x == x.min(initial=0), np.inf, x),)),
            Call("sum_of_squares", (x,)),
        ]
    return calls


def _loss() -> list[Call]:
    calls = []
    for n, k in [(1, 2), (5, 3), (64, 10), (33, 100)]:
        z, rng = 3 * normal(0, n, k), np.random.default_rng(1)
        t = rounded(rng.random((n, k)))
        calls += [
            Call("softmax_cross_entropy", (z, rng.integers(0, k, n))),
            Call("softmax_cross_entropy", (z, t), kwargs={"smoothing": 0.1}),
            Call("binary_cross_entropy", (z, t)),
            Call("mean_squared_error", (z, t)),
        ]
    return calls


CALLS = [*_dense(), *_pool(), *_resize(), *_norm(), *_groups(), *_activation(), *_loss()]


def compiled_entries() -> list[Any]:
    """Return (kernel, table) of every entry that is not the reference's, convolutions and updates apart."""
    return [
        pytest.param(f.name, table, id=f"{f.name}-{name}")
        for name, table in COMPILED.items()
        for f in fields(Kernels)
        if getattr(table, f.name) is not getattr(REFERENCE, f.name)
        if f.name not in UPDATES | FUSED | PACKING and not f.name.startswith("conv2d")
    ]


@pytest.mark.parametrize(("kernel", "table"), compiled_entries())
def test_an_entry_agrees_with_the_reference_in_float64(kernel, table):
    calls = [call for call in CALLS if call.kernel == kernel]
    assert calls
    check_all(calls, table)


def states(*shape: int) -> list[np.ndarray]:
    """Return arrays that could be any rule's state: averages of squares are at least the average's square."""
    rng = np.random.default_rng(2)
    ranges = [(0.5, 1), (0, 0.5), (-1, 1)]
    return [rounded(rng.uniform(*r, shape)) for r in ranges]


@pytest.mark.parametrize("m", [1, 17, 70_001])
@each_compiled
@pytest.mark.parametrize(
    ("rule", "state", "kwargs"),
    [
        ("sgd", 0, {"lr": 0.1, "weight_decay": 0.01}),
        ("sgd", 1, {"lr": 0.1, "t": 2, "momentum": 0.9, "nesterov": True}),
        ("adagrad", 1, {"lr": 0.1, "epsilon": 1e-7}),
        ("adadelta", 2, {"lr": 1.0, "rho": 0.9, "epsilon": 1e-6}),
        ("rmsprop", 3, {"lr": 0.01, "rho": 0.9, "epsilon": 1e-7, "momentum": 0.5}),
        ("adam", 2, {"lr": 0.01, "t": 3, "beta_1": 0.9, "beta_2": 0.999, "epsilon": 1e-7, "decoupled": True}),
    ],
)
def test_updates_agree_with_the_reference_in_float64(rule, state, kwargs, m, table):
    exact = [normal(0, m), normal(1, m), *states(m)[:state]]
    found = [a.astype(np.float32) for a in exact]
    getattr(REFERENCE, rule)(*exact, **kwargs)
    getattr(table, rule)(*found, **kwargs)
    for y, z in zip(found, exact, strict=True):
        assert y.dtype == np.float32
        np.testing.assert_allclose(y, z, rtol=1e-5, atol=1e-6)


# --- threads ----------------------------------------------------------------------------------------------


def _large() -> list[Call]:
    """Return calls whose work several threads share."""
    calls = []
    for h, w, c, k, groups in [
        (40, 37, 16, 20, 1),
        (12, 12, 70, 130, 1),
        (9, 10, 160, 130, 1),
        (40, 37, 40, 3, 1),
        (40, 37, 24, 24, 24),
    ]:
        for kernel, strides in [((3, 3), (1, 1)), ((3, 3), (2, 2)), ((1, 1), (1, 1))]:
            window = Window(kernel, strides, pads=((1, 1), (0, 1)))
            x, f, b = normal(0, 4, h, w, c), normal(1, *kernel, c // groups, k), normal(2, k)
            dy = normal(3, 4, *window.output_size((h, w)), k)
            calls += [
                Call("conv2d", (x, f, b, window, groups)),
                Call("conv2d_backward_input", (dy, f, x.shape, window, groups)),
                Call("conv2d_backward_weight", (dy, x, f.shape, window, groups)),
            ]
            if groups == 1 and kernel == (3, 3):
                s = (1 + abs(normal(5, c))) / 2
                norm = normal(4, c).view(Statistics), s.view(Statistics), None, None
                calls += [
                    Call("conv2d_statistics", (x, f, b, window)),
                    Call("batch_norm_relu_conv2d", (x, *norm, f, b, window)),
                    Call("batch_norm_relu_conv2d_statistics", (x, *norm, f, None, window)),
                    Call("batch_norm_relu_conv2d_backward_weight", (dy, x, *norm, f.shape, window)),
                    Call("conv2d_backward_input", (dy, f, x.shape, window, 1, x)),
                ]
    x, f, dy = normal(0, 200, 300), normal(1, 300, 130), normal(2, 200, 130)
    calls += [
        Call("dense", (x, f, normal(3, 130))),
        Call("dense_backward_input", (dy, f)),
        Call("dense_backward_weight", (dy, x)),
        Call("bias_backward", (normal(4, 20_000, 70),)),
    ]
    for m, c, k in [(203, 2060, 5), (30, 9000, 3)]:  # few classes
        x, f, dy = normal(0, m, c), normal(1, c, k), normal(2, m, k)
        calls += [Call("dense", (x, f, normal(3, k))), Call("dense_backward_weight", (dy, x))]
    for c, strides in [(3, (1, 1)), (3, (2, 2)), (40, (2, 2))]:
        window = Window((3, 3), strides, pads=((1, 1), (0, 1)))
        x = normal(0, 2, 160, 150, c)  # images that three threads divide
        dy = normal(1, 2, *window.output_size((160, 150)), c)
        tap = REFERENCE.max_pool2d(x, window)[1]
        calls += [
            Call("max_pool2d", (x, window)),
            Call("max_pool2d_backward", (dy, tap, x.shape, window)),
            Call("average_pool2d", (x, window)),
            Call("average_pool2d_backward", (dy, x.shape, window)),
            Call("global_average_pool2d", (x,)),
            Call("global_average_pool2d_backward", (normal(2, 2, c), x.shape)),
            Call("pad2d", (x, window.pads, 1.0)),
            Call("pad2d_backward", (x, window.pads)),
            Call("upsample2d", (x, (2, 2))),
            Call("upsample2d_backward", (x, (2, 2))),
        ]
    x, dy = rounded(3 * normal(0, 30_000, 17) + 5), normal(1, 30_000, 17)
    mean, var = REFERENCE.batch_norm_statistics(x)
    statistics = mean.view(Statistics), (1 / np.sqrt(var)).view(Statistics)
    calls += [
        Call("batch_norm_statistics", (x,)),
        Call("batch_norm", (x, *statistics, normal(2, 17), None)),
        Call("batch_norm_backward", (dy, x, *statistics, None)),
        Call("batch_norm_backward_constant", (dy, x, *statistics, None)),
        Call("batch_norm_relu", (x, *statistics, None, normal(3, 17), dy)),
        Call("batch_norm_relu_backward", (dy, x, None, *statistics, normal(2, 17), None)),
        *group_norm(x[:, None], dy[:, None], normal(2, 17), normal(3, 17), groups=1),
        *group_norm(x.reshape(3, 10_000, 17), dy.reshape(3, 10_000, 17), None, None, groups=17),
        *group_norm(x.reshape(300, 50, 34), dy.reshape(300, 50, 34), normal(2, 34), None, groups=2),
        *group_norm(x.reshape(2, 1, -1), dy.reshape(2, 1, -1), normal(2, 255_000), None, groups=1),
        *rms_norm(x, dy, normal(2, 17)),
        *rms_norm(x.reshape(2, -1), dy.reshape(2, -1), None),
        Call("relu", (x,)),
        Call("gelu", (x,)),
        Call("softmax", (x,)),
        Call("softmax_cross_entropy", (x, np.arange(30_000) % 17)),
        Call("binary_cross_entropy", (x, abs(dy) % 1)),
        Call("mean_squared_error", (x, dy)),
        Call("add", (x, dy)),
        Call("dropout", (x, 0.3, Stream((1,)))),
        Call("sum_of_squares", (x,)),
    ]
    return [call.with_args(tuple(map(_as_float32, call.args))) for call in calls]


def _streamed_convolutions(kernel: tuple[int, int]) -> list[Call]:
    window, c, k = Window(kernel, pads=(((1, 1), (1, 1)) if kernel == (3, 3) else PADS[0])), 32, 32
    x, f, dy = normal(0, 1, 210, 330, c), normal(1, *kernel, c, k), normal(2, 1, 210, 330, k)
    return [
        Call("conv2d", (x, f, normal(3, k), window)),
        Call("conv2d", (x, f, None, window)),
        Call("conv2d_backward_input", (dy, f, x.shape, window)),
        Call("conv2d_backward_input", (dy, f, x.shape, window, 1, x)),
        Call("conv2d_statistics", (x, f, normal(3, k), window)),
    ]


def _streamed_depthwise() -> list[Call]:
    x, each, window = normal(0, 1, 210, 330, 32), normal(4, 3, 3, 1, 32), Window((3, 3), pads=PADS[1])
    return [
        Call("conv2d", (x, each, None, window, 32)),
        Call("conv2d_backward_input", (x, each, x.shape, window, 32)),
    ]


def _streamed_odd_channels() -> list[Call]:
    """Return convolutions whose channels are no whole vectors."""
    x, window = normal(0, 1, 175, 175, 37), Window((3, 3), pads=PADS[1])
    return [
        Call("conv2d", (x, normal(1, 3, 3, 37, 37), None, window)),
        Call("conv2d", (x, normal(1, 3, 3, 1, 37), None, window, 37)),
        Call("conv2d", (normal(0, 1, 175, 175, 48), normal(1, 3, 3, 12, 48), None, window, 4)),
        Call("conv2d", (normal(0, 1, 90, 90, 16), normal(1, 3, 3, 8, 144), None, window, 2)),  # 4.5 vectors
    ]


def _streamed_phases() -> list[Call]:
    """Return input gradients of which most pixels meet no tap."""
    window, calls = Window((1, 1), (2, 2)), []
    for size, c in ((300, 48), (352, 37)):
        x, w, dy = normal(0, 1, size, size, c), normal(1, 1, 1, c, 3), normal(2, 1, size // 2, size // 2, 3)
        calls += [
            Call("conv2d_backward_input", (dy, w, x.shape, window)),
            Call("conv2d_backward_input", (dy, w, x.shape, window, 1, x)),
        ]
    return calls


def _streamed_pools() -> list[Call]:
    shape, dy, two = (1, 520, 520, 32), normal(0, 1, 260, 260, 32), Window((2, 2), (2, 2))
    tap = np.random.default_rng(1).integers(0, 4, dy.shape).astype(np.uint8)
    return [
        Call("max_pool2d_backward", (dy, tap, shape, two)),
        Call("average_pool2d_backward", (dy, shape, two)),
        Call("average_pool2d_backward", (normal(0, 1, 250, 250, 37), (1, 500, 500, 37), two)),
    ]


def _streamed_dense() -> list[Call]:
    return [
        Call("dense", (normal(0, 16_000, 20), normal(1, 20, 69), None)),  # more than a panel, not in vectors
        Call("dense", (normal(0, 7000, 20), normal(1, 20, 320), None)),
    ]


def _streamed_columns() -> list[Call]:
    x, y = normal(0, 70_000, 64), normal(1, 70_000, 64)
    mean, var = REFERENCE.batch_norm_statistics(x)
    statistics = mean.view(Statistics), (1 / np.sqrt(var)).view(Statistics)
    return [
        Call("batch_norm", (x, *statistics, None, None)),
        Call("batch_norm_backward", (y, x, *statistics, None)),
        *group_norm(x.reshape(7, 10_000, 64), y.reshape(7, 10_000, 64), normal(2, 64), None, groups=4),
    ]


def _streamed_groups_of_rows() -> list[Call]:
    x, y = normal(0, 70_000, 64), normal(1, 70_000, 64)
    return [
        *group_norm(x[:, None], y[:, None], normal(2, 64), None, groups=2),
        *group_norm(x.reshape(-1, 1, 256), y.reshape(-1, 1, 256), normal(2, 256), None, groups=1),
    ]


def _streamed_rows() -> list[Call]:
    x, y = normal(0, 70_000, 64), normal(1, 70_000, 64)
    return [
        *rms_norm(x, y, normal(2, 64)),
        *rms_norm(*(a.reshape(-1)[: 37 * 90_000].reshape(-1, 37) for a in (x, y)), None),
    ]


STREAMED: dict[str, Callable[[], list[Call]]] = {
    "3x3": partial(_streamed_convolutions, (3, 3)),
    "1x1": partial(_streamed_convolutions, (1, 1)),
    "depthwise": _streamed_depthwise,
    "odd channels": _streamed_odd_channels,
    "phases": _streamed_phases,
    "pools": _streamed_pools,
    "dense": _streamed_dense,
    "columns": _streamed_columns,
    "groups of rows": _streamed_groups_of_rows,
    "rows": _streamed_rows,
}
"""Calls with results that are written past the caches."""


@one_at_a_time
def streamed(kind: str) -> list[Call]:
    return [call.with_args(tuple(map(_as_float32, call.args))) for call in STREAMED[kind]()]


def _as_float32(a: Any) -> Any:
    return float32(a) if isinstance(a, np.ndarray) else a


LARGE = _large()
BY_THREADS = {"conv2d_backward_weight", "dense_backward_weight", "batch_norm_relu_conv2d_backward_weight"}
"""Whose sums are divided among the threads: the last bits depend on how many there are."""


def results(calls: list[Call], table: Kernels) -> list[bytes]:
    return [b"".join(a.tobytes() for a in call.run(table=table)) for call in calls]


def differing(calls: list[Call], a: list[bytes], b: list[bytes]) -> list[str]:
    return [str(call) for call, p, q in zip(calls, a, b, strict=True) if p != q]


@each_compiled
def test_what_threads_share_agrees_with_the_reference_in_float64(table):
    set_threads(3)
    check_all(LARGE, table)


_OF_ALGORITHMS = {"3x3", "1x1", "odd channels"}
PAST_THE_CACHES = pytest.mark.parametrize(
    ("kind", "algorithm"),
    [(kind, n) for kind in STREAMED for n in (0, 2, 4) if n == 0 or kind in _OF_ALGORITHMS],
)


@each_compiled
def test_statistics_of_many_filters_do_not_depend_on_the_number_of_threads(table):
    """Though a few threads divide the filters, and more than there are panels of them the tiles.

    There are more tiles than lie in the caches at once.
    """
    x, w = float32(normal(0, 8, 20, 20, 512)), float32(normal(1, 3, 3, 512, 256))
    window, found = Window((3, 3), pads=((1, 1), (1, 1))), []
    for n in (1, 17):
        set_threads(n)
        results = with_algorithm(table, 4).conv2d_statistics(x, w, None, window)
        found.append([a.tobytes() for a in results])
    assert found[0] == found[1]
    y, mean, var = results
    of_y = REFERENCE.batch_norm_statistics(y.reshape(-1, 256))
    np.testing.assert_allclose(mean, of_y[0], rtol=1e-12, atol=1e-4)
    np.testing.assert_allclose(var, of_y[1], rtol=1e-5)


@each_compiled
@PAST_THE_CACHES
def test_results_written_past_the_caches_agree_with_the_reference_in_float64(table, kind, algorithm):
    set_threads(2)
    for call in streamed(kind):
        expected(call)  # which stays, and so must not lie in the pool
    with reuse_memory():  # whose arrays are aligned as these stores must be
        check_all(streamed(kind), with_algorithm(table, algorithm))


@each_compiled
@pytest.mark.parametrize("k", [1, 3, 5, 20])
def test_a_row_that_is_nan_spoils_no_other(table, k):
    x = np.ones((9, 37), np.float32)
    x[4] = np.nan
    y = table.dense(x, np.ones((37, k), np.float32), None)
    np.testing.assert_array_equal(y, x[:, :1].repeat(k, 1) * 37)


@each_compiled
def test_passes_over_arrays_larger_than_the_last_cache(table):
    x = np.arange(-(5 << 20), 5 << 20, dtype=np.float32)
    ones = np.ones_like(x)
    with reuse_memory():
        np.testing.assert_array_equal(table.relu(x), np.maximum(x, 0))
        np.testing.assert_array_equal(table.add(x, ones), x + 1)
        np.testing.assert_array_equal(table.relu_backward(ones, x), (x > 0).astype(np.float32))


@each_compiled
@pytest.mark.parametrize("algorithm", [0, 2, 4])
def test_results_can_be_repeated_bit_for_bit_whatever_the_number_of_threads(table, algorithm):
    table = with_algorithm(table, algorithm)
    calls = [call for call in LARGE if algorithm == 0 or "conv2d" in call.kernel]
    whatever = [call.kernel not in BY_THREADS for call in calls]
    first: list[bytes] = []
    for n in THREADS:
        set_threads(n)
        found = results(calls, table)
        assert differing(calls, found, results(calls, table)) == []
        first = first or found
        some = [list(itertools.compress(a, whatever)) for a in (calls, first, found)]
        assert differing(*some) == []


@each_compiled
def test_python_threads_that_call_kernels_at_the_same_time_get_what_they_get_alone(table):
    set_threads(2)
    alone = results(LARGE, table)
    with ThreadPoolExecutor(2) as pool:
        forward = pool.submit(results, LARGE, table)
        reverse = pool.submit(results, LARGE[::-1], table)
    assert differing(LARGE, alone, forward.result()) == []
    assert differing(LARGE, alone, reverse.result()[::-1]) == []


@each_compiled
def test_the_number_of_threads_may_change_while_kernels_run(table):
    calls = [call for call in LARGE if call.kernel not in BY_THREADS]
    set_threads(1)
    alone = results(calls, table)
    with ThreadPoolExecutor(1) as pool:
        meanwhile = pool.submit(results, calls, table)
        for n in itertools.cycle(THREADS):
            set_threads(n)
            if meanwhile.done():
                break
    assert differing(calls, alone, meanwhile.result()) == []
