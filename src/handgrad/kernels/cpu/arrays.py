"""Arrays as the extension module takes them."""

from __future__ import annotations

import numpy as np

from handgrad.typing import Array


def contiguous(a: Array) -> Array:
    """Return `a`, or a copy in C order and in the machine's byte order."""
    return np.ascontiguousarray(a, a.dtype.newbyteorder("="))
