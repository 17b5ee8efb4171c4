"""One contender against others that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.bench.clock import Contender, Times, glance, measure

CLOSE = 1.1
"""How many times as long as the fastest of a program may take on first sight and still be measured."""


def program(name: str) -> str:
    """Return what a contender belongs to, the first word of its name."""
    return name.partition(" ")[0]


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes
    ----------
    ours : Times
        Of the one.
    theirs : dict of Times
        Of the others; of a program's several ways those that were not much slower than its fastest.
    slower : dict of float
        Seconds of one step of the rest.
    difference : float
        Largest difference between values of the one and another, relative to the largest value.
    """

    ours: Times
    theirs: dict[str, Times]
    slower: dict[str, float]
    difference: float

    def ways(self, of: str) -> dict[str, Times]:
        """Return the times of one program."""
        return {name: t for name, t in self.theirs.items() if program(name) == of}

    def best(self, of: str) -> str:
        """Return the fastest way of a program, by the median."""
        return min(self.ways(of), key=lambda name: self.theirs[name].median)

    def ratio_of_minima(self, of: str) -> float:
        """Return how many times as long a program takes: the shortest time of any of its ways by ours."""
        return min(t.minimum for t in self.ways(of).values()) / self.ours.minimum

    def ratio_of_medians(self, of: str) -> float:
        """Return the same by medians: the smallest median by ours."""
        return self.theirs[self.best(of)].median / self.ours.median


def compare(
    ours: Contender,
    theirs: Sequence[Contender],
    quiet: Callable[[], bool],
    seconds: float,
    *,
    steps: int = 3,
) -> Comparison:
    """Return times of contenders that take turns, after the values of their first steps were compared.

    Parameters
    ----------
    ours : Contender
        The one.
    theirs : sequence of Contender
        The others, perhaps none; the first word of a name is the program.
    quiet, seconds
        As for `measure`.
    steps : int, default 3
        How many steps are compared.
    """
    wanted = ours.values(steps)
    largest = float(np.abs(wanted).max())
    difference = max((float(np.abs(c.values(steps) - wanted).max()) / largest for c in theirs), default=0.0)
    first = {c.name: glance(c) for c in theirs}
    fastest: dict[str, float] = {}
    for name, s in first.items():
        fastest[program(name)] = min(s, fastest.get(program(name), s))
    close = [c for c in theirs if first[c.name] <= CLOSE * fastest[program(c.name)]]
    times = measure([ours, *close], quiet, seconds)
    slower = {name: s for name, s in first.items() if name not in times}
    return Comparison(times[ours.name], {c.name: times[c.name] for c in close}, slower, difference)
