"""Few combinations in which every two values of different axes meet: most mistakes take two to show."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

Combination = dict[str, Any]


def pairwise(
    axes: Mapping[str, Sequence[Any]], possible: Callable[[Combination], bool] = lambda _: True
) -> list[Combination]:
    """Return combinations, one value of each axis, with all the pairs of values that possible ones have.

    Of some random ones, each time that with the most pairs not seen yet is taken; the same on every run.
    """
    rng = np.random.default_rng(0)
    names = list(axes)
    sizes = [len(values) for values in axes.values()]
    unseen = {
        ((a, i), (b, j))
        for (a, m), (b, n) in itertools.combinations(enumerate(sizes), 2)
        for i, j in itertools.product(range(m), range(n))
    }

    def draw(fixed: tuple[tuple[int, int], ...]) -> tuple[int, ...]:
        chosen = rng.integers(0, sizes)
        for axis, i in fixed:
            chosen[axis] = i
        return tuple(int(i) for i in chosen)

    def combination(chosen: tuple[int, ...]) -> Combination:
        return {name: axes[name][i] for name, i in zip(names, chosen, strict=True)}

    combinations = []
    while unseen:
        wanted = min(unseen)
        drawn = [c for c in (draw(wanted) for _ in range(200)) if possible(combination(c))]
        if not drawn:  # this pair is impossible
            unseen.remove(wanted)
            continue
        best = max(drawn, key=lambda c: len(unseen & set(itertools.combinations(enumerate(c), 2))))
        unseen -= set(itertools.combinations(enumerate(best), 2))
        combinations.append(combination(best))
    return combinations
