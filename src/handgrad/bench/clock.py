"""Times that can be compared: taken in turns, and only while the machine does nothing else."""

from __future__ import annotations

import hashlib
import math
import statistics
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Barrier
from typing import Any, Protocol

import numpy as np

from handgrad.typing import Array


class Contender(Protocol):
    """What is measured: a step that can be repeated.

    Attributes
    ----------
    name : str
        Under which its times are found.
    """

    name: str

    def values(self, steps: int) -> Array:
        """Do some steps and return what they gave, in a row."""
        ...

    def sample(self, steps: int) -> float:
        """Do some steps and return the seconds that one took on average."""
        ...


@dataclass
class Step:
    """A contender in this process.

    Attributes
    ----------
    name : str
        Under which its times are found.
    step : callable
        Does a step.
    show : callable
        Returns of what a step returned an array, in the order of those of other contenders.
    """

    name: str
    step: Callable[[], Any]
    show: Callable[[Any], Any] = np.asarray

    def values(self, steps: int) -> Array:
        """Do some steps and return what they gave, in a row."""
        return np.concatenate([np.ravel(self.show(self.step())).astype(np.float64) for _ in range(steps)])

    def sample(self, steps: int) -> float:
        """Do some steps and return the seconds that one took on average."""
        begun = time.perf_counter()
        for _ in range(steps):
            self.step()
        return (time.perf_counter() - begun) / steps


@dataclass
class Times:
    """Seconds of a step, of the samples that count and of those that do not."""

    counted: list[float] = field(default_factory=list)
    disturbed: list[float] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether there are samples that count; where there are none, all are taken."""
        return bool(self.counted)

    @property
    def minimum(self) -> float:
        """The shortest."""
        return min(self.counted or self.disturbed)

    @property
    def median(self) -> float:
        """The one in the middle."""
        return statistics.median(self.counted or self.disturbed)


class Quiet:
    """Whether the machine is quiet: a loop of known work takes as long, on every CPU, as it did at best.

    Parameters
    ----------
    threads : int
        How many CPUs are asked.
    tolerance : float, default 1.1
        How much longer it may take.
    settle : float, default 0.01
        Seconds to wait first: threads of a parallel region spin for some milliseconds after its end.
    """

    BLOCK = bytes(1 << 16)
    SECONDS = 3e-3

    def __init__(self, threads: int, *, tolerance: float = 1.1, settle: float = 0.01) -> None:
        self.tolerance, self.settle = tolerance, settle
        self.blocks = 1
        self.best = math.inf
        self._threads = threads
        self._start = Barrier(threads)
        self._pool = ThreadPoolExecutor(threads)
        self.blocks = math.ceil(self.SECONDS / min(self._seconds() for _ in range(20)))
        self.best = min(self._seconds() for _ in range(10))

    def __call__(self) -> bool:
        """Return whether it is."""
        time.sleep(self.settle)
        seconds = self._seconds()
        self.best = min(self.best, seconds)
        return seconds <= self.tolerance * self.best

    def _seconds(self) -> float:
        """Return the seconds of the slowest thread."""
        return max(self._pool.map(self._work, range(self._threads)))

    def _work(self, _: int) -> float:
        """Hash some blocks, which lets other threads run, and return the seconds."""
        self._start.wait()
        begun = time.perf_counter()
        for _ in range(self.blocks):
            hashlib.sha256(self.BLOCK)
        return time.perf_counter() - begun


LONG_ENOUGH = 0.03
"""Seconds of a sample: a step that is shorter is repeated in it."""
CERTAIN = 0.3
"""Seconds of a first step that others would not make much shorter: of less, it may have waited for memory."""


def glance(contender: Contender) -> float:
    """Return the seconds of a step, about: of the first or, unless that is long, the least of five."""
    first = contender.sample(1)
    return first if first > CERTAIN else min(first, *(contender.sample(1) for _ in range(4)))


def measure(
    contenders: Sequence[Contender], quiet: Callable[[], bool], seconds: float, *, least: int = 3
) -> dict[str, Times]:
    """Return the times of contenders that take turns.

    Parameters
    ----------
    contenders : sequence of Contender
        A glance at each, which is not counted, tells how many steps make a sample. Where those are several,
        the first of each turn is not counted either: it finds the caches as the others left them.
    quiet : callable
        Says whether the machine is quiet, as `Quiet` does; is asked before and after every sample.
    seconds : float
        How long to go on; for up to twice as long while one has fewer than `least` samples that count.
    least : int, default 3
        How many samples of each should count.
    """
    repeats = {c.name: math.ceil(LONG_ENOUGH / glance(c)) for c in contenders}
    times = {c.name: Times() for c in contenders}
    begun = time.perf_counter()
    calm = quiet()
    while True:
        for c in contenders:
            before = calm
            if repeats[c.name] > 1:
                c.sample(1)
            sample = c.sample(repeats[c.name])
            calm = quiet()
            record = times[c.name]
            (record.counted if before and calm else record.disturbed).append(sample)
        enough = all(len(t.counted) >= least for t in times.values())
        if time.perf_counter() - begun >= (seconds if enough else 2 * seconds):
            return times
