"""Which algorithm computes a convolution: the cost rule, here and nowhere else.

Costs are in multiply-adds. A tile of M x M outputs of R x R taps takes ``R*R*M*M*c*k`` of them as sums of
products, and by Winograd's algorithm ``(M + R - 1)**2*c*k``, at stride 2 ``(2*M + 1)**2*c*k``, and three
transforms: of c channels of input and k of output for every tile, and of the ``c*k`` filters once. What the
transforms cost was measured beside the products: a channel of a tile takes as long as so many multiply-adds.
A short tile (docs/kernels.md) counts by its share of the points.

============  =======  ======  ========  =====  ======  ========
instructions  filters  stride  tile      input  output  filters
============  =======  ======  ========  =====  ======  ========
AVX-512       3 x 3    1       2 x 2       220     100       600
AVX-512       3 x 3    1       4 x 4       550     250      1300
AVX-512       5 x 5    1       2 x 2       550     150      3500
AVX-512       3 x 3    2       4 x 4      1900     900      4000
others        3 x 3    1       2 x 2       280     125       600
others        3 x 3    1       4 x 4       400     370      1400
others        5 x 5    1       2 x 2       410     430      4000
others        3 x 3    2       4 x 4      1500     900      6000
============  =======  ======  ========  =====  ======  ========

AVX-512 was measured on Zen 4, except for filters of 5 x 5, guessed from those of 3 x 3; the others with AVX2
on Zen 3, at stride 2 on Zen 4. What the filters cost was fitted to passes over one image or few, for which it
decides, and includes what it takes to write them transformed and to read them again.
The transforms of the weight gradient are the same ones transposed. Channels count in whole vectors.

Of filters that were packed before, what counts is to read them: one image leaves no time to keep them in a
cache until the next. A number that comes from memory takes as long as 13 multiply-adds (two threads on Zen 3,
20 GB/s beside 65 thousand million multiply-adds a second); one that is packed as bfloat16 half as long.

Where bfloat16 is multiplied in pairs (AVX512_BF16), sums of products take half as many instructions, and half
as long: 360 to 400 in place of 200 GFLOP/s on two Zen 4 cores. Up to 16 channels they gain nothing and up to
32 less than half, as there numbers are moved more than multiplied. In matrix registers (AMX) they count an
eighth: 1700 to 3800 in place of 350 GFLOP/s on two cores of a Xeon. No transforms take less.
"""

from __future__ import annotations

from functools import lru_cache

from handgrad.geometry import Window
from handgrad.typing import Shape

DIRECT = 0
"""Sums of products."""

IN_PAIRS = "bf16"
"""How the names of those sets end that multiply bfloat16 in pairs."""

IN_REGISTERS = "amx"
"""How the names of those sets end that multiply bfloat16 in matrix registers."""

_AVX512 = (
    16,
    {
        (3, 1, 2): (220, 100, 600),
        (3, 1, 4): (550, 250, 1300),
        (5, 1, 2): (550, 150, 3500),
        (3, 2, 4): (1900, 900, 4000),
    },
)
_OTHERS = (
    8,
    {
        (3, 1, 2): (280, 125, 600),
        (3, 1, 4): (400, 370, 1400),
        (5, 1, 2): (410, 430, 4000),
        (3, 2, 4): (1500, 900, 6000),
    },
)
_READ = 13
_FEW = 16
_REGISTERS = 8
TILES = {(3, 1): (2, 4), (5, 1): (2,), (3, 2): (4,)}
"""Tiles of outputs of Winograd's algorithm, by the taps of a row of a filter and the stride."""


@lru_cache(maxsize=4096)
def choose(
    instructions: str,
    x: Shape,
    w: Shape,
    window: Window,
    groups: int,
    algorithm: int | None = None,
    packed: bool = False,
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
    packed : bool, default False
        Whether the filters were packed before.
    """
    possible = DIRECT, *_tiles(window, groups)
    if algorithm is not None:
        return algorithm if algorithm in possible else DIRECT
    return min(possible, key=lambda tile: cost(tile, instructions, x, w, window, packed=packed))


def _tiles(window: Window, groups: int) -> tuple[int, ...]:
    """Return the tiles by which Winograd's algorithm computes this convolution; none where it does not."""
    (taps, _), (stride, _) = window.kernel, window.strides
    geometry = (window.kernel, window.strides, window.dilation) == ((taps, taps), (stride, stride), (1, 1))
    # the gradient's padding is taps - 1 minus this
    fits = geometry and groups == 1 and all(p < taps for pads in window.pads for p in pads)
    (top, _), (left, _) = window.pads
    if stride == 2 and top % 2 != left % 2:  # rows and columns would begin differently
        return ()
    return TILES.get((taps, stride), ()) if fits else ()


def cost(tile: int, instructions: str, x: Shape, w: Shape, window: Window, *, packed: bool = False) -> float:
    """Return the multiply-adds, or what takes as long, of one pass of a convolution."""
    (n, _, _, c), k = x, w[3]
    oh, ow = window.output_size((x[1], x[2]))
    taps, stride = window.kernel[0], window.strides[0]
    if tile == DIRECT:
        terms: float = c
        read: float = _READ * c if packed else 0
        if instructions.endswith(IN_PAIRS):
            terms, read = max(-(-c // 2), min(c, _FEW)), read / 2
        elif instructions.endswith(IN_REGISTERS):
            terms, read = c / _REGISTERS, read / 2
        return (n * oh * ow * terms + read) * taps**2 * k
    vector, transforms = _AVX512 if instructions.startswith(("avx512", IN_REGISTERS)) else _OTHERS
    vectors_in, vectors_out = -(-c // vector) * vector, -(-k // vector) * vector
    each_input, each_output, each_filter = transforms[taps, stride, tile]
    of_tile = _points(tile, tile, taps, stride) ** 2
    if packed:
        each_filter = _READ * of_tile
    short = _short(oh, ow) if tile == 4 and stride == 1 else 0
    points = n * _points(oh, tile, taps, stride, short) * _points(ow, tile, taps, stride, short)
    of_transforms = (each_input * vectors_in + each_output * vectors_out) / of_tile
    return points * (c * k + of_transforms) + each_filter * c * k


def _short(rows: int, columns: int) -> int:
    """Return the outputs of a short tile beside those of 4, in one direction, as csrc/winograd.cc does."""
    return next((size % 4 for size in (columns, rows) if size % 4 >= 2), 0)


def _points(size: int, tile: int, taps: int, stride: int, short: int = 0) -> int:
    """Return the points of all tiles, in one direction; the last one is short if that covers what is left."""
    whole, left = divmod(size, tile)
    if stride == 2:
        return -(-size // tile) * (2 * tile + 1)
    last = short if left == short else tile
    return whole * (tile + taps - 1) + (last + taps - 1 if left else 0)
