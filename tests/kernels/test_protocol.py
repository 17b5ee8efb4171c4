"""What holds for every kernel: inputs are not modified, results are fresh, dtypes are kept, NaN passes."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields, replace

import array_api_strict as strict
import numpy as np
import pytest

from handgrad.errors import ArgumentError
from handgrad.geometry import Window
from handgrad.kernels import Kernels, default_kernels
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import CALLS, OF_GRADIENTS, PACKING, UPDATES, Statistics, converter
from tests.kernels.tables import each_table

each_call = pytest.mark.parametrize("call", CALLS, ids=str)
WIDE = {"batch_norm_statistics": (0, 1), "softmax_cross_entropy": (0,), "binary_cross_entropy": (0,)}
WIDE["mean_squared_error"] = (0,)
STATISTICS = {"conv2d_statistics": (1, 2), "batch_norm_relu_conv2d_statistics": (1, 2)}
STATISTICS |= {"group_norm": (1, 2), "rms_norm": (1,)}
WIDE |= STATISTICS
"""Results that are float64 whatever the inputs."""


def own(call, table):
    """Return the call with arguments of the dtype that the table's functions compute in."""
    if table is REFERENCE:
        return call
    convert = converter(np.float32)
    return call.with_args(tuple(convert(a) if isinstance(a, np.ndarray) else a for a in call.args))


def test_every_kernel_of_the_table_is_called():
    table = {f.name for f in fields(Kernels)}
    assert table == {call.kernel for call in CALLS} | UPDATES | OF_GRADIENTS | PACKING


def test_origins_names_the_module_of_every_entry():
    table = replace(REFERENCE, conv2d=test_every_kernel_of_the_table_is_called)
    assert REFERENCE.origins()["conv2d"] == "handgrad.kernels.reference.conv"
    assert table.origins()["conv2d"] == __name__
    assert table.origins()["dense"] == "handgrad.kernels.reference.dense"


def test_unknown_precision_is_refused():
    with pytest.raises(ArgumentError) as error:
        default_kernels("half")
    assert str(error.value) == "precision: expected one of float32, strict, bfloat16, got 'half'"


def test_tables_can_be_copied_and_pickled():
    kernels = pickle.loads(pickle.dumps(copy.deepcopy(default_kernels("strict"))))
    x, w = np.ones((1, 4, 4, 2), np.float32), np.ones((3, 3, 2, 3), np.float32)
    np.testing.assert_array_equal(kernels.conv2d(x, w, None, Window((3, 3))), np.full((1, 2, 2, 3), 18.0))
    assert kernels.origins() == default_kernels().origins()


@each_table
@each_call
def test_strict_array_api_arrays_give_what_numpy_arrays_give(call, table):
    expected = call.run()
    found = call.run(lambda a: strict.asarray(np.asarray(a)), table)
    for a, b in zip(found, expected, strict=True):
        assert type(a).__module__.startswith("array_api_strict")
        np.testing.assert_allclose(np.asarray(a), b, rtol=1e-14, atol=1e-15)
        assert str(a.dtype).rpartition(".")[2] == str(b.dtype)


@each_table
@each_call
def test_inputs_are_not_modified(call, table):
    call = own(call, table)
    before = [a.copy() for a in call.args if isinstance(a, np.ndarray)]

    def locked(a):
        a = a.copy()
        a.flags.writeable = False
        return a

    call.run(locked, table)
    call.run(table=table)
    for a, b in zip((a for a in call.args if isinstance(a, np.ndarray)), before, strict=True):
        np.testing.assert_array_equal(a, b)


@each_table
@each_call
def test_results_are_fresh_memory(call, table):
    call = own(call, table)
    arrays = [a for a in call.args if isinstance(a, np.ndarray)]
    for result in call.run(table=table):
        assert not any(np.shares_memory(result, a) for a in arrays)
        if result.ndim:
            assert result.flags.writeable


@each_table
@each_call
def test_the_same_call_gives_the_same_bits(call, table):
    call = own(call, table)
    for a, b in zip(call.run(table=table), call.run(table=table), strict=True):
        np.testing.assert_array_equal(a, b)


@each_table
@each_call
def test_arrays_in_any_memory_order_give_the_same(call, table):
    def strided(a):
        """Return an equal array of which no axis is contiguous."""
        wide = np.empty(tuple(2 * n for n in a.shape), a.dtype)
        view = wide[(slice(None, None, 2),) * a.ndim]
        view[...] = a
        return view

    call = own(call, table)
    for a, b in zip(call.run(strided, table), call.run(table=table), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14, atol=1e-15)


@each_table
@each_call
def test_arrays_in_the_other_byte_order_give_the_same(call, table):
    call = own(call, table)
    rest = (a.astype(a.dtype.newbyteorder()) if isinstance(a, np.ndarray) else a for a in call.args[1:])
    swapped = call.with_args((call.args[0], *rest))
    for a, b in zip(swapped.run(table=table), call.run(table=table), strict=True):
        # the reference takes what is in the other order
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@each_table
@each_call
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_dtype_is_kept(call, dtype, table):
    """Compiled tables compute in float32: float64 goes through the reference, to the last digit."""
    wide = WIDE.get(call.kernel, ())
    for i, (a, b) in enumerate(zip(call.run(converter(dtype), table), call.run(), strict=True)):
        expected = np.float64 if i in wide else b.dtype if b.dtype.kind in "biu" else dtype
        assert a.dtype == expected
        if b.dtype.kind == "f":
            tolerance = {"rtol": 2e-4, "atol": 2e-5} if dtype == np.float32 else {"rtol": 0, "atol": 0}
            np.testing.assert_allclose(a, b, **tolerance)


FORWARD = [c for c in CALLS if "backward" not in c.kernel]
FLOATS = [
    (call, i)
    for call in FORWARD
    for i, a in enumerate(call.args)
    if isinstance(a, np.ndarray) and a.dtype.kind == "f"
    if not isinstance(a, Statistics)
    and not (i == 1 and call.kernel in WIDE.keys() - STATISTICS.keys())  # constants; targets
]


@each_table
@pytest.mark.parametrize(("call", "i"), FLOATS, ids=str)
def test_complex_numbers_carry_a_derivative_through_every_argument(call, i, table):
    v = np.random.default_rng(1).normal(size=call.args[i].shape)

    def at(step):
        moved = call.with_args((*call.args[:i], call.args[i] + step * v, *call.args[i + 1 :]))
        return moved.run(table=table)

    derivative, after, before = at(1e-30j)[0], at(1e-6)[0], at(-1e-6)[0]
    assert derivative.dtype == np.complex128
    np.testing.assert_allclose(derivative.real, call.run()[0], rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(derivative.imag / 1e-30, (after - before) / 2e-6, rtol=1e-6, atol=1e-8)


@each_table
@pytest.mark.parametrize("call", [c for c in CALLS if c.batched], ids=str)
def test_an_empty_batch_gives_an_empty_result_or_zeros(call, table):
    call = own(call, table)
    args = tuple(a[:0] if i in call.batched else a for i, a in enumerate(call.args))
    args = tuple(
        (0, *a[1:]) if isinstance(a, tuple) and len(a) == 4 and "weight" not in call.kernel else a
        for a in args
    )
    for a, b in zip(call.with_args(args).run(table=table), call.run(table=table), strict=True):
        assert a.dtype == b.dtype
        if a.size:
            assert a.shape == b.shape
            assert not np.any(a)
        else:
            assert a.shape == (0, *b.shape[1:])


@each_table
@pytest.mark.parametrize(
    "call", [c for c in FORWARD if c.kernel not in WIDE.keys() - STATISTICS.keys()], ids=str
)
def test_nan_passes_through(call, table):
    call = own(call, table)
    x = np.array(call.args[0], copy=True)
    x[(0,) * x.ndim] = np.nan
    y = call.with_args((x, *call.args[1:])).run(table=table)[0]
    untouched = np.isclose(y, call.run(table=table)[0], rtol=0, atol=0)
    assert np.isnan(y).any()
    np.testing.assert_array_equal(np.isnan(y), ~untouched)


@each_table
@pytest.mark.parametrize("name", ["relu", "leaky_relu", "elu", "selu", "max_pool2d", "average_pool2d"])
def test_nan_in_the_gradient_passes_through(name, table):
    for call in (own(c, table) for c in CALLS if c.kernel == f"{name}_backward"):
        dy = np.full_like(call.args[0], np.nan)
        assert np.isnan(call.with_args((dy, *call.args[1:])).run(table=table)[0]).any()


def test_statistics_keep_their_marker():
    """The marker that keeps statistics in float64 must not be lost on the way to the kernels' tests."""
    marked = [a for c in CALLS for a in c.args if isinstance(a, Statistics)]
    assert marked
    assert all(converter(np.float32)(a).dtype == np.float64 for a in marked)
