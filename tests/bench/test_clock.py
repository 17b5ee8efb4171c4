from __future__ import annotations

import hashlib
import math

import numpy as np
import pytest

from handgrad.bench import clock
from handgrad.bench.clock import LONG_ENOUGH, Quiet, Step, Times, measure
from tests.bench.fakes import Clock, Fake, always, in_turn


@pytest.fixture
def time(monkeypatch):
    """Return the time that this module's functions see."""
    fake = Clock()
    monkeypatch.setattr(clock, "time", fake)
    return fake


class TestStep:
    def test_its_values_are_those_of_some_steps_in_a_row(self):
        given = iter([1.0, np.array([[2, 3]]), 4])
        np.testing.assert_array_equal(Step("s", lambda: next(given)).values(3), [1, 2, 3, 4])

    def test_its_values_are_shown_in_an_order_of_its_own(self):
        y = np.arange(6).reshape(2, 3)
        np.testing.assert_array_equal(Step("s", lambda: y, np.transpose).values(1), [0, 3, 1, 4, 2, 5])

    def test_a_sample_is_the_mean_of_its_steps(self, time):
        durations = iter([1.0, 2.0, 6.0])
        assert Step("s", lambda: time.sleep(next(durations))).sample(3) == 3


class TestTimes:
    def test_those_that_were_disturbed_do_not_count(self):
        times = Times([3.0, 2.0, 5.0], [1.0])
        assert (times.minimum, times.median, times.quiet) == (2, 3, True)

    def test_where_all_were_disturbed_they_are_all_there_is(self):
        times = Times([], [4.0, 1.0])
        assert (times.minimum, times.median, times.quiet) == (1, 2.5, False)


class TestQuiet:
    def make(self, monkeypatch, seconds, **options):
        """Return one whose loop takes 1 second while it is made, then these."""
        after = iter(seconds)
        before = iter([1.0] * 30)
        monkeypatch.setattr(Quiet, "_seconds", lambda self: next(before, None) or next(after))
        return Quiet(2, settle=0, **options)

    def test_a_loop_that_takes_longer_is_not_quiet(self, monkeypatch):
        quiet = self.make(monkeypatch, [1.0, 1.09, 1.11, 5.0, 1.0])
        assert [quiet() for _ in range(5)] == [True, True, False, False, True]

    def test_it_is_compared_with_the_best_so_far(self, monkeypatch):
        quiet = self.make(monkeypatch, [1.0, 0.5, 1.0, 0.54])
        assert [quiet() for _ in range(4)] == [True, True, False, True]

    def test_the_tolerance_is_an_argument(self, monkeypatch):
        quiet = self.make(monkeypatch, [1.9, 2.1], tolerance=2.0)
        assert [quiet(), quiet()] == [True, False]

    def test_the_slowest_thread_decides(self, monkeypatch):
        quiet = self.make(monkeypatch, [])
        monkeypatch.undo()
        monkeypatch.setattr(quiet, "_work", lambda k: [1.0, 3.0][k])
        assert quiet._seconds() == 3

    def test_it_works_about_as_long_as_it_should(self, monkeypatch):
        hashed = []
        sha256 = hashlib.sha256
        monkeypatch.setattr(clock.hashlib, "sha256", lambda block: hashed.append(0) or sha256(block))
        quiet = Quiet(2)
        assert quiet.blocks > 1
        assert 0 < quiet.best < math.inf
        hashed.clear()
        quiet()
        assert len(hashed) == 2 * quiet.blocks


class TestMeasure:
    def test_contenders_take_turns(self, time):
        log = []
        a, b = (Fake(name, 1.0, time, log=log) for name in "ab")
        times = measure([a, b], always(), 6.0)
        assert [name for name, _ in log] == list("ab" * 4)
        assert times == {"a": Times([1.0] * 3), "b": Times([1.0] * 3)}

    def test_short_steps_are_repeated(self, time):
        fake = Fake("a", LONG_ENOUGH / 4, time)
        measure([fake], always(), 0.0)
        assert fake.log == [("a", 1)] * 5 + [("a", 1), ("a", 4)]

    def test_a_first_step_that_waited_does_not_tell_how_many_make_a_sample(self, time):
        fake = Fake("a", [2 * LONG_ENOUGH, LONG_ENOUGH / 4], time)
        measure([fake], always(), 0.0)
        assert fake.log[-1] == ("a", 4)

    def test_a_short_step_is_not_counted_while_it_warms_the_caches(self, time):
        short, long = LONG_ENOUGH / 4, LONG_ENOUGH
        times = measure([Fake("a", [short] * 5 + [long, short], time)], always(), 0.0)
        assert times == {"a": Times([short])}

    def test_a_sample_counts_where_it_was_quiet_before_and_after(self, time):
        fake = Fake("a", [9.0, 1.0, 2.0, 3.0, 4.0, 5.0], time)
        calm = [True, True, False, True, True, True]
        times = measure([fake], in_turn(calm), 15.0, least=1)
        assert times == {"a": Times([1.0, 4.0, 5.0], [2.0, 3.0])}

    def test_it_goes_on_while_too_few_count_but_not_forever(self, time):
        fake = Fake("a", 1.0, time)
        times = measure([fake], always(False), 5.0)
        assert times == {"a": Times([], [1.0] * 10)}

    def test_it_ends_once_enough_count(self, time):
        fake = Fake("a", 1.0, time)
        calm = [False] * 6 + [True] * 20
        times = measure([fake], in_turn(calm), 5.0)
        assert times == {"a": Times([1.0] * 3, [1.0] * 6)}

    def test_there_is_one_round_in_any_case(self, time):
        assert measure([Fake("a", 7.0, time)], always(), 0.0) == {"a": Times([7.0])}
