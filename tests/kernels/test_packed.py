"""Convolution with packed filters: against the reference in float64, and what packing must not change."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels import Kernels, get_threads, reuse_memory, set_threads
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import Call
from tests.kernels.tables import COMPILED, each_compiled, each_table
from tests.kernels.test_compiled import (
    ANY_CASES,
    CASES,
    DEEP,
    FEW_FILTERS,
    FIVE_BY_FIVE_CASES,
    THREE_BY_THREE_CASES,
    WIDE,
    check_all,
    convolution,
    described,
    normal,
    one_at_a_time,
    window_of,
    with_algorithm,
)

SAME = Window((3, 3), pads=((1, 1), (1, 1)))
_AXES = "kernel", "strides", "pads", "size", "n", "c", "k"
_FEW = [
    ((3, 3), (1, 1), ((1, 1), (1, 1)), (4, 4), 2, 130, 70),
    ((3, 3), (2, 2), ((1, 1), (1, 1)), (8, 8), 1, 400, 16),
    ((3, 2), (1, 2), ((0, 0), (0, 0)), (7, 9), 1, 17, 3),
    ((2, 2), (1, 1), ((0, 1), (2, 0)), (2, 3), 3, 64, 33),
    ((1, 1), (1, 1), ((0, 0), (0, 0)), (2, 3), 1, 600, 33),
]
FEW = {described(case): case for case in (dict(zip(_AXES, sizes, strict=True)) for sizes in _FEW)}
"""Few places in short rows, whose pixels are gathered; and a plain product of many terms."""


@pytest.fixture(autouse=True)
def _threads_as_before():
    before = get_threads()
    yield
    set_threads(before)


@cache
def packing(table: Kernels) -> Kernels:
    """Return the table in which `conv2d_packed` takes filters as they are and packs them."""

    def conv2d_packed(x: Any, w: Any, b: Any, window: Window, groups: int, *rest: Any) -> Any:
        filters = table.pack_filters(w, x.shape, window, groups)
        return table.conv2d_packed(x, filters, b, window, groups, *rest)

    return replace(table, conv2d_packed=conv2d_packed)


@one_at_a_time
def packed(case: str) -> list[Call]:
    """Return calls with what may come after the sums, and without."""
    plain, *_ = convolution(case)
    x, w, b, window, groups = plain.args
    add = normal(5, x.shape[0], *window.output_size(x.shape[1:3]), w.shape[3])
    return [
        Call("conv2d_packed", (x, w, b, window, groups, None, False)),
        Call("conv2d_packed", (x, w, b, window, groups, None, True)),
        Call("conv2d_packed", (x, w, b, window, groups, add, b is None)),
    ]


CASES.update(FEW)


@each_compiled
@pytest.mark.parametrize("case", [*ANY_CASES, *FEW])
def test_any_convolution(case, table):
    check_all(packed(case), packing(table), 16)


@pytest.mark.parametrize(("algorithm", "most"), [(0, 4), (2, 5), (4, 16)], ids=["direct", "2x2", "4x4"])
@each_compiled
@pytest.mark.parametrize("case", THREE_BY_THREE_CASES)
def test_each_algorithm(case, table, algorithm, most):
    check_all(packed(case), packing(with_algorithm(table, algorithm)), most)


@each_compiled
@pytest.mark.parametrize("case", FIVE_BY_FIVE_CASES)
def test_filters_of_5x5_by_tiles(case, table):
    check_all(packed(case), packing(with_algorithm(table, 2)), 16)


def images(case: dict[str, Any], n: int) -> tuple[Any, ...]:
    """Return n images, filters, bias, window and what is added, in float32."""
    window = window_of(case)
    x, w = normal(0, n, *case["size"], case["c"]), normal(1, *window.kernel, case["c"], case["k"])
    add = normal(3, n, *window.output_size(case["size"]), case["k"])
    x, w, b, add = (a.astype(np.float32) for a in (x, w, normal(2, case["k"]), add))
    return x, w, b, window, add


LARGER = WIDE, DEEP | {"size": (13, 9), "c": 300}, WIDE | {"size": (16, 16), "c": 64}
PAST_THE_CACHES = [
    {
        "kernel": (1, 1),
        "strides": (s, s),
        "pads": ((0, 0), (0, 0)),
        "size": (32 * s, 32 * s),
        "n": 1,
        "c": 300,
        "k": 128,
    }
    for s in (1, 2)
]
"""Deep products, of which several images are written past the caches and one is not."""
SEVERAL = [*FEW.values(), *FEW_FILTERS[:2], *LARGER, *PAST_THE_CACHES]


@pytest.mark.parametrize("algorithm", [None, 0, 2, 4])
@each_compiled
@pytest.mark.parametrize("case", SEVERAL, ids=described)
def test_an_image_has_the_same_bits_among_others_and_with_any_number_of_threads(case, table, algorithm):
    table = table if algorithm is None else with_algorithm(table, algorithm)
    x, w, b, window, add = images(case, 9)
    filters = table.pack_filters(w, (1, *x.shape[1:]), window)
    with reuse_memory():  # whose arrays are aligned as stores past the caches must be
        together = table.conv2d_packed(x, filters, b, window, 1, add, True)
        for threads in (1, 2, 3):
            set_threads(threads)
            for n in (1, 2, 9):
                y = table.conv2d_packed(x[:n], filters, b, window, 1, add[:n], True)
                np.testing.assert_array_equal(y, together[:n])


@each_table
@pytest.mark.parametrize("groups", [1, 2, 4], ids=["one", "two", "depthwise"])
def test_packed_filters_do_not_change_with_those_they_were_made_of(groups, table):
    x, w = normal(0, 1, 5, 5, 4).astype(np.float32), normal(1, 3, 3, 4 // groups, 4).astype(np.float32)
    filters = table.pack_filters(w, x.shape, SAME, groups)
    before = table.conv2d_packed(x, filters, None, SAME, groups)
    w[...] = 0
    np.testing.assert_array_equal(table.conv2d_packed(x, filters, None, SAME, groups), before)


@each_table
def test_filters_serve_images_of_another_size(table):
    w = normal(1, 3, 3, 20, 17)
    filters = table.pack_filters(w.astype(np.float32), (1, 4, 4, 20), SAME)
    x = normal(0, 2, 13, 9, 20)
    found = table.conv2d_packed(x.astype(np.float32), filters, None, SAME)
    np.testing.assert_allclose(found, REFERENCE.conv2d(x, w, None, SAME), rtol=1e-5, atol=1e-4)


@each_table
def test_float64_is_packed_for_the_reference(table):
    x, w = normal(0, 1, 5, 5, 4), normal(1, 3, 3, 4, 6)
    y = table.conv2d_packed(x, table.pack_filters(w, x.shape, SAME), None, SAME)
    np.testing.assert_array_equal(y, REFERENCE.conv2d(x, w, None, SAME))


@pytest.mark.parametrize("algorithm", [0, 2, 4])
@pytest.mark.parametrize("table", COMPILED.values(), ids=COMPILED.keys())
def test_nan_passes_through_relu(table, algorithm):
    table = with_algorithm(table, algorithm)
    x, w = np.full((1, 6, 6, 3), np.nan, np.float32), np.ones((3, 3, 3, 20), np.float32)
    y = table.conv2d_packed(x, table.pack_filters(w, x.shape, SAME), None, SAME, 1, None, True)
    assert np.isnan(y).all()
