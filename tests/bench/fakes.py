"""Contenders and machines whose time is counted, not measured."""

from __future__ import annotations

import numpy as np


class Clock:
    """Stands for the module `time`."""

    def __init__(self):
        self.now = 0.0

    def perf_counter(self):
        return self.now

    def sleep(self, seconds):
        self.now += seconds


class Fake:
    """A contender whose steps take the seconds it is given, the last of them again and again."""

    def __init__(self, name, seconds, clock=None, values=(1.0, 2.0), log=None):
        self.name = name
        self.seconds = list(np.atleast_1d(seconds))
        self.clock = clock or Clock()
        self.first = np.array(values, np.float64)
        self.log = [] if log is None else log

    def values(self, steps):
        return self.first

    def sample(self, steps):
        s = self.seconds.pop(0) if len(self.seconds) > 1 else self.seconds[0]
        self.clock.now += s * steps
        self.log.append((self.name, steps))
        return s


def always(calm=True):
    return lambda: calm


def in_turn(answers):
    """Return what says these, one after another."""
    answers = iter(answers)
    return lambda: next(answers)
