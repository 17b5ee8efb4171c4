"""Comparisons with float64 where float32 ends: huge and denormal numbers, long sums.

What is right is what the reference computes in float64, which holds the squares of all numbers of float32.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from handgrad.kernels import Kernels
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import Call, converter
from tests.kernels.tables import COMPILED

MAX = float(np.finfo(np.float32).max)
SCALES = [1e-40, 1e-30, 1e-15, 1e15, 3e18, 1e19, 1e22, 1e30, 3e37]
"""Of numbers that are at most 4.5 times as large."""
float32, float64 = converter(np.float32), converter(np.float64)
each_scale = pytest.mark.parametrize("scale", SCALES, ids="{:g}".format)


def normal(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape)


def exact(call: Call) -> tuple[Any, ...]:
    """Return what float64 makes of the float32 arguments."""
    rounded_args = tuple(float64(float32(a)) if isinstance(a, np.ndarray) else a for a in call.args)
    return call.with_args(rounded_args).run(float64)


def check(call: Call, table: Kernels, rtol: float = 1e-5) -> None:
    """Compare with float64, relative to a result's largest number, but for hundreds of denormals."""
    with np.errstate(over="ignore", under="ignore"):
        found, right = call.run(float32, table), exact(call)
    for y, z in zip(found, right, strict=True):
        if z.dtype.kind != "f":
            np.testing.assert_array_equal(y, z)
            continue
        beyond = np.abs(z) > (MAX if y.dtype == np.float32 else np.inf)
        np.testing.assert_array_equal(y[beyond], np.copysign(np.inf, z[beyond]))
        size = np.max(np.abs(z[~beyond]), initial=0)
        np.testing.assert_allclose(
            y[~beyond], z[~beyond], rtol=0, atol=rtol * size + 5e-43, err_msg=str(call)
        )


def with_algorithm(table: Kernels, algorithm: int) -> Kernels:
    """Return a compiled table whose convolutions use one algorithm; the reference as it is."""
    if table is REFERENCE:
        return table
    from handgrad.kernels.cpu import cpu_kernels
    from handgrad.kernels.extension import load

    name = next(name for name, t in COMPILED.items() if t is table)
    return cpu_kernels(next(t for t in load().module.tables() if t.name == name), algorithm=algorithm)
