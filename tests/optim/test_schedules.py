"""Schedules: formulas at their corners, what they refuse, and their configuration."""

from __future__ import annotations

import json

import pytest

from handgrad.errors import ArgumentError
from handgrad.optim import Constant, Cosine, OneCycle, Step, WarmUp, schedules

ALL = [
    Constant(0.1),
    Step(0.1, every=10),
    Cosine(0.1, steps=50, final=0.01),
    OneCycle(0.1, steps=50),
    WarmUp(0.1, steps=5),
    WarmUp(Cosine(0.1, steps=50), steps=5),
]


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_config_round_trip_through_json(schedule):
    assert schedules.get(json.loads(json.dumps(schedule.config()))) == schedule
    assert schedules.get(schedule) is schedule


@pytest.mark.parametrize("schedule", ALL, ids=repr)
def test_every_step_has_a_float_that_depends_on_the_step_alone(schedule):
    rates = [schedule(t) for t in range(80)]
    assert all(type(rate) is float and 0 <= rate <= 0.1 for rate in rates)
    assert [schedule(t) for t in reversed(range(80))] == rates[::-1]


def test_constant_stays():
    assert {Constant(0.3)(t) for t in range(10)} == {0.3}


def test_step_drops_exactly_every_so_many_steps():
    schedule = Step(1.0, every=3, gamma=0.5)
    assert [schedule(t) for t in range(7)] == [1, 1, 1, 0.5, 0.5, 0.5, 0.25]


def test_cosine_starts_at_lr_is_halfway_in_the_middle_and_stays_at_final():
    schedule = Cosine(1.0, steps=10, final=0.2)
    assert schedule(0) == 1.0
    assert schedule(5) == pytest.approx(0.6)
    assert schedule(10) == schedule(1000) == 0.2


@pytest.mark.parametrize("shape", ["cos", "linear"])
def test_one_cycle_touches_its_three_corners_and_stays_at_the_last(shape):
    schedule = OneCycle(
        1.0, steps=20, pct_start=0.5, div_factor=10, final_div_factor=100, anneal_strategy=shape
    )
    assert schedule(0) == pytest.approx(0.1)
    assert schedule(9) == pytest.approx(1.0)
    assert schedule(19) == schedule(500) == pytest.approx(0.001)
    assert max(schedule(t) for t in range(20)) == schedule(9)


@pytest.mark.parametrize(("steps", "pct_start"), [(1, 0.3), (2, 0.5), (10, 0.0), (10, 0.1)])
def test_one_cycle_without_room_to_rise_starts_at_or_after_the_top(steps, pct_start):
    schedule = OneCycle(1.0, steps=steps, pct_start=pct_start)
    rates = [schedule(t) for t in range(steps + 2)]
    assert rates == sorted(rates, reverse=True)
    assert rates[-1] == pytest.approx(1 / 25e4)


def test_one_cycle_of_one_step_is_its_top():
    assert [OneCycle(0.5, steps=1, pct_start=share)(0) for share in (0.0, 0.3, 0.9)] == [0.5] * 3
    assert OneCycle(0.5, steps=1)(1) == pytest.approx(0.5 / 25e4)


@pytest.mark.parametrize("steps", range(1, 6))
@pytest.mark.parametrize("schedule", [OneCycle, Cosine, schedules.Linear], ids=lambda kind: kind.__name__)
def test_a_schedule_of_few_steps_has_a_step_that_learns(schedule, steps):
    assert max(schedule(1.0, steps=steps)(t) for t in range(steps)) > 0.8


def test_warm_up_moves_at_its_first_step_and_reaches_the_rate_at_its_last():
    schedule = WarmUp(Step(1.0, every=2, gamma=0.5), steps=4)
    assert [schedule(t) for t in range(9)] == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0, 0.5, 0.5, 0.25]


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Constant(-1), "Constant: expected lr of at least 0, got -1"),
        (lambda: Step(-0.1, 3), "Step: expected lr of at least 0, got -0.1"),
        (lambda: Step(0.1, 0), "Step: expected every to be a whole number of at least 1, got 0"),
        (lambda: Step(0.1, 2.5), "Step: expected every to be a whole number of at least 1, got 2.5"),
        (lambda: Step(0.1, 2, -1), "Step: expected gamma of at least 0, got -1"),
        (lambda: Cosine(float("nan"), 3), "Cosine: expected lr of at least 0, got nan"),
        (lambda: Cosine(0.1, 0), "Cosine: expected steps to be a whole number of at least 1, got 0"),
        (lambda: Cosine(0.1, 3, -1), "Cosine: expected final of at least 0, got -1"),
        (lambda: OneCycle(-1, 10), "OneCycle: expected max_lr of at least 0, got -1"),
        (lambda: OneCycle(1, True), "OneCycle: expected steps to be a whole number of at least 1, got True"),
        (
            lambda: OneCycle(1, 10, pct_start=1),
            "OneCycle: expected pct_start of at least 0 and less than 1, got 1",
        ),
        (lambda: OneCycle(1, 10, div_factor=0), "OneCycle: expected div_factor greater than 0, got 0"),
        (
            lambda: OneCycle(1, 10, final_div_factor=0),
            "OneCycle: expected final_div_factor greater than 0, got 0",
        ),
        (
            lambda: OneCycle(1, 10, anneal_strategy="sine"),
            'OneCycle: expected anneal_strategy "cos" or "linear", got \'sine\'',
        ),
        (lambda: WarmUp(-1, 10), "WarmUp: expected lr of at least 0, got -1"),
        (lambda: WarmUp(1, 0), "WarmUp: expected steps to be a whole number of at least 1, got 0"),
        (
            lambda: schedules.get("cosine"),
            "schedule: expected one of Constant, Step, Cosine, Linear, OneCycle, WarmUp, got 'cosine'",
        ),
        (
            lambda: schedules.get({"class": "Step", "lr": 0.1, "period": 3}),
            "Step: expected arguments among lr, every, gamma, got 'period'",
        ),
    ],
)
def test_arguments_are_checked_at_construction(make, message):
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == message
