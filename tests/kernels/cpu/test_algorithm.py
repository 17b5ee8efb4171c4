"""What a convolution costs by each algorithm."""

import pytest

from handgrad.geometry import Window
from handgrad.kernels.cpu.algorithm import DIRECT, choose, cost

SAME = Window((3, 3), pads=((1, 1), (1, 1)))
MANY = 10**9
"""So many channels, and images, that products are all that counts."""


def products(tile, rows, columns):
    """Return the multiplications for one image, a channel and a filter."""
    return cost(tile, "avx2", (MANY, rows, columns, MANY), (3, 3, MANY, MANY), SAME) / MANY**3


@pytest.mark.parametrize(
    ("rows", "columns", "points"),
    [
        (8, 8, 12 * 12),  # two tiles of 6 points each way
        (7, 7, 11 * 11),  # 4 + 3 outputs: 6 + 5 points
        (6, 6, 10 * 10),
        (5, 5, 12 * 12),  # one output alone takes a whole tile
        (7, 8, 11 * 12),
        (8, 7, 12 * 11),
        (6, 7, 12 * 11),  # short tiles have one size, that of the columns
        (3, 3, 5 * 5),
    ],
)
def test_a_short_tile_counts_with_the_points_that_it_has(rows, columns, points):
    assert products(4, rows, columns) == pytest.approx(points, rel=1e-5)


def test_tiles_of_two_have_no_short_ones():
    assert products(2, 7, 7) == pytest.approx(16 * 16, rel=1e-5)


@pytest.mark.parametrize(("size", "expected"), [(1, DIRECT), (2, 2), (3, 4), (7, 4), (32, 4)])
def test_small_images_of_many_channels_take_the_tiles_that_cover_them(size, expected):
    assert choose("avx2", (128, size, size, 256), (3, 3, 256, 256), SAME, 1) == expected


def test_at_stride_2_a_tile_has_nine_points_for_four_outputs():
    window = Window((3, 3), strides=(2, 2), pads=((1, 1), (1, 1)))
    images, filters = (MANY, 16, 17, MANY), (3, 3, MANY, MANY)
    assert cost(4, "avx2", images, filters, window) / MANY**3 == pytest.approx(2 * 9 * 3 * 9, rel=1e-5)
    assert cost(DIRECT, "avx2", images, filters, window) / MANY**3 == 8 * 9 * 9


@pytest.mark.parametrize(
    ("strides", "pads", "expected"),
    [
        ((2, 2), ((1, 1), (1, 1)), 4),
        ((2, 2), ((0, 1), (0, 1)), 4),
        ((2, 2), ((0, 1), (2, 0)), 4),
        ((2, 2), ((1, 1), (0, 1)), DIRECT),  # whose rows and columns begin differently
        ((2, 2), ((3, 1), (1, 1)), DIRECT),
        ((2, 1), ((1, 1), (1, 1)), DIRECT),
        ((3, 3), ((1, 1), (1, 1)), DIRECT),
    ],
)
def test_strides_that_tiles_can_have(strides, pads, expected):
    window = Window((3, 3), strides=strides, pads=pads)
    assert choose("avx2", (128, 32, 32, 128), (3, 3, 128, 128), window, 1, algorithm=4) == expected


@pytest.mark.parametrize(
    ("images", "filters", "expected"),
    [
        ((128, 32, 32, 64), 128, 4),
        ((128, 8, 8, 256), 512, 4),
        ((1, 32, 32, 64), 128, DIRECT),  # of few images, more would go into filters than into products
        ((128, 32, 32, 3), 64, DIRECT),
        ((128, 9, 9, 64), 64, DIRECT),  # five outputs a side: two tiles
    ],
)
def test_what_tiles_are_worth_at_stride_2(images, filters, expected):
    window = Window((3, 3), strides=(2, 2), pads=((1, 1), (1, 1)))
    for instructions in ("avx2", "avx512"):
        assert choose(instructions, images, (3, 3, images[3], filters), window, 1) == expected
