"""Products of bfloat16 by matrix registers (csrc/amx.h): the machine's, and written out for every machine."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest

from handgrad.geometry import Window
from handgrad.kernels import get_threads, set_threads
from handgrad.kernels.cpu.algorithm import DIRECT, IN_REGISTERS, choose
from tests.kernels.calls import Call
from tests.kernels.test_compiled import normal

ml_dtypes = pytest.importorskip("ml_dtypes")

from tests.kernels.test_bfloat16 import BF16, NARROW, check_all, in_bfloat16, packing, run  # noqa: E402

TABLES = {name: packing(table) for name, table in NARROW.items() if name.endswith(IN_REGISTERS)}
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())


@pytest.fixture(autouse=True)
def _as_before():
    before = get_threads()
    yield
    set_threads(before)


class Case(NamedTuple):
    n: int
    size: tuple[int, int]
    c: int
    k: int
    kernel: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    pad: int = 1
    dilation: tuple[int, int] = (1, 1)

    @property
    def window(self) -> Window:
        return Window(self.kernel, self.strides, self.dilation, ((self.pad,) * 2,) * 2)

    def calls(self) -> list[Call]:
        (n, size, c, k), window = self[:4], self.window
        x, w, dy = (
            normal(0, n, *size, c),
            normal(1, *self.kernel, c, k),
            normal(3, n, *window.output_size(size), k),
        )
        calls = [
            Call("conv2d", (x, w, normal(2, k), window)),
            Call("conv2d_packed", (x, w, normal(2, k), window, 1, dy, True)),
            Call("conv2d_backward_input", (dy, w, x.shape, window)),
            Call("conv2d_backward_input", (dy, w, x.shape, window, 1, normal(4, *x.shape))),
            Call("conv2d_backward_weight", (dy, x, w.shape, window)),
        ]
        return list(map(in_bfloat16, calls))


CASES = {
    "one pixel of one channel": Case(1, (1, 1), 1, 2, (1, 1), pad=0),
    "pixels of one tap, and some that are left over": Case(1, (10, 30), 5, 17, (1, 1), pad=0),
    "images in two registers, the last of which begins earlier": Case(17, (4, 4), 6, 5),
    "images in three registers, filters in three": Case(33, (5, 4), 40, 40),
    "images of a power of two of channels": Case(16, (2, 2), 512, 3),
    "images whose rows are copied some at a time": Case(32, (9, 9), 256, 2),
    "images that taps miss, at stride 2": Case(20, (5, 6), 20, 33, (4, 3), (2, 2), 2),
    "images smaller than the padding": Case(18, (2, 1), 3, 4, (3, 3), (1, 2), 3),
    "rows in three registers, some rows at a time": Case(2, (9, 33), 34, 17),
    "rows longer than an item": Case(1, (2, 300), 4, 16),
    "rows where they lie": Case(2, (6, 18), 32, 48, pad=0),
    "rows of pixels two apart where they lie": Case(1, (9, 9), 16, 20, (1, 1), (2, 2), 0),
    "rows of taps apart": Case(2, (12, 13), 8, 9, dilation=(2, 3), pad=2),
    "rows of few channels and many taps": Case(2, (15, 14), 3, 64, (7, 7), (2, 2), 3),
    "steps of 20": Case(1, (5, 12), 80, 6, (1, 1), pad=0),
    "steps of 24": Case(2, (4, 20), 48, 6, (1, 3)),
    "phases that no tap meets": Case(3, (7, 8), 7, 9, (2, 1), (3, 3), 0),
    "pixels shared by taps of many images": Case(3, (8, 8), 33, 18),
    "pixels shared by taps of two rows of places a step": Case(2, (4, 16), 16, 16),
    "pixels of rows that are left out": Case(2, (16, 16), 16, 3, strides=(2, 1)),
    "pixels shared by taps of an image in parts": Case(1, (64, 64), 16, 3),
    "an odd number of places in rows of an image in parts": Case(1, (45, 47), 17, 3),
    "channels of taps side by side": Case(2, (9, 10), 3, 20, (5, 5), (2, 1), 3),
    "channels of taps side by side beyond the image": Case(2, (3, 1), 15, 4, (3, 5), pad=4),
}
each_case = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())


@each_case
@each_table
def test_convolutions_agree_with_the_reference(case, table):
    check_all(case.calls(), table, 4)


@each_table
@pytest.mark.parametrize("threads", [1, 2, 3, 5])
def test_whatever_threads_divide(table, threads):
    """Places or, of many weights, filters."""
    set_threads(threads)
    for case in (Case(1, (3, 3), 230, 330), Case(6, (8, 8), 16, 20), Case(1, (3, 40), 5, 70)):
        check_all(case.calls(), table, 4)


@each_table
@pytest.mark.parametrize("m", [1, 31, 300, 1100])
def test_dense_layers_agree_with_the_reference(table, m):
    for c, k in ((1, 1), (33, 17), (70, 100)):
        x, w, dy = normal(0, m, c), normal(1, c, k), normal(2, m, k)
        calls = [
            Call("dense", (x, w, normal(3, k))),
            Call("dense_backward_input", (dy, w)),
            Call("dense_backward_weight", (dy, x)),
        ]
        check_all(list(map(in_bfloat16, calls)), table, 4)


@each_table
def test_sums_are_rounded_as_the_instruction_does(table):
    """First and second numbers of pairs apart, each sum rounded, then the sums of 32; not normal is 0."""
    set_threads(1)  # whose sums are added to each other as floats
    tiny, large, one = 2.0**-130, 2.0**24, 1.0

    def total(*terms: float) -> Any:
        column = np.array(terms, BF16)[:, None]
        return table.dense_backward_weight(column, np.ones_like(column))[0, 0]

    assert total(large, one, -large, one) == 2
    assert total(large, -large, one, one) == 1  # large + 1 is large, 1 - large is exact
    zeros = [0.0] * 31
    assert total(large, *zeros, one, one) == large + 2
    assert total(large, *zeros, one, 0, *zeros[:30], one) == large
    assert total(tiny, 0) == total(0, tiny) == total(*zeros, tiny, tiny) == 0
    assert total(2.0**-126, 0, -(2.0**-126) * 1.5) == 0  # a difference that is not normal
    assert total(2.0**-126, -(2.0**-126) * 1.5) == 0
    assert total(2.0**-126, *zeros, -(2.0**-126) * 1.5) == 0
    assert total(2.0**-126, *zeros, -(2.0**-125)) == -(2.0**-126)


@pytest.mark.skipif(len(TABLES) < 2, reason="a machine without matrix registers")
@each_case
def test_what_is_written_out_computes_as_the_machine_does(case):
    first, second = TABLES.values()
    for call in case.calls():
        for a, b in zip(run(call, first), run(call, second), strict=True):
            np.testing.assert_array_equal(a, b)


@each_table
@pytest.mark.parametrize("case", [Case(2, (2, 3), c, 2, (k, 1), pad=0) for c in (1, 3, 33) for k in (1, 2)])
def test_what_follows_a_pixel_does_not_count(table, case):
    x = np.ones((case.n, *case.size, case.c), BF16)
    x[0, 0, 1] = np.nan
    y = table.conv2d(x, np.ones((*case.kernel, case.c, case.k), np.float32), None, case.window)
    rows = 3 - case.kernel[0]
    np.testing.assert_array_equal(np.isnan(y), np.isnan(x[:, :rows, :, :1]).repeat(2, -1))


@each_table
@pytest.mark.parametrize("case", [Case(2, (8, 8), 5, 3), Case(2, (8, 8), 20, 3), Case(2, (5, 7), 20, 3)])
def test_a_pixel_counts_in_the_gradients_of_the_taps_that_meet_it(table, case):
    x, dy = np.ones((case.n, *case.size, case.c), BF16), np.ones((case.n, *case.size, case.k), BF16)
    x[1, 0, -1, 2] = np.nan  # a corner, which only four taps meet
    dw = table.conv2d_backward_weight(dy, x, (*case.kernel, case.c, case.k), case.window)
    right = np.zeros(dw.shape, bool)
    right[:2, 1:, 2] = True
    np.testing.assert_array_equal(np.isnan(dw), right)


@pytest.mark.parametrize("c", [1, 3, 16, 64, 512])
@pytest.mark.parametrize("size", [1, 7, 56])
def test_they_leave_nothing_to_algorithms_with_fewer_products(c, size):
    for n in (1, 64):
        for window in (Window((3, 3), pads=((1, 1), (1, 1))), Window((5, 5), pads=((2, 2), (2, 2)))):
            assert choose("amx", (n, size, size, c), (*window.kernel, c, 64), window, 1) == DIRECT
