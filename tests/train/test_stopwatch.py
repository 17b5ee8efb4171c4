from __future__ import annotations

from types import SimpleNamespace

import pytest

import handgrad as hg
from handgrad.train import Stopwatch
from handgrad.train.callbacks import stopwatch as module
from tests.train.parts import At, dense, points


@pytest.fixture
def clock(monkeypatch):
    now = SimpleNamespace(time=100.0)
    clocks = SimpleNamespace(perf_counter=lambda: now.time, process_time=lambda: 2 * now.time + 7)
    monkeypatch.setattr(module, "time", clocks)
    return now


def run(trainer, clock, watch, seconds, steps=None):
    """Train so that each step takes some seconds, and stop after some steps."""

    def tick(_):
        clock.time += seconds

    ticks = [At(n, tick) for n in range(1, 10)]
    stop = [At(steps, lambda t: setattr(t, "stop_training", True))] if steps else []
    trainer.fit(*points(), epochs=3, batch_size=4, initial_epoch=0, callbacks=[watch, *ticks, *stop])


def test_it_measures_a_fit_and_nothing_else(clock):
    watch, trainer = Stopwatch(), hg.Trainer(dense(), "cross_entropy")
    assert watch.seconds == 0
    run(trainer, clock, watch, 2.0)
    assert watch.spent == (18, 36, trainer.waited)
    assert trainer.waited > 0
    clock.time += 1000
    assert watch.spent == (18, 36, trainer.waited)
    assert watch.seconds == 18


def test_it_goes_on_in_a_resumed_run(clock, tmp_path):
    trainer = hg.Trainer(dense(), "cross_entropy")
    watch = Stopwatch()
    run(trainer, clock, watch, 2.0, steps=4)
    assert watch.spent == (8, 16, trainer.waited)
    waited = trainer.waited
    trainer.save(tmp_path / "c")
    clock.time = 5.0
    again, watch = hg.Trainer(dense(), "cross_entropy"), Stopwatch()
    again.load(tmp_path / "c")
    run(again, clock, watch, 1.0)
    assert watch.spent == (8 + 5, 16 + 10, waited + again.waited)


def test_what_is_saved_within_a_fit_counts_to_that_moment(clock):
    watch, trainer = Stopwatch(), hg.Trainer(dense(), "cross_entropy")
    seen = []

    def look(_):
        clock.time += 3
        seen.append(watch.state())

    trainer.fit(*points(), batch_size=4, callbacks=[watch, At(2, look)])
    assert seen == [{"seconds": 3.0, "cpu_seconds": 6.0, "waited": pytest.approx(0, abs=1)}]
