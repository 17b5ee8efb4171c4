"""JSON with values that nobody meant, for the fuzzers."""

from __future__ import annotations

import copy
from collections.abc import Iterator
from random import Random
from typing import Any

INF = float("inf")
ODD = [
    None, float("nan"), INF, -INF, -1, 0, 1, 2, 1.5, -0.5, 2**31, 2**63, -(2**63), 2**64, 10**30,
    1e-320, 1e308,
    "", "x", "same", "relu", "he_normal", "Infinity", "float64", "int32", "object", "Layer", "Merge", "Dense",
    "../x", "\ud800", "\x1b[31m", "y" * 3000, True, False,
    [], {}, [[]], {"a": 1}, [1, 2], [0, 0], [-1, -1], [[0, 1], [2, 0]], [[[[[]]]]], [2**31, 2**31],
    {"class": "Constant"}, {"class": "Dirac", "value": 3}, {"class": 5},
]  # fmt: skip
KEYS = ["x", "name", "units", "inputs", "class", "shares", "module", "trainable", ""]


def mutated(value: Any, rng: Random) -> Any:
    """Return JSON in which up to three values are replaced, left out or added, anywhere in it."""
    value = copy.deepcopy(value)
    for _ in range(rng.choice([1, 1, 1, 2, 3])):
        places = [path for path in _paths(value) if path]
        if not places:
            return copy.deepcopy(rng.choice(ODD))
        *way, last = rng.choice(places)
        holder = value
        for key in way:
            holder = holder[key]
        how, odd = rng.random(), copy.deepcopy(rng.choice(ODD))
        if how < 0.7:
            holder[last] = odd
        elif how < 0.85:
            del holder[last]
        elif isinstance(holder, dict):
            holder[rng.choice(KEYS)] = odd
        else:
            holder.insert(0, odd)
    return value


def _paths(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in items:
        yield from _paths(inner, (*path, key))
