"""Dropout, compiled (csrc/dropout.cc); contracts as in `handgrad.kernels.reference.dropout`."""

from __future__ import annotations

from typing import Any

import numpy as np

from handgrad.kernels.cpu.arrays import contiguous, is_float32
from handgrad.rng import Stream
from handgrad.typing import Array

__all__ = ["dropout", "dropout_backward"]


def covers(x: Any, mask: Any, *_: Any, **__: Any) -> bool:
    """Whether x is float32 and the mask, in a backward, booleans of its shape."""
    return is_float32(x) and (not isinstance(mask, np.ndarray) or (mask.dtype, mask.shape) == (bool, x.shape))


def dropout(cpu: Any, x: Array, rate: float, stream: Stream) -> tuple[Array, Array]:
    """Return ``y = x*mask/(1 - rate)`` and the mask."""
    y, mask = np.empty(x.shape, np.float32), np.empty(x.shape, bool)
    cpu.dropout(contiguous(x), *stream.philox_key(), 1 - rate, y, mask)
    return y, mask


def dropout_backward(cpu: Any, dy: Array, mask: Array, rate: float) -> Array:
    """Return ``dx = dy*mask/(1 - rate)``."""
    dx = np.empty(dy.shape, np.float32)
    cpu.dropout_backward(contiguous(dy), contiguous(mask), 1 - rate, dx)
    return dx
