"""The tables that store activations in bfloat16, against the reference in float64.

Arguments are numbers that bfloat16 holds, parameters such that float32 holds. So a result differs by 2**-8 of
itself at most, by which it is rounded once, and by float32's rounding before that, as in test_compiled.py.

Tables that multiply bfloat16 round the parameters, too, and are compared with what that gives.
"""

from __future__ import annotations

import copy
import itertools
import pickle
import sys
from dataclasses import fields
from functools import cache, partial
from typing import Any

import numpy as np
import pytest

from handgrad.errors import ArgumentError, DataError, MissingExtraError
from handgrad.geometry import Window
from handgrad.kernels import (
    Kernels,
    default_kernels,
    get_threads,
    reuse_memory,
    select_kernels,
    set_threads,
    tables,
)
from handgrad.kernels.bfloat16 import bfloat16_kernels
from handgrad.kernels.cpu import conv, cpu_kernels
from handgrad.kernels.cpu.algorithm import DIRECT, IN_PAIRS, IN_REGISTERS, choose, cost
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from tests.kernels import test_compiled, test_packed
from tests.kernels.calls import CALLS, OF_GRADIENTS, PACKING, UPDATES, Call, Statistics, converter, once
from tests.kernels.tables import SETS
from tests.kernels.tables import in_bfloat16 as tables_of_bfloat16
from tests.kernels.test_compiled import (
    ANY_CASES,
    BY_THREADS,
    FIVE_BY_FIVE_CASES,
    FUSED,
    PAST_THE_CACHES,
    STRIDED_CASES,
    THREADS,
    THREE_BY_THREE_CASES,
    one_at_a_time,
)
from tests.kernels.test_packed import SAME

ml_dtypes = pytest.importorskip("ml_dtypes")
BF16 = np.dtype(ml_dtypes.bfloat16)
UNIT = 2.0**-8
"""Half the distance of neighbours, over their size: the most that rounding to the nearest changes."""

TABLES = tables_of_bfloat16()
FLOAT32 = {name: select_kernels(SETS[name].of_floats if name in SETS else name) for name in TABLES}
"""What computes in float32 as the table of that name does."""
NARROW = {name: table for name, table in TABLES.items() if name != "reference"}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
each_compiled = pytest.mark.parametrize("table", NARROW.values(), ids=NARROW.keys())
each_call = pytest.mark.parametrize("call", CALLS, ids=str)

# How many leading arguments are activations; of what is not listed, one.
TWO = {"conv2d_backward_weight", "dense_backward_weight", "add", "relu_backward", "leaky_relu_backward"}
TWO |= {"elu_backward", "selu_backward", "softplus_backward", "sigmoid_backward", "tanh_backward"}
TWO |= {"gelu_backward", "silu_backward", "softmax_backward", "batch_norm_backward"}
TWO |= {"batch_norm_backward_constant", "batch_norm_relu_conv2d_backward_weight"}
TWO |= {"group_norm_backward", "rms_norm_backward"}
THREE = {"batch_norm_relu_backward", "batch_norm_relu_backward_constant", "simple_rnn_backward"}
PARAMETERS = {"conv2d_backward_weight", "dense_backward_weight", "bias_backward"}
PARAMETERS |= {"batch_norm_relu_conv2d_backward_weight"}
"""Of which kernels all results are gradients of parameters."""
STATISTICS = {"batch_norm_statistics"}
LOSSES = {"softmax_cross_entropy", "binary_cross_entropy", "mean_squared_error"}
PRODUCTS = {"conv2d", "conv2d_packed", "conv2d_backward_input", "dense", "dense_backward_input", "simple_rnn"}
PRODUCTS |= {"simple_rnn_backward", "conv2d_backward_weight", "dense_backward_weight"} | FUSED


@pytest.fixture(autouse=True)
def _as_before(monkeypatch):
    monkeypatch.delenv("HANDGRAD_KERNELS", raising=False)
    before = get_threads()
    yield
    set_threads(before)


def activations(kernel: str) -> tuple[int, ...]:
    if kernel in ("batch_norm_relu", "conv2d_backward_input", "conv2d_packed"):  # a residual; what is added
        return 0, 5
    return tuple(range(2 if kernel in TWO else 3 if kernel in THREE else 1))


def results(kernel: str, number: int) -> tuple[Any, ...]:
    """Return the dtypes of a kernel's results, None where it is that of NumPy's own."""
    if kernel in PARAMETERS:
        return (np.float32,)
    if kernel in STATISTICS:
        return np.float64, np.float64
    if kernel in LOSSES:
        return np.float64, BF16
    if kernel in FUSED | {"group_norm", "rms_norm"}:
        return (BF16, np.float64, np.float64)[:number]
    second = np.float32 if "norm" in kernel or "rnn" in kernel else None
    last = BF16 if "batch_norm" in kernel else np.float32
    return (BF16, second, second, last)[:number]


def narrow(a: Any) -> Any:
    """Return `a` in bfloat16, if it has a number for a dtype that this could be."""
    real = isinstance(a, np.ndarray) and a.dtype.kind == "f" and not isinstance(a, Statistics)
    return np.asarray(a).astype(BF16) if real else a


def wide(a: Any) -> Any:
    return a.astype(np.float64) if isinstance(a, np.ndarray) and a.dtype == BF16 else a


def in_bfloat16(call: Call) -> Call:
    """Return the call with activations in bfloat16 and the rest in float32."""
    own, convert = activations(call.kernel), converter(np.float32)
    args = (
        narrow(a) if i in own else convert(a) if isinstance(a, np.ndarray) else a
        for i, a in enumerate(call.args)
    )
    return call.with_args(tuple(args))


def run(call: Call, table: Kernels) -> tuple[Any, ...]:
    return call.run(lambda a: a, table)


@once
def exact(call: Call) -> tuple[Any, ...]:
    """Return what the reference computes in float64 of the same numbers."""
    return call.with_args(tuple(map(wide, call.args))).run(converter(np.float64))


WEIGHTS = {"conv2d": 1, "conv2d_backward_input": 1, "conv2d_statistics": 1, "dense": 1}
WEIGHTS |= {
    "conv2d_packed": 1,
    "dense_backward_input": 1,
    "batch_norm_relu_conv2d": 5,
    "batch_norm_relu_conv2d_statistics": 5,
}
"""Where parameters stand that are multiplied."""


def made_of(call: Call, table: Kernels) -> tuple[Any, int | None] | None:
    """Return the compiled set that computes a call and the algorithm that it was made with, or None."""
    made = getattr(getattr(table, call.kernel).kernel, "kernel", None)
    return (made.args[0], made.keywords.get("algorithm")) if isinstance(made, partial) else None


def rounds_parameters(call: Call, table: Kernels) -> bool:
    """Whether parameters of a call are multiplied in bfloat16."""
    found = made_of(call, table)
    if call.kernel not in WEIGHTS or found is None or not found[0].name.endswith((IN_PAIRS, IN_REGISTERS)):
        return False
    if call.kernel.startswith("dense"):
        return True
    at = next(i for i, a in enumerate(call.args) if isinstance(a, Window))
    window, groups = call.args[at], call.args[at + 1] if at + 1 < len(call.args) else 1
    x = call.args[2] if call.kernel == "conv2d_backward_input" else call.args[0].shape
    w = call.args[WEIGHTS[call.kernel]].shape
    depthwise = groups == x[3] == w[3]
    packed = hasattr(getattr(table, call.kernel), "packs")
    return not depthwise and choose(found[0].name, x, w, window, groups, found[1], packed) == DIRECT


@once
def rounded(call: Call) -> Call:
    """Return a call with its parameters rounded to bfloat16, in float32."""
    at = WEIGHTS[call.kernel]
    return call.with_args((*call.args[:at], narrow(call.args[at]).astype(np.float32), *call.args[at + 1 :]))


def multiplied(call: Call, table: Kernels) -> Call:
    """Return a call of the numbers that a table multiplies."""
    return rounded(call) if rounds_parameters(call, table) else call


def check(call: Call, table: Kernels, most: float = 16, *, stored: bool = False) -> None:
    """Compare with the reference: rounding, and as much as test_compiled.py allows float32.

    With `stored` a fused convolution's images are in memory, and so rounded, too.
    """
    found, right = run(call, table), exact(multiplied(call, table))
    for y, z, dtype in zip(found, right, results(call.kernel, len(right)), strict=True):
        assert y.shape == z.shape
        if dtype is None:
            assert y.dtype == z.dtype
            np.testing.assert_array_equal(y, z)
            continue
        assert y.dtype == dtype, (y.dtype, dtype)
        terms = test_compiled.summed(call)
        y, finite = wide(y), np.isfinite(z)
        np.testing.assert_array_equal(y[~finite], z[~finite])
        y, z = y[finite], z[finite]
        error = np.abs(y - z) - (UNIT * np.abs(z) if dtype == BF16 else 0)
        eps = test_compiled.EPS
        if kernel_measures(call, dtype):  # of numbers that are rounded, or will be
            allowed = most * eps * terms + UNIT * (2 * np.abs(z) + np.sqrt(terms))
        elif terms is not None:
            allowed = most * eps * max(terms, 1)
        else:
            size = np.sqrt(np.mean(z * z)) if z.size else 0
            cancels = "_norm" in call.kernel or call.kernel in LOSSES
            allowed = 32 * eps * ((max(size, 1) if cancels else size) + np.abs(z))
        if stored and call.kernel.startswith("batch_norm_relu_conv2d"):
            allowed = allowed + 12 * UNIT * np.sqrt(terms)
        assert np.all(error <= (1 + UNIT) * allowed), f"{call}: {np.max(error - allowed):.3g} too far"


def kernel_measures(call: Call, dtype: Any) -> bool:
    """Whether a result of that dtype holds statistics of what a convolution computes."""
    return call.kernel in FUSED and dtype == np.float64


def check_all(calls: list[Call], table: Kernels, most: float = 16, *, stored: bool = False) -> None:
    for call in calls:
        try:
            check(call, table, most, stored=stored)
        except AssertionError as error:
            sizes = (str(a.shape) if isinstance(a, np.ndarray) else repr(a) for a in call.args)
            raise AssertionError(f"{call}({', '.join(sizes)}): {error}") from None


# --- rounding ---------------------------------------------------------------------------------------------

UPPER = np.arange(1 << 16, dtype=np.uint32) << 16
LOWER = [0, 1, 0x7FFF, 0x8000, 0x8001, 0xFFFF]
"""Lower halves: nothing, little, just below a tie, a tie, just above it, nearly the next."""


@pytest.mark.parametrize("lower", LOWER, ids=hex)
@pytest.mark.parametrize("n", [1 << 16, (1 << 16) - 3])
@each_table
def test_every_number_is_rounded_to_the_nearest_and_ties_to_even(table, n, lower):
    numbers = (UPPER[:n] | np.uint32(lower)).view(np.float32)
    with np.errstate(invalid="ignore"):
        y = table.dense(np.ones((1, 1), BF16), numbers[None, :], None)[0]
    # by its neighbours: that below in size, and the next
    bits = numbers.view(np.uint32)
    below, tie, odd = bits >> 16, (bits & 0xFFFF) == 0x8000, (bits >> 16) & 1
    right = (below + np.where(tie, odd, (bits & 0xFFFF) > 0x8000)).astype(np.uint16)
    if rounds_parameters(Call("dense", ()), table):  # its products take what is not normal as 0
        right[right & 0x7F80 == 0] = 0
    right = right.view(BF16)
    nan = np.isnan(numbers)
    np.testing.assert_array_equal(np.isnan(y), nan)
    np.testing.assert_array_equal(y[~nan].astype(np.float32), right[~nan].astype(np.float32))


@pytest.mark.parametrize("n", [1 << 16, (1 << 16) - 5])
@each_table
def test_every_number_is_read_and_written_as_it_is(table, n):
    numbers = (UPPER[:n] >> 16).astype(np.uint16).view(BF16)
    y = table.relu_backward(numbers, np.ones(n, BF16))
    bits, found = numbers.view(np.uint16), y.view(np.uint16)
    nan = (bits & 0x7FFF) > 0x7F80
    np.testing.assert_array_equal((found & 0x7FFF) > 0x7F80, nan)
    np.testing.assert_array_equal(found[~nan], bits[~nan])


# --- against the reference in float64 ---------------------------------------------------------------------


@one_at_a_time
def convolution(case: str) -> list[Call]:
    return list(map(in_bfloat16, test_compiled.convolution(case)))


@each_table
@pytest.mark.parametrize("case", ANY_CASES)
def test_convolution(case, table):
    check_all(convolution(case), table, 4)


@cache
def with_algorithm(name: str, algorithm: int) -> Kernels:
    return bfloat16_kernels(cpu_kernels(SETS[name], algorithm=algorithm))


OWN_TRANSFORMS = [name for name in NARROW if SETS[name].of_floats == name]
"""Of sets that only multiply in another way, Winograd's algorithm is another one's."""


def each_algorithm(*most: tuple[int, int]) -> pytest.MarkDecorator:
    """Parametrize over sets and algorithms, and how much more each may lose than float32."""
    names = {0: "direct", 2: "2x2", 4: "4x4"}
    chosen = [(name, a, m) for a, m in most for name in (OWN_TRANSFORMS if a else NARROW)]
    ids = [f"{name}-{names[a]}" for name, a, _ in chosen]
    return pytest.mark.parametrize(("name", "algorithm", "most"), chosen, ids=ids)


@each_algorithm((0, 4), (2, 5), (4, 16))
@pytest.mark.parametrize("case", THREE_BY_THREE_CASES)
def test_convolution_by_each_algorithm(case, name, algorithm, most):
    check_all(convolution(case), with_algorithm(name, algorithm), most)


@cache
def packing(table: Kernels) -> Kernels:
    """Return the table in which `conv2d_packed` takes filters as they are and packs them."""
    packing = test_packed.packing(table)
    packing.conv2d_packed.kernel, packing.conv2d_packed.packs = table.conv2d_packed.kernel, True
    return packing


@one_at_a_time
def packed(case: str) -> list[Call]:
    return list(map(in_bfloat16, test_packed.packed(case)))


@each_compiled
@pytest.mark.parametrize("case", [*list(ANY_CASES)[::4], *test_packed.FEW])
def test_packed_filters(case, table):
    check_all(packed(case), packing(table), 4)


@each_algorithm((0, 4), (2, 5), (4, 16))
@pytest.mark.parametrize("case", list(THREE_BY_THREE_CASES)[::4])
def test_packed_filters_by_each_algorithm(case, name, algorithm, most):
    check_all(packed(case), packing(with_algorithm(name, algorithm)), most)


@each_compiled
@pytest.mark.parametrize("case", test_packed.SEVERAL, ids=test_compiled.described)
def test_an_image_has_the_same_bits_among_others_and_with_any_number_of_threads(case, table):
    x, w, b, window, add = test_packed.images(case, 20)
    filters = table.pack_filters(w, (1, *x.shape[1:]), window)
    x, add = x.astype(BF16), add.astype(BF16)
    together = table.conv2d_packed(x, filters, b, window, 1, add, True)
    for threads in THREADS:
        set_threads(threads)
        for n in (1, 2, 20):
            y = table.conv2d_packed(x[:n], filters, b, window, 1, add[:n], True)
            np.testing.assert_array_equal(y.view(np.uint16), together[:n].view(np.uint16))


@each_compiled
def test_filters_are_packed_for_images_of_one_dtype(table):
    x, w = np.ones((1, 3, 3, 5), np.float32), np.ones((3, 3, 5, 4), np.float32)
    narrow, wide = (
        table.pack_filters(w, x.shape, SAME),
        table.pack_filters(w, x.shape, SAME, dtype=np.float32),
    )
    kernel = table.conv2d_packed.kernel
    with pytest.raises(DataError, match=r"packed, bfloat16, got float32"):
        kernel(x, narrow, None, SAME)
    with pytest.raises(DataError, match=r"packed, float32, got bfloat16"):
        kernel(x.astype(BF16), wide, None, SAME)


@pytest.mark.parametrize("name", OWN_TRANSFORMS)
@pytest.mark.parametrize("case", FIVE_BY_FIVE_CASES)
def test_convolution_of_filters_of_5x5_by_tiles(case, name):
    for call in [*convolution(case), *fused(case)]:
        check_all([call], with_algorithm(name, 2), 48 if "weight" in call.kernel else 16)


@pytest.mark.parametrize("name", OWN_TRANSFORMS)
@pytest.mark.parametrize("case", STRIDED_CASES)
def test_convolution_at_stride_2_by_tiles(case, name):
    for call in [*convolution(case), *fused(case)]:
        check_all([call], with_algorithm(name, 4), 48 if "weight" in call.kernel else 24)


@one_at_a_time
def fused(case: str) -> list[Call]:
    return list(map(in_bfloat16, test_compiled.fused(case)))


@each_algorithm((0, 8), (2, 10), (4, 32))
@pytest.mark.parametrize("case", THREE_BY_THREE_CASES)
def test_fused_convolution_by_each_algorithm(case, name, algorithm, most):
    check_all(fused(case), with_algorithm(name, algorithm), most, stored=algorithm == 0)


MANY = [in_bfloat16(c) for c in test_compiled.CALLS if c.kernel not in OF_GRADIENTS]
COMPUTED = sorted({c.kernel for c in MANY})


@each_table
@pytest.mark.parametrize("kernel", COMPUTED)
def test_every_other_kernel(kernel, table):
    check_all([c for c in MANY if c.kernel == kernel], table)


def test_no_kernel_is_forgotten():
    convolutions = {f.name for f in fields(Kernels) if "conv2d" in f.name}
    recurrent = {"simple_rnn", "simple_rnn_backward"}  # which are the reference's: below
    every = {f.name for f in fields(Kernels)}
    assert set(COMPUTED) | convolutions | recurrent | UPDATES | OF_GRADIENTS | PACKING == every


@each_table
@each_call
def test_what_has_no_function_of_its_own_is_that_of_float32_rounded(call, table):
    """For all: where there is one, results may differ by the order of sums."""
    call = multiplied(in_bfloat16(call), table)
    widened = call.with_args(
        tuple(a.astype(np.float32) if isinstance(a, np.ndarray) and a.dtype == BF16 else a for a in call.args)
    )
    name = next(name for name, t in TABLES.items() if t is table)
    float32 = widened.run(table=FLOAT32[name])
    found = run(call, table)
    for y, z, dtype in zip(found, float32, results(call.kernel, len(found)), strict=True):
        z = np.asarray(z) if dtype is None else np.asarray(z).astype(dtype)
        assert y.dtype == z.dtype
        if getattr(table, call.kernel).takes_bfloat16:
            images = call.kernel in FUSED  # which one of the two rounds and the other does not
            np.testing.assert_allclose(wide(y), wide(z), rtol=2 * UNIT, atol=8 * UNIT if images else 1e-5)
        else:
            np.testing.assert_array_equal(wide(y), wide(z))


# --- what is stored in what -------------------------------------------------------------------------------


@each_table
@each_call
def test_dtypes_of_results(call, table):
    found = run(in_bfloat16(call), table)
    for y, dtype in zip(found, results(call.kernel, len(found)), strict=True):
        assert (y.dtype == dtype) if dtype else (y.dtype.kind in "biu")


@each_table
@each_call
def test_activations_in_float32_are_rounded_by_products_alone(call, table):
    """So that a network may begin with anything, and is bfloat16 from its first product on."""
    convert = converter(np.float32)
    float32 = call.with_args(tuple(convert(a) if isinstance(a, np.ndarray) else a for a in call.args))
    found = run(float32, table)
    if call.kernel in PRODUCTS:
        rounded = run(in_bfloat16(call), table)
    else:
        name = next(name for name, t in TABLES.items() if t is table)
        rounded = run(float32, FLOAT32[name])
    for y, z in zip(found, rounded, strict=True):
        assert y.dtype == z.dtype
        np.testing.assert_array_equal(wide(y), wide(z))


@each_table
@pytest.mark.parametrize("call", [c for c in CALLS if len(activations(c.kernel)) > 1], ids=str)
def test_activations_of_two_dtypes_are_rounded_to_the_narrower(call, table):
    narrowed = in_bfloat16(call)
    there = [i for i in activations(call.kernel) if i < len(call.args) and call.args[i] is not None]
    for i in there if len(there) > 1 else ():
        mixed = list(narrowed.args)
        mixed[i] = mixed[i].astype(np.float32)
        for y, z in zip(run(call.with_args(tuple(mixed)), table), run(narrowed, table), strict=True):
            assert y.dtype == z.dtype
            np.testing.assert_array_equal(wide(y), wide(z))


@each_table
@each_call
def test_float64_is_computed_as_in_every_table(call, table):
    for y, z in zip(call.run(table=table), call.run(), strict=True):
        assert y.dtype == z.dtype
        np.testing.assert_array_equal(y, z)


@pytest.mark.parametrize("name", tables())
def test_updates_and_gradients_are_those_of_float32(name):
    narrow, of_float32 = tables("bfloat16")[name], tables()[name]  # both made anew where another test did so
    for kernel in UPDATES | OF_GRADIENTS:
        assert getattr(narrow, kernel) is getattr(of_float32, kernel)
    assert narrow.pack_filters.func is of_float32.pack_filters


# --- what holds for every kernel --------------------------------------------------------------------------


@each_table
@each_call
def test_inputs_are_not_modified_and_results_are_fresh(call, table):
    call = in_bfloat16(call)
    arrays = [a for a in call.args if isinstance(a, np.ndarray)]
    before = [a.tobytes() for a in arrays]
    for a in arrays:
        a.flags.writeable = False
    found = run(call, table)
    assert [a.tobytes() for a in arrays] == before
    for y in found:
        assert not any(np.shares_memory(y, a) for a in arrays)
        assert y.flags.writeable or not y.ndim


@each_table
@each_call
def test_arrays_in_any_memory_order_give_the_same(call, table):
    def strided(a):
        if not isinstance(a, np.ndarray):
            return a
        view = np.empty(tuple(2 * n for n in a.shape), a.dtype)[(slice(None, None, 2),) * a.ndim]
        view[...] = a
        return view

    call = in_bfloat16(call)
    apart = call.with_args(tuple(map(strided, call.args)))
    for y, z in zip(run(apart, table), run(call, table), strict=True):
        np.testing.assert_allclose(wide(y), wide(z), rtol=1e-14, atol=1e-15)


@each_table
@pytest.mark.parametrize("call", [c for c in CALLS if c.batched], ids=str)
def test_an_empty_batch_gives_an_empty_result_or_zeros(call, table):
    call = in_bfloat16(call)
    args = tuple(a[:0] if i in call.batched else a for i, a in enumerate(call.args))
    args = tuple(
        (0, *a[1:]) if isinstance(a, tuple) and len(a) == 4 and "weight" not in call.kernel else a
        for a in args
    )
    for y, z in zip(run(call.with_args(args), table), run(call, table), strict=True):
        assert y.dtype == z.dtype
        assert (y.shape == z.shape and not np.any(y)) if y.size else y.shape == (0, *z.shape[1:])


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@each_table
@pytest.mark.parametrize(
    "call", [c for c in CALLS if "backward" not in c.kernel and c.kernel not in STATISTICS | LOSSES], ids=str
)
def test_nan_and_infinity_pass_as_in_float32(call, value, table):
    call = in_bfloat16(call)
    x = np.array(call.args[0], copy=True)
    x[(0,) * x.ndim] = value
    call = call.with_args((x, *call.args[1:]))
    with np.errstate(all="ignore"):
        right = exact(call)[0]
        y = wide(run(call, table)[0])
    np.testing.assert_array_equal(np.isnan(y) if np.isnan(value) else ~np.isfinite(y), ~np.isfinite(right))


# --- threads, and results that are written past the caches ------------------------------------------------

LARGE = list(map(in_bfloat16, test_compiled.LARGE))


@one_at_a_time
def streamed(kind: str) -> list[Call]:
    return list(map(in_bfloat16, test_compiled.streamed(kind)))


@each_compiled
def test_what_threads_share(table):
    set_threads(3)
    check_all([c for c in LARGE if c.kernel not in OF_GRADIENTS], table, stored=True)


@pytest.mark.parametrize("name", NARROW)
@PAST_THE_CACHES
def test_results_written_past_the_caches(name, kind, algorithm):
    set_threads(2)
    calls, table = streamed(kind), with_algorithm(name, algorithm)
    for call in calls:
        exact(multiplied(call, table))  # which stays, and so must not lie in the pool
    with reuse_memory():  # whose arrays are aligned as these stores must be
        check_all(calls, table)


@each_compiled
def test_passes_over_arrays_larger_than_the_last_cache(table):
    x = np.arange(-(9 << 20), 9 << 20, dtype=np.int32).astype(BF16)
    one, ones = x.dtype.type(1), np.ones(x.shape, BF16)
    with reuse_memory():
        np.testing.assert_array_equal(table.relu(x), np.maximum(x, 0))
        np.testing.assert_array_equal(table.add(x, ones), x + one)
        np.testing.assert_array_equal(table.relu_backward(ones, x), (x > 0).astype(BF16))


@pytest.mark.parametrize("name", NARROW)
@pytest.mark.parametrize("algorithm", [0, 2, 4])
def test_results_can_be_repeated_bit_for_bit_whatever_the_number_of_threads(name, algorithm):
    table = with_algorithm(name, algorithm)
    calls = [c for c in LARGE if algorithm == 0 or c.kernel.startswith("conv2d")]
    calls = [c for c in calls if getattr(getattr(table, c.kernel), "takes_bfloat16", False)]

    def all_bits() -> list[bytes]:
        return [b"".join(a.tobytes() for a in run(call, table)) for call in calls]

    whatever = [c.kernel not in BY_THREADS for c in calls]
    first: list[bytes] = []
    for n in THREADS:
        set_threads(n)
        found = all_bits()
        assert found == all_bits()
        first = first or found
        assert list(itertools.compress(found, whatever)) == list(itertools.compress(first, whatever))


def test_many_images_are_divided_into_parts_that_do_not_show(compiled):
    """Of convolutions that are no Winograd's and dense layers, which widen some images at a time."""
    table = default_kernels("bfloat16")
    window = Window((3, 3), (2, 2), pads=((1, 1), (1, 1)))
    normal = test_compiled.normal
    x, w, dy = normal(0, 50, 60, 60, 16), normal(1, 3, 3, 16, 8), normal(2, 50, 30, 30, 8)
    rows, f, drows = normal(3, 3000, 500), normal(4, 500, 7), normal(5, 3000, 7)
    calls = [
        Call("conv2d", (x, w, normal(6, 8), window)),
        Call("conv2d_backward_input", (dy, w, x.shape, window)),
        Call("conv2d_backward_input", (dy, w, x.shape, window, 1, x)),
        Call("conv2d_backward_weight", (dy, x, w.shape, window)),
        Call("dense", (rows, f, normal(7, 7))),
        Call("dense_backward_input", (drows, f)),
        Call("dense_backward_weight", (drows, rows)),
    ]
    check_all(list(map(in_bfloat16, calls)), table, 4)


# --- products of pairs ------------------------------------------------------------------------------------

PAIRS = {name: table for name, table in NARROW.items() if name.endswith(IN_PAIRS)}
each_of_pairs = pytest.mark.parametrize("table", PAIRS.values(), ids=PAIRS.keys())


@each_of_pairs
def test_sums_are_rounded_as_the_instruction_does(table):
    """The second of a pair is added first, each sum is rounded, and what is not normal counts as 0."""
    tiny, large, one = 2.0**-130, 2.0**24, 1.0

    def total(*terms):
        column = np.array(terms, BF16)[:, None]
        return table.dense_backward_weight(column, np.ones_like(column))[0, 0]

    assert total(one, large, one, -large) == one  # in order it would be 0
    assert total(large, one, -large, one) == 0
    assert total(one, large, -large) == 0
    assert total(tiny, 0) == total(0, tiny) == total(tiny) == 0
    assert total(2.0**-126, 0, -(2.0**-126) * 1.5) == 0  # a difference that is not normal
    assert total(2.0**-126, -(2.0**-125)) == -(2.0**-126)


@each_of_pairs
@pytest.mark.parametrize("c", [1, 3, 5])
def test_what_follows_an_odd_number_of_channels_does_not_count(table, c):
    x = np.ones((1, 2, 3, c), BF16)
    x[0, 0, 1] = np.nan
    for kernel in (1, 2):
        y = table.conv2d(x, np.ones((kernel, 1, c, 2), np.float32), None, Window((kernel, 1)))
        np.testing.assert_array_equal(np.isnan(y), np.isnan(x[:, : 3 - kernel, :, :1]).repeat(2, -1))
        np.testing.assert_array_equal(y[:, :, ::2].astype(np.float32), kernel * c)
    for rows in (x[0, 0], np.repeat(x[0, 0], 3, 0)):  # of many, few classes are summed in another way
        y = table.dense(rows, np.ones((c, 2), np.float32), None)
        np.testing.assert_array_equal(np.isnan(y), np.isnan(rows[:, :1]).repeat(2, -1))


def test_pairs_count_half_of_the_products_of_many_channels():
    window = Window((3, 3), pads=((1, 1), (1, 1)))
    for c, pairs in ((64, 32), (63, 32), (32, 16), (31, 16), (16, 16), (9, 9), (1, 1)):
        found = cost(DIRECT, "avx512bf16", (2, 5, 4, c), (3, 3, c, 16), window)
        assert found == cost(DIRECT, "avx512", (2, 5, 4, pairs), (3, 3, pairs, 16), window)


@pytest.mark.parametrize("name", NARROW)
def test_float32_is_planned_as_it_is_multiplied(name, monkeypatch):
    x, window = test_compiled.normal(0, 2, 4, 5, 3).astype(np.float32), Window((2, 2))
    w, dy, float32 = np.ones((2, 2, 3, 3), np.float32), x[:, :-1, :-1], cpu_kernels(SETS[name])
    for table, by in ((float32, SETS[name].of_floats), (bfloat16_kernels(float32), name)):
        planned = []
        monkeypatch.setattr(conv, "choose", lambda *args, to=planned: to.append(args[0]) or DIRECT)
        table.conv2d(x, w, None, window)
        table.conv2d_backward_input(dy, w, x.shape, window)
        table.conv2d_backward_weight(dy, x, w.shape, window)
        table.conv2d_statistics(x, w, None, window)
        assert planned == [by] * 5  # the last one is of sums of products, and planned as these


# --- fused ------------------------------------------------------------------------------------------------


@each_table
def test_fused_normalizations_are_what_their_parts_are(table):
    normal = test_compiled.normal
    x, r, dy = (normal(i, 300, 17).astype(BF16) for i in range(3))
    gamma, beta = (normal(i, 17).astype(np.float32) for i in (3, 4))
    mean, var = table.batch_norm_statistics(x)
    s = 1 / np.sqrt(var + 1e-5)
    z = table.batch_norm(x, mean, s, gamma, beta)
    np.testing.assert_array_equal(table.batch_norm_relu(x, mean, s, gamma, beta), table.relu(z))
    y = table.batch_norm_relu(x, mean, s, gamma, beta, r)
    apart = table.relu(table.add(z, r))
    # apart, the sum is of a number that was rounded
    np.testing.assert_allclose(wide(y), wide(apart), rtol=2 * UNIT, atol=UNIT * np.abs(wide(z)).max())
    for fused, by in ((None, table.relu(z)), (y, y)):
        g = table.relu_backward(dy, by)
        found = table.batch_norm_relu_backward(dy, x, fused, mean, s, gamma, beta)
        parts = table.batch_norm_backward(g, x, mean, s, gamma)
        for a, b in zip(found, (*parts, g), strict=False):
            np.testing.assert_array_equal(wide(a), wide(b))


def test_dropout_draws_the_same_mask_in_every_dtype():
    x = np.arange(1, 1000, dtype=np.float32).astype(BF16)
    masks = []
    for table in (*TABLES.values(), REFERENCE):
        y, mask = table.dropout(x.astype(np.float32) if table is REFERENCE else x, 0.25, Stream((1,)))
        masks.append(mask)
        right = (x.astype(np.float32) * (mask / np.float32(0.75))).astype(BF16)
        np.testing.assert_array_equal(y.astype(BF16), right)
    assert all((m == masks[0]).all() for m in masks)


# --- the tables -------------------------------------------------------------------------------------------


def test_tables_are_those_of_float32():
    assert list(tables("bfloat16")) == list(tables())
    assert tables("bfloat16") is tables("bfloat16")
    assert default_kernels("bfloat16") is next(iter(tables("bfloat16").values()))
    assert default_kernels("bfloat16").origins() == default_kernels().origins()


def test_the_environment_names_one(monkeypatch):
    monkeypatch.setenv("HANDGRAD_KERNELS", "reference")
    table = default_kernels("bfloat16")
    assert table is tables("bfloat16")["reference"]
    assert table.origins() == REFERENCE.origins()


def test_they_can_be_copied_and_pickled():
    kernels = pickle.loads(pickle.dumps(copy.deepcopy(default_kernels("bfloat16"))))
    y = kernels.dense(np.ones((2, 3), BF16), np.ones((3, 2), np.float32), None)
    assert y.dtype == BF16
    np.testing.assert_array_equal(y, np.full((2, 2), 3, BF16))


def test_what_is_missing_is_said(monkeypatch, fresh):
    monkeypatch.setitem(sys.modules, "ml_dtypes", None)
    for name in (None, "reference"):
        if name:
            monkeypatch.setenv("HANDGRAD_KERNELS", name)
        with pytest.raises(MissingExtraError) as error:
            default_kernels("bfloat16")
        assert str(error.value) == (
            "precision bfloat16: expected ml_dtypes, which gives NumPy bfloat16, got an installation without "
            "it; python -m pip install 'handgrad[bfloat16]'"
        )


def test_a_table_that_is_not_there():
    with pytest.raises(ArgumentError) as error:
        select_kernels("abacus", "bfloat16")
    assert str(error.value).startswith(f"kernels: expected one of {', '.join(tables())}, got 'abacus'")
