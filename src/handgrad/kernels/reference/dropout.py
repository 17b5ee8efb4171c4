"""Dropout: numbers set to zero at random, and the others scaled up."""

from __future__ import annotations

from handgrad.kernels.reference.namespace import array_namespace
from handgrad.rng import Stream
from handgrad.typing import Array

__all__ = ["dropout", "dropout_backward"]


def dropout(x: Array, rate: float, stream: Stream) -> tuple[Array, Array]:
    """Return ``y = x*mask/(1 - rate)`` and the mask, true with probability ``1 - rate``.

    Parameters
    ----------
    x : any shape
        Input.
    rate : float
        The share that is dropped, 0 <= rate < 1.
    stream : Stream
        Where the mask comes from: ``stream.keep(x.shape, 1 - rate)``, bit for bit, whatever computes it.

    Returns
    -------
    y : of x's shape
        NaN stays NaN, also where it is dropped, and what is infinite and dropped is NaN.
    mask : of x's shape, booleans
    """
    mask = array_namespace(x).asarray(stream.keep(x.shape, 1 - rate))
    return x * _factor(x, mask, rate), mask


def dropout_backward(dy: Array, mask: Array, rate: float) -> Array:
    """Return ``dx = dy*mask/(1 - rate)``."""
    return dy * _factor(dy, mask, rate)


def _factor(x: Array, mask: Array, rate: float) -> Array:
    xp = array_namespace(x, mask)
    kept, dropped = xp.asarray(1 / (1 - rate), dtype=x.dtype), xp.asarray(0, dtype=x.dtype)
    return xp.where(mask, kept, dropped)
