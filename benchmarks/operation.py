"""What is measured of an operation, and what its families share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from handgrad.bench import pytorch
from handgrad.kernels import default_kernels

KERNELS = default_kernels()
ATEN = torch.ops.aten


@dataclass(frozen=True)
class Operation:
    """What is measured: its work, and who does it.

    `show` brings what PyTorch returns into the order of handgrad's result.
    """

    name: str
    flops: float
    bytes: float
    ours: Callable[[], Any]
    theirs: dict[str, Callable[[], Any]]
    show: Callable[[Any], Any] = np.asarray


def filters(w: np.ndarray, layout: str) -> Any:
    """Return (kh, kw, c, k) as a tensor (k, c, kh, kw)."""
    return pytorch.images(w.transpose(3, 0, 1, 2), layout)


def as_images(y: Any) -> Any:
    return y.permute(0, 2, 3, 1)


def as_filters(dw: Any) -> Any:
    return dw.permute(2, 3, 1, 0)


def by_layout(make: Callable[[str], Callable[[], Any]]) -> dict[str, Callable[[], Any]]:
    return {f"torch {layout}": make(layout) for layout in pytorch.LAYOUTS}
