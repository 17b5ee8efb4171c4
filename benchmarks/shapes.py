"""What is measured, in numbers: the shapes of convolutions, and random arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from handgrad.geometry import Window
from handgrad.rng import Stream


@dataclass(frozen=True)
class Conv:
    """A convolution of n square images, padded by half its kernel if not told otherwise."""

    n: int
    c: int
    h: int
    k: int
    kernel: int = 3
    stride: int = 1
    groups: int = 1
    pad: int | None = None

    def __str__(self) -> str:
        extra = f" /{self.stride}" * (self.stride > 1)
        if self.groups > 1:
            extra += " depthwise" if self.groups == self.c else f" {self.groups} groups"
        if self.pad is not None:
            extra += f" pad {self.pad}"
        return f"conv {self.kernel}x{self.kernel}{extra} {self.n}x{self.h}x{self.h}x{self.c}-{self.k}"

    @property
    def window(self) -> Window:
        p = self.kernel // 2 if self.pad is None else self.pad
        return Window((self.kernel,) * 2, (self.stride,) * 2, (1, 1), ((p, p), (p, p)))

    @property
    def filters(self) -> tuple[int, int, int, int]:
        """The shape of the filters."""
        return self.kernel, self.kernel, self.c // self.groups, self.k


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return Stream((seed, *shape)).normal(shape)
