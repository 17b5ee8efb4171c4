"""How tests begin a process of their own that is to compute the same bits."""

from __future__ import annotations

import os
import sys

import handgrad as hg


def environment() -> dict[str, str]:
    """Return the environment: this package, and as many threads as here."""
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "HANDGRAD_THREADS": str(hg.get_threads()),
        "OMP_NUM_THREADS": "1",
    }
