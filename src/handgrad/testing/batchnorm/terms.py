"""Which term of dx is off, when no known mistake gives it.

In every channel dx is a sum of dy, a constant and xhat: the direct term, that through the mean and that
through the variance. So least squares find the three coefficients, and their ratios to what they must be are
compared with the factors that are often forgotten.
"""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np

from handgrad.testing.batchnorm.formula import Mistake
from handgrad.testing.batchnorm.formulas import DX
from handgrad.typing import Array

CLOSE = 1e-6
TERMS = {
    "the direct term": "gamma*s*dy",
    "the term through the mean": "-gamma*s*dbeta/m",
    "the term through the variance": "-gamma*s*xhat*dgamma/m",
}
CUBED = "dvar has s^3: the power -1/2 becomes -3/2"
WHY = {
    "the term through the variance is doubled": "the derivative of (var + epsilon)^(-1/2) begins with -1/2",
    "the term through the variance is halved": "the derivative of (x - mean)^2 begins with 2",
    "the term through the variance lacks a factor s": CUBED,
    "the term through the variance lacks a factor s^2": CUBED,
}


def take_apart(
    dx: Array, dy: Array, xhat: Array, s: Array, var: Array, gamma: Array, *, constant: bool = False
) -> tuple[Mistake, ...]:
    """Return which of the terms are off.

    Parameters
    ----------
    dx : (..., c)
        What came.
    dy, xhat : (..., c)
        Upstream gradient, and normalized values.
    s, var, gamma : (c,)
        As in the reference kernel.
    constant : bool
        Whether there must be the direct term alone.
    """
    c = dy.shape[-1]
    rows, m = dx.reshape(-1, c), dx.size // c
    dy_rows, xhat_rows = dy.reshape(-1, c), xhat.reshape(-1, c)
    found = np.zeros((3, c))
    for k in range(c):
        basis = np.stack([dy_rows[:, k], np.ones(m), xhat_rows[:, k]], axis=1)
        found[:, k] = np.linalg.lstsq(basis, rows[:, k], rcond=None)[0]
        left = float(np.linalg.norm(rows[:, k] - basis @ found[:, k]))
        if not left <= CLOSE * float(np.linalg.norm(rows[:, k])):
            return (_mixed(constant),)
    dbeta, dgamma = dy_rows.sum(axis=0), (dy_rows * xhat_rows).sum(axis=0)
    if constant:
        names = ["the direct term"]
        ratios = found[:1] / (gamma * s)
    else:
        names = list(TERMS)
        ratios = found / np.stack([gamma * s, -gamma * s * dbeta / m, -gamma * s * dgamma / m])
        if np.allclose(ratios, ratios[0], rtol=CLOSE):
            names, ratios = ["dx as a whole"], ratios[:1]
    factors = _factors(gamma, s, var, m, len(dy), c)
    off = [(name, r) for name, r in zip(names, ratios, strict=True) if not np.allclose(r, 1, rtol=CLOSE)]
    texts = [(name, f"{name} {_named(ratio, factors)}") for name, ratio in off]
    return tuple(
        Mistake(text, f"{name}: {TERMS.get(name, DX.removeprefix('dx = '))}", why=WHY.get(text, ""))
        for name, text in texts
    )


def _mixed(constant: bool) -> Mistake:
    return Mistake(
        "in a channel it is no sum of dy, a constant and xhat",
        "dx = gamma*s*dy" if constant else DX,
        why="values of other channels or places are mixed in, or an array was changed on the way: look at "
        "the axes of the sums, and for -= and *=",
    )


def _named(ratio: Array, factors: dict[str, Any]) -> str:
    for count in (1, 2):
        for several in itertools.combinations(factors.items(), count):
            product = np.ones_like(ratio)
            for _, factor in several:
                product = product * factor
            if np.allclose(ratio, product, rtol=CLOSE, atol=CLOSE):
                return " and ".join(text for text, _ in several)
    low, high = float(ratio.min()), float(ratio.max())
    return (
        f"is {low:.3g} to {high:.3g} times what it must be, by the channel"
        if high - low > CLOSE
        else (f"is {low:.4g} times what it must be")
    )


def _factors(gamma: Array, s: Array, var: Array, m: int, n: int, c: int) -> dict[str, Any]:
    bare = 1 / np.sqrt(var)
    factors: dict[str, Any] = {
        "is missing": 0.0,
        "has the wrong sign": -1.0,
        "lacks gamma": 1 / gamma,
        "has gamma twice": gamma,
        "lacks a factor s": 1 / s,
        "lacks a factor s^2": 1 / s**2,
        "has a factor s too many": s,
        "lacks epsilon in s": bare / s,
        "lacks epsilon in s^3": (bare / s) ** 3,
        "is doubled": 2.0,
        "is halved": 0.5,
        "is not divided by m": float(m),
        "is divided by m once too often": 1 / m,
        "is divided by m - 1": m / (m - 1),
        "is divided by the size of x": 1 / c,
    }
    return factors if m == n else factors | {f"is divided by the batch, n = {n}, not by m = {m}": m / n}
