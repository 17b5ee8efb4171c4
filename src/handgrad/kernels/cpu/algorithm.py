"""Which algorithm computes a convolution: the cost rule, here and nowhere else.

Costs are in multiply-adds. A tile of M x M outputs takes ``9*M*M*c*k`` of them as sums of products, and by
Winograd's algorithm ``(M + 2)**2*c*k`` and three transforms: of c channels of input and k of output for every
tile, and of the ``c*k`` filters once. What the transforms cost was measured beside the products: a channel
of a tile takes as long as so many multiply-adds.

============  ========  =====  ======  ========
instructions  tile      input  output  filters
============  ========  =====  ======  ========
AVX-512       2 x 2       220     100       100
AVX-512       4 x 4       550     250       210
others        2 x 2       280     125       600
others        4 x 4       400     370      1400
============  ========  =====  ======  ========

AVX-512 was measured on one core of its machine, the others with AVX2 on Zen 3. What the filters cost there is
an estimate from passes over a single image, for which it decides, between 700 and 2700 for tiles of 4 x 4:
it includes what it takes to write them transformed and to read them again.
The transforms of the weight gradient are the same ones transposed. Channels count in whole vectors.
"""

from __future__ import annotations

from functools import lru_cache

from handgrad.geometry import Window
from handgrad.typing import Shape

DIRECT = 0
"""Sums of products."""

_AVX512 = 16, {2: (220, 100, 100), 4: (550, 250, 210)}
_OTHERS = 8, {2: (280, 125, 600), 4: (400, 370, 1400)}


@lru_cache(maxsize=4096)
def choose(
    instructions: str, x: Shape, w: Shape, window: Window, groups: int, algorithm: int | None = None
) -> int:
    """Return the tile of Winograd's algorithm, 4 or 2, or `DIRECT`, whichever costs least.

    Parameters
    ----------
    instructions : str
        Name of the compiled kernels' instruction set.
    x, w : (n, h, w, c), (kh, kw, c/groups, k)
        Shapes of images and filters.
    window, groups
        As of the convolution.
    algorithm : int, optional
        The only one to be used wherever it can be.
    """
    if not _fits(window, groups):
        return DIRECT
    if algorithm is not None:
        return algorithm
    return min((DIRECT, 2, 4), key=lambda tile: cost(tile, instructions, x, w, window))


def _fits(window: Window, groups: int) -> bool:
    """Return whether Winograd's algorithm computes this convolution."""
    geometry = (window.kernel, window.strides, window.dilation) == ((3, 3), (1, 1), (1, 1))
    # the gradient's padding is two minus this
    return geometry and groups == 1 and all(p <= 2 for pads in window.pads for p in pads)


def cost(tile: int, instructions: str, x: Shape, w: Shape, window: Window) -> float:
    """Return the multiply-adds, or what takes as long, of one pass of a 3x3 convolution."""
    (n, _, _, c), k = x, w[3]
    oh, ow = window.output_size((x[1], x[2]))
    if tile == DIRECT:
        return n * oh * ow * 9 * c * k
    tiles = n * -(-oh // tile) * -(-ow // tile)
    vector, transforms = _AVX512 if instructions == "avx512" else _OTHERS
    vectors_in, vectors_out = -(-c // vector) * vector, -(-k // vector) * vector
    each_input, each_output, each_filter = transforms[tile]
    products = (tile + 2) ** 2 * c * k
    return tiles * (products + each_input * vectors_in + each_output * vectors_out) + each_filter * c * k
