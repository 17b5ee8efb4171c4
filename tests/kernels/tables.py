"""The tables of kernels that tests run over: the reference, and what is compiled for this machine."""

from __future__ import annotations

import pytest

from handgrad.kernels import tables
from handgrad.kernels.reference import REFERENCE

COMPILED = {name: table for name, table in tables().items() if name not in ("cpu", "reference")}
"""By instruction set; none where handgrad is installed without compiled kernels."""

TABLES = {"reference": REFERENCE, **COMPILED}

each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())
each_compiled = pytest.mark.parametrize("table", COMPILED.values(), ids=COMPILED.keys())
"""Skips where there is none."""
