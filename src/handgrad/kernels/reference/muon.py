"""One step of Muon, on a matrix, in place.

Unlike the steps in `handgrad.kernels.reference.update` this one mixes the elements of a parameter, so it
takes one at a time, as a matrix (rows, columns).
"""

from __future__ import annotations

import math

import numpy as np

from handgrad.typing import Array

__all__ = ["muon"]

A, B, C = 3.4445, -4.7750, 2.0315
"""Coefficients of the Newton-Schulz step, from K. Jordan et al., "Muon" (2024)."""


def muon(
    p: Array,
    g: Array,
    b: Array,
    *,
    lr: float,
    momentum: float,
    nesterov: bool,
    ns_steps: int,
    scale: float,
    keep_norm: bool,
    weight_decay: float = 0.0,
) -> None:
    """Move a matrix along its orthogonalized momentum.

    ::

        b <- momentum*b + g
        u  = g + momentum*b  with nesterov, else b
        p <- p*sqrt(columns)/||p||                     with keep_norm
        p <- (1 - lr*weight_decay)*p - lr*scale*orthogonalize(u)

    Parameters
    ----------
    p, g : (rows, columns)
        Parameters and gradient.
    b : (rows, columns)
        The velocity; 0 at first.
    ns_steps : int
        Of Newton-Schulz.
    scale : float
        What `lr` is multiplied with for a matrix of this shape.
    keep_norm : bool
        Whether p is first brought to the Frobenius norm sqrt(columns): one for each filter.
    """
    b *= momentum
    b += g
    u = orthogonalize(g + momentum * b if nesterov else b, ns_steps)
    factor = 1 - lr * weight_decay
    size, norm = _norm(p) if keep_norm else (1.0, 0.0)
    if size != 1:
        p /= size
    if norm > 0:
        factor *= math.sqrt(p.shape[1]) / norm
    p *= factor
    p -= (lr * scale) * u


def orthogonalize(g: Array, ns_steps: int) -> Array:
    """Bring the singular values of a matrix near 1 and leave its singular vectors.

    ::

        X = g/||g||
        X <- a X + (b XX^T + c (XX^T)^2) X             ns_steps times

    With ``g = U S V^T`` every step maps each singular value s to ``a s + b s^3 + c s^5``, a polynomial that
    is steep at 0, so that small ones grow 3.4 times a step, and ends near 1, at 0.68 to 1.14: exactly 1 would
    take more steps, and a decomposition far more time. A matrix that is 0 stays 0.
    """
    size, norm = _norm(g)
    if norm == 0:
        return np.zeros_like(g)
    X = (g / size if size != 1 else g) / norm
    wide = X.shape[0] <= X.shape[1]
    X = X if wide else X.T
    for _ in range(ns_steps):
        gram = X @ X.T
        X = A * X + (B * gram + C * (gram @ gram)) @ X
    return X if wide else X.T


def _norm(a: Array) -> tuple[float, float]:
    """Return what to divide by before, and the norm of what is left: 1, but where squares leave a's dtype."""
    with np.errstate(over="ignore", under="ignore"):
        norm = float(np.linalg.norm(a))
    if 1e-15 < norm < 1e15:
        return 1.0, norm
    size = float(np.max(np.abs(a), initial=0))
    return (size, float(np.linalg.norm(a / size))) if 0 < size < math.inf else (1.0, norm)
