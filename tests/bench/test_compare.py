from __future__ import annotations

import math

import numpy as np
import pytest

from handgrad.bench import clock
from handgrad.bench.compare import compare
from tests.bench.fakes import Clock, Fake, always


@pytest.fixture
def time(monkeypatch):
    fake = Clock()
    monkeypatch.setattr(clock, "time", fake)
    return fake


def test_the_fastest_of_the_others_counts(time):
    ours = Fake("handgrad", [9.0, 1.0, 2.0, 3.0], time)
    slow, fast = (Fake(f"torch {n}", [1.0, 9.0, *s], time) for n, s in (("a", [3, 5, 7]), ("b", [2, 6, 8])))
    result = compare(ours, [slow, fast], always(), 30.0)
    assert list(result.theirs) == ["torch a", "torch b"]
    assert result.best("torch") == "torch a"
    assert result.ratio_of_minima("torch") == 2 / 1
    assert result.ratio_of_medians("torch") == 5 / 2


def test_those_that_are_clearly_slower_at_first_sight_are_left_out(time):
    ours = Fake("handgrad", 1.0, time)
    theirs = [Fake(name, s, time) for name, s in (("torch a", 1.0), ("torch b", 1.09), ("torch c", 1.2))]
    result = compare(ours, [*theirs, Fake("onnxruntime", 5.0, time)], always(), 10.0)
    assert list(result.theirs) == ["torch a", "torch b", "onnxruntime"]
    assert result.slower == {"torch c": 1.2}
    assert list(result.ways("torch")) == ["torch a", "torch b"]
    assert result.ratio_of_medians("onnxruntime") == 5


def test_a_short_step_is_looked_at_five_times(time):
    ours = Fake("handgrad", 1.0, time)
    fast, slow = Fake("torch a", [0.009] * 9, time), Fake("torch b", [0.03, 0.02, 0.0095, 0.02], time)
    result = compare(ours, [fast, slow], always(), 1.0)
    assert list(result.theirs) == ["torch a", "torch b"]


def test_the_difference_is_relative_to_our_largest_value(time):
    ours = Fake("handgrad", 1.0, time, values=[-4.0, 1.0])
    theirs = [Fake("a", 1.0, time, values=[-4.0, 1.5]), Fake("b", 1.0, time, values=[-3.0, 1.0])]
    assert compare(ours, theirs, always(), 1.0).difference == 0.25


def test_nan_is_a_difference(time):
    ours = Fake("handgrad", 1.0, time)
    result = compare(ours, [Fake("a", 1.0, time, values=[np.nan, 2.0])], always(), 1.0)
    assert math.isnan(result.difference)


def test_alone_there_is_nothing_to_compare(time):
    result = compare(Fake("handgrad", 1.0, time), [], always(), 3.0)
    assert result.theirs == {}
    assert result.difference == 0
    assert result.ours.median == 1
