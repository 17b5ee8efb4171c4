"""Calling the code under test, and saying of what came how far off it is and what shape or dtype is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.testing.batchnorm.formula import Mistake
from handgrad.typing import Array, Shape

UNKNOWN = "no mistake that this check knows gives it"


class UnusableError(Exception):
    """A function failed, or returned what cannot be looked at."""

    def __init__(self, text: str, right: str = "", why: str = "") -> None:
        super().__init__(text)
        self.mistake = Mistake(text, right, why=why)


def call(part: str, function: Callable[..., Any], *arguments: Any) -> Any:
    """Return what a function returns; raise UnusableError for what it raises."""
    try:
        with np.errstate(all="ignore"):
            return function(*arguments)
    except Exception as error:
        shapes = ", ".join(str(a.shape) if isinstance(a, np.ndarray) else type(a).__name__ for a in arguments)
        raise UnusableError(
            f"{part} raises {type(error).__name__}: {error}", why=f"it was called with {shapes}"
        ) from error


def several(part: str, result: Any, count: int, signature: str) -> tuple[Any, ...]:
    """Return a result of `count` values."""
    if isinstance(result, tuple | list) and len(result) == count:
        return tuple(result)
    got = f"{len(result)} values" if isinstance(result, tuple | list) else f"one {type(result).__name__}"
    got = "nothing" if result is None else got
    raise UnusableError(f"{part} returns {got}", signature)


def shaped(name: str, a: Any, shape: Shape) -> Array:
    """Return what must have x's shape."""
    if np.shape(a) != shape:
        raise UnusableError(f"{name} has the shape {np.shape(a)}", f"{name} of x's shape, {shape}")
    return np.asarray(a)


def error_of(got: Array, right: Array) -> float:
    """Return the length of the deviation relative to that of what is right; infinity where it is NaN."""
    if got.shape != right.shape:
        return math.inf
    with np.errstate(all="ignore"):
        error = float(np.linalg.norm(got - right) / max(float(np.linalg.norm(right)), 1e-300))
    return error if math.isfinite(error) else math.inf


def worst(got: Array, right: Array) -> str:
    """Say where the deviation is largest."""
    off = np.nan_to_num(np.abs(got - right), nan=np.inf)
    index = tuple(int(i) for i in np.unravel_index(int(np.argmax(off)), off.shape))
    place = index[0] if len(index) == 1 else index
    return f"worst at {place}: {got[index]:.6g} in place of {right[index]:.6g}"


def written(part: str, arrays: dict[str, Array], given: dict[str, Array]) -> list[Mistake]:
    """Return a mistake for each array that a function has written into."""
    return [
        Mistake(
            f"{part} writes into {name}",
            f"{name} = {name} - ..., a new array",
            f"{name} -= ..., or {name}[...] = ...",
            f"{name} belongs to the caller, who may still need it",
        )
        for name, a in arrays.items()
        if not np.array_equal(a, given[name])
    ]


def dtype_mistake(names: list[str], given: Any, got: Any) -> Mistake:
    """Say that a dtype is not kept."""
    why = "np.zeros, np.ones and np.float64 numbers are float64 and make everything so: twice the memory"
    if given == np.float64:
        why = "a gradient can be checked to its last digits in float64 alone: take the dtype from x"
    come = "comes" if len(names) == 1 else "come"
    text = f"{np.dtype(given).name} goes in, {', '.join(names)} {come} out as {np.dtype(got).name}"
    return Mistake(text, f"{', '.join(names)} of x's dtype", why=why)


def shape_mistake(name: str, got: Array, right: Array, terms: Array, line: str, tolerance: float) -> Mistake:
    """Say what is wrong with the shape of dgamma or dbeta, a sum of `terms`."""
    wanted = f"{name} of {name[1:]}'s shape, {right.shape}"
    if error_of(got, terms) <= tolerance:
        unsummed = line.replace("sum(", "").replace(")", "")
        return Mistake(
            "the sum is missing", line, unsummed, "one number is used for all values of the channel"
        )
    if error_of(got, terms.sum(axis=0)) <= tolerance:
        return Mistake(
            "it is summed over the batch alone",
            f"{line} over every axis but the last",
            f"{line} over axis 0",
            "gamma and beta are used at every place of the image, too",
        )
    if error_of(got, terms.sum()) <= tolerance:
        return Mistake(
            "it is summed over the channels, too",
            f"{line} over every axis but the last",
            f"{line} over all axes",
            "every channel has a gamma and a beta of its own",
        )
    why = ""
    if got.size == right.size and error_of(got.reshape(right.shape), right) <= tolerance:
        why = "its values are right: sum without keepdims=True, or reshape"
    return Mistake(f"it has the shape {got.shape}", wanted, why=why)


def unknown_output(x: Array, y: Array, slope: Array) -> Mistake:
    """Say of a y that no known mistake gives whether it is a line of x in every channel, and which."""
    right = "y = gamma*s*(x - mean) + beta"
    if not np.isfinite(y).all():
        return Mistake(f"it holds {'NaN' if np.isnan(y).any() else 'infinity'}", right)
    c = x.shape[-1]
    rows, ys = x.reshape(-1, c), y.reshape(-1, c)
    ratios = []
    for k in range(c):
        basis = np.stack([rows[:, k], np.ones(len(rows))], axis=1)
        line = np.linalg.lstsq(basis, ys[:, k], rcond=None)[0]
        if np.linalg.norm(ys[:, k] - basis @ line) > 1e-6 * np.linalg.norm(ys[:, k]):
            mixed = "in a channel it is no line a*x + b: values of other channels or places are mixed in"
            return Mistake(UNKNOWN, right, why=mixed)
        ratios.append(float(line[0] / slope[k]))
    times = ", ".join(f"{r:.4g}" for r in ratios)
    if np.allclose(ratios, 1, rtol=1e-6):
        return Mistake(UNKNOWN, right, why="in each channel a constant is off: look at mean and beta")
    return Mistake(UNKNOWN, right, why=f"in each channel it is a line, {times} times as steep as gamma*s")
