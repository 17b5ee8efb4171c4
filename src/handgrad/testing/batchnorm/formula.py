"""Formulas with places in which something else may stand: what it gives then is computed from the same text.

So the line that a report shows is the line that was compared with what came.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType
from typing import Any, NamedTuple

import numpy as np

from handgrad.typing import Array

MOST = 3
"""How many mistakes are looked for at once."""


class Mistake(NamedTuple):
    """What is wrong in words, the line of the formula without it and with it, and what to know about it."""

    text: str
    right: str = ""
    yours: str = ""
    why: str = ""


class Choice(NamedTuple):
    """What may stand in a place of a formula, and which mistake it is; none for the first choice."""

    code: str
    mistake: str = ""
    why: str = ""


@dataclass(frozen=True)
class Formula:
    """Lines ``name = expression``, evaluated in order.

    Attributes
    ----------
    lines : tuple of str
        With places as in ``"s = {s}"``. ``^`` is a power; ``sum`` goes over the letter ``axes``.
    places : dict of str to tuple of Choice
        What may stand there: the right one first.
    """

    lines: tuple[str, ...]
    places: dict[str, tuple[Choice, ...]]

    def evaluate(self, given: dict[str, Any], chosen: dict[str, Choice] | None = None) -> dict[str, Any]:
        """Return the value of every letter, with the right choices where none are given."""
        codes = self._codes(chosen or {})
        letters: dict[str, Any] = {**given, "sqrt": np.sqrt, "abs": np.abs}

        def total(a: Array, axis: Any = None) -> Array:
            result: Array = np.sum(a, axis=letters["axes"] if axis is None else axis, keepdims=True)
            return result

        letters["sum"] = total
        for line in self.lines:
            name, expression = line.format(**codes).split(" = ", 1)
            letters[name] = eval(_compiled(expression), {"__builtins__": {}}, letters)
        return letters

    def search(
        self, given: dict[str, Any], close: Callable[[dict[str, Any]], bool]
    ) -> tuple[tuple[Mistake, ...], dict[str, Any]] | None:
        """Return the fewest mistakes, at most `MOST`, with which it gives what came, and all it gives."""
        with np.errstate(all="ignore"):
            for count in range(MOST + 1):
                for wrong in itertools.combinations(self.places, count):
                    for choices in itertools.product(*(self.places[name][1:] for name in wrong)):
                        chosen = dict(zip(wrong, choices, strict=True))
                        letters = self.evaluate(given, chosen)
                        if close(letters):
                            return tuple(self._mistake(name, chosen) for name in wrong), letters
        return None

    def _codes(self, chosen: dict[str, Choice]) -> dict[str, str]:
        return {name: chosen.get(name, choices[0]).code for name, choices in self.places.items()}

    def _mistake(self, place: str, chosen: dict[str, Choice]) -> Mistake:
        (line,) = (line for line in self.lines if f"{{{place}}}" in line)
        right, yours = (tidy(line.format(**self._codes(c))) for c in ({}, chosen))
        return Mistake(chosen[place].mistake, right, yours, chosen[place].why)

    def line(self, name: str) -> str:
        """Return the right line of a letter."""
        (line,) = (line for line in self.lines if line.startswith(f"{name} = "))
        return tidy(line.format(**self._codes({})))


@lru_cache(maxsize=4096)
def _compiled(expression: str) -> CodeType:
    return compile(expression.replace("^", "**"), expression, "eval")


def tidy(line: str) -> str:
    """Return a line without the zeros that stand for what is missing."""
    line = re.sub(r"\(dy - \(0 \+ [\w*]+\*0\)[^)]*\)+", "dy", line)
    line = re.sub(r" \+ [\w()* -]+\*0\)", ")", line.replace("(0 + ", "("))
    line = re.sub(r"(?<=- )\(([\w*]+)\)", r"\1", line)
    return line.replace("1*(", "(")
