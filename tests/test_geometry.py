"""Output sizes and padding, against an enumeration of the places a window can take."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from handgrad.errors import ArgumentError, ShapeError
from handgrad.geometry import (
    Window,
    check_padding,
    image_shape,
    layer_window,
    pair,
    resolve_padding,
    resolve_window,
)
from handgrad.kernels.reference.windows import crop, pad, padded_shape, taps


def pairs(least, most):
    return st.tuples(st.integers(least, most), st.integers(least, most))


geometries = {
    "size": pairs(1, 12),
    "kernel": pairs(1, 5),
    "strides": pairs(1, 4),
    "dilation": pairs(1, 3),
}
paddings = st.one_of(
    st.sampled_from(["valid", "same"]), st.integers(0, 4), pairs(0, 4), st.tuples(pairs(0, 4), pairs(0, 4))
)


def places(n, kernel, stride, dilation, before, after):
    """Return the first pixel of every place, found by trying all of them."""
    return [
        start
        for start in range(-before, n + after)
        if (start + before) % stride == 0 and start + (kernel - 1) * dilation <= n + after - 1
    ]


@given(**geometries, padding=paddings)
def test_output_size_is_the_number_of_places(size, kernel, strides, dilation, padding):
    pads = resolve_padding(padding, size, kernel, strides, dilation)
    found = Window(kernel, strides, dilation, pads).output_size(size)
    counts = [
        len(places(*axis))
        for axis in zip(size, kernel, strides, dilation, *zip(*pads, strict=True), strict=True)
    ]
    assert [max(n, 0) for n in found] == counts


@given(**geometries)
def test_same_padding_gives_a_place_for_every_stride(size, kernel, strides, dilation):
    pads = resolve_padding("same", size, kernel, strides, dilation)
    expected = tuple(-(-n // s) for n, s in zip(size, strides, strict=True))
    assert Window(kernel, strides, dilation, pads).output_size(size) == expected


@given(**geometries)
def test_same_padding_is_the_least_that_does_and_even_or_one_more_at_the_end(size, kernel, strides, dilation):
    pads = resolve_padding("same", size, kernel, strides, dilation)
    for i, (before, after) in enumerate(pads):
        assert after - before in (0, 1)
        if after:
            less = [list(p) for p in pads]
            less[i][1] -= 1
            window = Window(kernel, strides, dilation, tuple(map(tuple, less)))
            assert window.output_size(size)[i] < -(-size[i] // strides[i])


@given(**geometries, padding=paddings)
def test_every_tap_of_every_place_lies_in_the_padded_image(size, kernel, strides, dilation, padding):
    window = Window(kernel, strides, dilation, resolve_padding(padding, size, kernel, strides, dilation))
    oh, ow = window.output_size(size)
    if min(oh, ow) < 1:
        return
    h, w = padded_shape((1, *size, 1), window)[1:3]
    rows, columns = np.arange(h), np.arange(w)
    for number, (_, down, across, _) in taps(window, (oh, ow)):
        i, j = divmod(number, kernel[1])
        assert rows[down].tolist() == [a * strides[0] + i * dilation[0] for a in range(oh)]
        assert columns[across].tolist() == [b * strides[1] + j * dilation[1] for b in range(ow)]


@given(size=pairs(1, 6), pads=st.tuples(pairs(0, 3), pairs(0, 3)))
def test_crop_undoes_pad(size, pads):
    x = np.arange(2 * size[0] * size[1] * 2, dtype=float).reshape(2, *size, 2)
    window = Window((1, 1), pads=pads)
    padded = pad(x, window, 7.0)
    assert padded.shape == padded_shape(x.shape, window)
    np.testing.assert_array_equal(crop(padded, window), x)
    assert np.sum(padded == 7.0) - np.sum(x == 7.0) == padded.size - x.size


@pytest.mark.parametrize(
    ("padding", "pads"),
    [
        ("valid", ((0, 0), (0, 0))),
        (2, ((2, 2), (2, 2))),
        ((1, 2), ((1, 1), (2, 2))),
        (((0, 1), (2, 3)), ((0, 1), (2, 3))),
        ([[0, 1], [2, 3]], ((0, 1), (2, 3))),
        (np.int64(2), ((2, 2), (2, 2))),
        ((np.int64(1), np.int64(2)), ((1, 1), (2, 2))),
        ("same", ((0, 1), (1, 2))),
    ],
    ids=str,
)
def test_forms_of_padding(padding, pads):
    check_padding(padding, "x")
    assert resolve_padding(padding, (5, 6), (2, 4), (1, 1), (1, 1)) == pads


@pytest.mark.parametrize(
    "padding",
    [
        "full",
        -1,
        True,
        1.5,
        None,
        (1,),
        (1, 2, 3),
        (1, -2),
        ((1, 2), 3),
        ((1,), (1, 2, 3)),
        ((1, 2), (3, -4)),
        (),
    ],
    ids=str,
)
def test_what_is_no_padding(padding):
    with pytest.raises(ArgumentError) as error:
        check_padding(padding, "conv2d (Conv2D) padding")
    assert str(error.value) == (
        'conv2d (Conv2D) padding: expected padding "valid", "same", an int, (rows, columns) or '
        f"((top, bottom), (left, right)), got {padding!r}"
    )


@pytest.mark.parametrize(
    ("value", "expected"), [(3, (3, 3)), ((2, 4), (2, 4)), ([2, 4], (2, 4)), (np.int8(3), (3, 3))]
)
def test_pair(value, expected):
    assert pair(value, "x") == expected
    assert all(type(v) is int for v in pair(value, "x"))


@pytest.mark.parametrize("value", [0, -1, 1.0, True, "3", None, (1,), (1, 2, 3), (1, 0), (1, 2.0)], ids=str)
def test_what_is_no_pair(value):
    with pytest.raises(ArgumentError) as error:
        pair(value, "conv (Conv2D) strides")
    assert (
        str(error.value)
        == f"conv (Conv2D) strides: expected an int or a pair of ints, at least 1, got {value!r}"
    )


def test_a_kernel_that_does_not_fit_is_an_error_that_says_so():
    with pytest.raises(ShapeError) as error:
        resolve_window((5, 2), (3, 3), (1, 1), (1, 1), "valid", "conv (Conv2D)")
    assert str(error.value) == (
        "conv (Conv2D): expected an image of at least 3x3 (what the kernel covers), got 5x2; "
        'use padding="same" or a smaller kernel'
    )
    with pytest.raises(ShapeError) as error:
        resolve_window((5, 2), (3, 3), (1, 1), (2, 2), (0, 1), "conv (Conv2D)")
    assert str(error.value) == (
        "conv (Conv2D): expected an image of at least 5x5 (what the kernel covers), got 5x4 with padding; "
        'use padding="same" or a smaller kernel'
    )


def test_image_shape():
    assert image_shape((4, 5, 6), "x") == (4, 5, 6)
    with pytest.raises(ShapeError) as error:
        image_shape((28, 28), "conv (Conv2D)")
    assert str(error.value) == (
        "conv (Conv2D): expected images (height, width, channels), got shape (28, 28); "
        "reshape to (height, width, channels); grey images have one channel"
    )


@pytest.mark.parametrize("padding", [[1, 2], [[0, 1], [2, 3]], (1, 2), ((0, 1), (2, 3))])
def test_a_layers_arguments_may_be_lists(padding):
    found = layer_window((9, 8), [3, 2], [2, 1], 1, padding, "conv")
    assert found == resolve_window((9, 8), (3, 2), (2, 1), (1, 1), padding, "conv")


def test_a_layers_arguments_are_checked_though_equal_ones_are_known():
    """True is equal to 1, and hashes as it does; so do numbers in tuples."""
    assert layer_window((9, 8), 1, 1, 1, 0, "conv") == Window((1, 1))
    assert layer_window((9, 8), (1, 1), (1, 1), (1, 1), (0, 1), "conv").kernel == (1, 1)
    single = [(True, 1, 1, 0), (1, True, 1, 0), (1, 1, True, 0), (1, 1, 1, True)]
    for wrong in [*single, ((1.0, 1), (1, 1), (1, 1), (0, 1)), ((1, 1), (1, 1), (1, 1), (0, True))]:
        with pytest.raises(ArgumentError, match="conv"):
            layer_window((9, 8), *wrong, "conv")
