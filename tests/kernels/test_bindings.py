"""The functions of the extension module refuse what they cannot take, before they read or write anything."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.extension import load
from tests.kernels.bindings import NO_FUNCTIONS, fuzz, recorded, refuses, wrongs
from tests.kernels.tables import COMPILED, SETS

pytestmark = pytest.mark.skipif(not COMPILED, reason="needs the compiled kernels")
NAME = next(iter(COMPILED), "")
"""The fastest instruction set: what is checked is the same for all."""


@pytest.fixture(scope="module")
def calls():
    return recorded(SETS[NAME])


def test_every_function_is_called(calls):
    functions = {name for name in dir(SETS[NAME]) if not name.startswith("_")} - NO_FUNCTIONS
    assert {call.name for call in calls} == functions


def test_right_arguments_are_taken(calls):
    for call in calls:
        assert not refuses(SETS[NAME], call), call.name


def test_one_wrong_argument_is_refused_and_nothing_is_written(calls):
    taken = [
        f"{call.name}, argument {wrong.position}: {wrong.what}"
        for call in calls
        for wrong in wrongs(call)
        if not refuses(SETS[NAME], call, wrong) and wrong.refused
    ]
    assert not taken


@pytest.mark.slow
@pytest.mark.parametrize("name", SETS)
def test_several_wrong_arguments_are_no_crash(name):
    assert fuzz(SETS[name], 4000) > 3000


def test_the_text_names_the_argument_and_both_shapes(calls):
    kernels, x, w = SETS[NAME], np.ones((2, 3), np.float32), np.ones((3, 4), np.float32)
    with pytest.raises(ValueError, match=r"^x: expected shape \(2, 3\), got shape \(2, 4\)$"):
        kernels.dense(np.ones((2, 4), np.float32), w, None, np.ones((2, 4), np.float32))
    with pytest.raises(ValueError, match=r"^b: expected shape \(4,\), got shape \(\)$"):
        kernels.dense(x, w, np.ones((), np.float32), np.ones((2, 4), np.float32))


@pytest.mark.parametrize("handler", [None, 1, "x", object()])
def test_what_is_no_memory_handler_is_refused(handler):
    module = load().module
    before = module.set_memory_handler(module.memory_handler)
    try:
        with pytest.raises((TypeError, ValueError)):
            module.set_memory_handler(handler)
        assert np.ones(1000).sum() == 1000
    finally:
        module.set_memory_handler(before)


@pytest.mark.parametrize("n", [0, -1, 2**40, None, "2"])
def test_what_is_no_number_of_threads_is_refused(n):
    module = load().module
    before = module.threads()
    with pytest.raises((TypeError, ValueError)):
        module.set_threads(n)
    assert module.threads() == before


def test_taps_of_one_byte_are_those_of_256_at_most():
    kernels, x = SETS[NAME], np.ones((1, 17, 16, 2), np.float32)
    y, tap = np.empty((1, 1, 1, 2), np.float32), np.empty((1, 1, 1, 2), np.uint8)
    shape = [*x.shape, 1, 1, 17, 16, 1, 1, 1, 1, 0, 0]
    with pytest.raises(ValueError, match=r"^tap: expected numbers of four bytes, got one byte for 272 taps$"):
        kernels.max_pool2d(shape, x, y, tap)
    kernels.max_pool2d(shape, x, y, tap.astype(np.int32))
    assert (y == 1).all()


@pytest.mark.parametrize(("m", "c"), [(0, 4), (3, 0), (0, 0)])
@pytest.mark.parametrize("n", [0, 2])
def test_groups_of_no_numbers_are_refused(n, m, c):
    """In which a group's numbers would be counted, and divided by."""
    kernels, x, d = SETS[NAME], np.ones((n, m, c), np.float32), np.ones(c, np.float32)
    mean, s = np.ones((2, n, 2))
    with pytest.raises(ValueError, match=r"^x: expected samples of numbers, got empty ones$"):
        kernels.group_norm(x, None, None, 0.1, x.copy(), mean, s)
    with pytest.raises(ValueError, match=r"^x: expected samples of numbers, got empty ones$"):
        kernels.group_norm_backward(x, x, mean, s, None, x.copy(), d, d.copy())
