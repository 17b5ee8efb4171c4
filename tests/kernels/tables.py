"""The tables of kernels that tests run over: the reference, and what is compiled for this machine."""

from __future__ import annotations

import pytest

from handgrad.kernels import Kernels, tables
from handgrad.kernels.extension import load
from handgrad.kernels.reference import REFERENCE

SETS = {s.name: s for s in [*module.tables(), *module.emulated()]} if (module := load().module) else {}
"""The compiled instruction sets, and the emulations "plainbf16" of AVX512_BF16 and "plainamx" of AMX."""

COMPILED = {name: table for name, table in tables().items() if name in SETS and SETS[name].of_floats == name}
"""By instruction set, those that differ in float32; none where handgrad has no compiled kernels."""

TABLES = {"reference": REFERENCE, **COMPILED}


def in_bfloat16() -> dict[str, Kernels]:
    """Return the tables that store activations in bfloat16."""
    from handgrad.kernels.bfloat16 import bfloat16_kernels
    from handgrad.kernels.cpu import cpu_kernels

    found = {name: table for name, table in tables("bfloat16").items() if name != "cpu"}
    return found | {name: bfloat16_kernels(cpu_kernels(s)) for name, s in SETS.items() if name not in found}


each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
each_compiled = pytest.mark.parametrize("table", COMPILED.values(), ids=COMPILED.keys())
"""Skips where there is none."""
