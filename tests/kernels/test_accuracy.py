"""How accurate compiled kernels are in float32: against float64, beside a plain sum and beside PyTorch.

Of a sum of T products of random numbers, taken one after another, rounding leaves about ``0.3*sqrt(T)`` units
of 2^-24, by root mean squares: partial sums grow as sqrt(t), and each is rounded once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial

import numpy as np
import pytest

from benchmarks import accuracy
from benchmarks.accuracy import Case, Results
from benchmarks.shapes import Conv
from handgrad.kernels import tables
from handgrad.kernels.reference import REFERENCE
from tests.kernels.tables import COMPILED, each_compiled

UNIT = 2.0**-24


def few(s: Conv) -> Conv:
    """Return the same convolution of fewer images: of about 10,000 places."""
    return replace(s, n=min(s.n, max(4, 10_000 // s.h**2)))


CONVOLUTIONS = {str(few(s)): few(s) for s in accuracy.CONVOLUTIONS}
NORMALIZED = {f"BN + ReLU + {few(s)}": few(s) for s in accuracy.NORMALIZED}
SUMS = CONVOLUTIONS | NORMALIZED
OTHERS: dict[str, Callable[[], Case]] = {
    f"BN{' + sum + ReLU' * relu} mean {mean:g}": partial(
        accuracy.normalization, (16, 16, 16, 24), mean, relu=relu
    )
    for relu in (False, True)
    for mean in (0.0, 1e2, 1e4, 1e6)
} | {case.name: partial(lambda case: case, case) for case in accuracy.small_cases()}


@cache
def case_of(name: str) -> Case:
    if name in NORMALIZED:
        return accuracy.normalized_convolution(NORMALIZED[name])
    return accuracy.convolution(CONVOLUTIONS[name]) if name in CONVOLUTIONS else OTHERS[name]()


@cache
def exact(name: str) -> Results:
    return case_of(name).ours(REFERENCE, np.float64)


def terms(s: Conv, result: str) -> float:
    """Return how many products are in a sum."""
    oh, ow = s.window.output_size((s.h, s.h))
    of_filter = s.kernel**2 * s.c // s.groups
    return {
        "forward": of_filter,
        "d input": math.ceil(s.kernel / s.stride) ** 2 * s.k / s.groups,
        "d weight": s.n * oh * ow,
    }[result]


def plain(count: float) -> float:
    """Return the error of a sum of so many products, and of its last rounding alone."""
    return UNIT * max(0.3 * math.sqrt(count), 1)


def test_a_plain_sum_loses_what_is_said():
    for count in (100, 1000, 5000):
        a, b = np.random.default_rng(count).standard_normal((2, 2000, count), np.float32)
        in_order = np.add.accumulate(a * b, axis=1)[:, -1]
        error = accuracy.Error.of(in_order, np.sum(a.astype(np.float64) * b, axis=1)).rms
        assert 0.8 < error / plain(count) < 1.5


MOST = {0: 1.1, 4: 1.2, 6: 2.5}
"""Times the error of a plain sum, by the points of Winograd's algorithm."""

CHANNELS = 32
"""Of Winograd's algorithm: in input gradients, sums over more are sums of short sums, and lose no more."""

MOST_OF_FILTERS = {0: 1.1, 4: 1.1, 6: 2.1}
"""Of their gradients, which are sums of sums: more terms than LONGEST do not count."""

LONGEST = 2048


@each_compiled
@pytest.mark.parametrize("name", SUMS)
def test_convolutions_lose_little_more_than_a_plain_sum(name, table):
    """By each algorithm; what transforms lose is as if there were sixteen channels."""
    case, instructions = case_of(name), next(n for n, t in COMPILED.items() if t is table)
    for tile in (0, *case.tiles):
        kernels = accuracy.with_algorithm(instructions, tile)
        points = SUMS[name].kernel + tile - 1 if tile else 0
        for result, error in accuracy.errors(case.ours(kernels, np.float32), exact(name)).items():
            count = terms(SUMS[name], result)
            if result == "d weight":
                most = MOST_OF_FILTERS[points] * plain(min(count, LONGEST))
            else:
                taps = SUMS[name].kernel ** 2
                if tile:
                    count = max(count, 16 * 9)
                    count = min(count, CHANNELS * taps) if result == "d input" else count
                most = MOST[points] * plain(count)
            assert error.rms < most, f"{result}, {tile}: {error.rms / most:.2f} times what it may be"
            assert error.largest < 5 * most, f"{result}, {tile}: {error.largest:.1e}"


@each_compiled
@pytest.mark.parametrize("name", OTHERS)
def test_other_operations_are_right_to_a_few_units(name, table):
    """Sums over thousands of rows and means of a million deviations included."""
    for result, error in accuracy.errors(case_of(name).ours(table, np.float32), exact(name)).items():
        assert error.rms < 5 * UNIT, f"{result}: {error.rms / UNIT:.1f} units"


IN_PARTS, IN_BLOCKS = 2.6, 3.1
"""Times the error of PyTorch's input gradients, which of contiguous images it adds up in parts; with AVX-512
in blocks of 16 channels however many there are, and forward, too."""

CHANCE = 1.05
"""Times the error that is allowed: few images, and PyTorch's kernels are those of the machine."""


@pytest.mark.skipif(not COMPILED, reason="no compiled kernels")
@pytest.mark.parametrize("name", SUMS | OTHERS)
def test_errors_beside_those_of_pytorch(name):
    """With AVX-512, of what PyTorch adds up in blocks forward, beside what is lost in one sum."""
    torch = pytest.importorskip("torch")
    case = case_of(name)
    theirs = accuracy.torch_errors(case, exact(name))
    in_blocks = torch.backends.cpu.get_cpu_capability() == "AVX512"
    for result, error in accuracy.errors(case.ours(tables()["cpu"], np.float32), exact(name)).items():
        least, most = min(of[result].rms for of in theirs.values()), accuracy.MOST[result]
        if name in SUMS and result == "d input":
            most = IN_BLOCKS if in_blocks else IN_PARTS
        elif name in SUMS and result == "forward" and in_blocks:
            least = max(least, plain(terms(SUMS[name], result)))
        assert error.rms <= CHANCE * most * least, f"{result}: {error.rms / least:.2f} times PyTorch's error"
