"""One contender against others that compute the same."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from handgrad.bench.clock import Contender, Times, measure

CLOSE = 1.1
"""How many times as long as the fastest of the others may take on first sight and still be measured."""


@dataclass(frozen=True)
class Comparison:
    """What came of it.

    Attributes
    ----------
    ours : Times
        Of the one.
    theirs : dict of Times
        Of those of the others that were not much slower than the fastest of them.
    slower : dict of float
        Seconds of one step of the others.
    difference : float
        Largest difference between values of the one and another, relative to the largest value.
    """

    ours: Times
    theirs: dict[str, Times]
    slower: dict[str, float]
    difference: float

    @property
    def best(self) -> str:
        """The fastest of the others, by the median."""
        return min(self.theirs, key=lambda name: self.theirs[name].median)

    @property
    def ratio_of_minima(self) -> float:
        """How many times as long the others take: the shortest time of any by ours."""
        return min(t.minimum for t in self.theirs.values()) / self.ours.minimum

    @property
    def ratio_of_medians(self) -> float:
        """The same by medians: the smallest median by ours."""
        return self.theirs[self.best].median / self.ours.median


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
        The others, perhaps none.
    quiet, seconds
        As for `measure`.
    steps : int, default 3
        How many steps are compared.
    """
    wanted = ours.values(steps)
    largest = float(np.abs(wanted).max())
    difference = max((float(np.abs(c.values(steps) - wanted).max()) / largest for c in theirs), default=0.0)
    glance = {c.name: c.sample(1) for c in theirs}
    limit = CLOSE * min(glance.values(), default=0.0)
    close = [c for c in theirs if glance[c.name] <= limit]
    times = measure([ours, *close], quiet, seconds)
    slower = {name: s for name, s in glance.items() if name not in times}
    return Comparison(times[ours.name], {c.name: times[c.name] for c in close}, slower, difference)
