"""Convolution, pooling and the rest against loops that do what the definition says, one number at a time."""

from __future__ import annotations

import itertools
import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from handgrad.geometry import Window
from handgrad.kernels.reference import REFERENCE


@st.composite
def windows(draw, dilated):
    """Draw a window and the size of an image it fits."""
    size, kernel, strides, dilation, pads = [], [], [], [], []
    for _ in range(2):
        k, s, d = draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2 if dilated else 1))
        p = (draw(st.integers(0, k if dilated else k - 1)), draw(st.integers(0, k if dilated else k - 1)))
        least = max((k - 1) * d + 1 - sum(p), 1)
        size.append(draw(st.integers(least, least + 3)))
        for kept, value in ((kernel, k), (strides, s), (dilation, d), (pads, p)):
            kept.append(value)
    return Window(tuple(kernel), tuple(strides), tuple(dilation), tuple(pads)), tuple(size)


def pixels(window, size):
    """Yield (place, tap, pixel) wherever a tap of the window lies on the image."""
    (h, w), (oh, ow) = size, window.output_size(size)
    for a, b, i, j in itertools.product(range(oh), range(ow), *map(range, window.kernel)):
        y = a * window.strides[0] + i * window.dilation[0] - window.pads[0][0]
        x = b * window.strides[1] + j * window.dilation[1] - window.pads[1][0]
        if 0 <= y < h and 0 <= x < w:
            yield (a, b), (i, j), (y, x)


def random(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape)


@given(
    windows(dilated=True),
    st.sampled_from([1, 2, 3]),
    st.integers(1, 2),
    st.integers(1, 2),
    st.integers(0, 99),
)
@settings(max_examples=150)
def test_convolution(drawn, groups, c_per_group, k_per_group, seed):
    window, size = drawn
    c, k = groups * c_per_group, groups * k_per_group
    x, w, b = random(seed, 2, *size, c), random(seed + 1, *window.kernel, c_per_group, k), random(seed + 2, k)
    dy = random(seed + 3, 2, *window.output_size(size), k)
    y, dx, dw = np.zeros_like(dy) + b, np.zeros_like(x), np.zeros_like(w)
    for n, (place, tap, pixel) in itertools.product(range(2), pixels(window, size)):
        for o, ci in itertools.product(range(k), range(c_per_group)):
            i = (o // k_per_group) * c_per_group + ci  # the input channel that filter o's channel ci sees
            y[n, *place, o] += x[n, *pixel, i] * w[*tap, ci, o]
            dx[n, *pixel, i] += dy[n, *place, o] * w[*tap, ci, o]
            dw[*tap, ci, o] += dy[n, *place, o] * x[n, *pixel, i]
    close = {"rtol": 1e-12, "atol": 1e-13}
    np.testing.assert_allclose(REFERENCE.conv2d(x, w, b, window, groups), y, **close)
    np.testing.assert_allclose(REFERENCE.conv2d_backward_input(dy, w, x.shape, window, groups), dx, **close)
    np.testing.assert_allclose(REFERENCE.conv2d_backward_weight(dy, x, w.shape, window, groups), dw, **close)


@given(windows(dilated=False), st.integers(0, 99))
@settings(max_examples=150)
def test_max_pooling(drawn, seed):
    window, size = drawn
    x = random(seed, 2, *size, 2)
    dy = random(seed + 1, 2, *window.output_size(size), 2)
    y, dx, where = np.full_like(dy, -np.inf), np.zeros_like(x), {}
    for n, (place, _, pixel), c in itertools.product(range(2), pixels(window, size), range(2)):
        if x[n, *pixel, c] > y[n, *place, c]:
            y[n, *place, c] = x[n, *pixel, c]
            where[n, *place, c] = (n, *pixel, c)
    for place, pixel in where.items():
        dx[pixel] += dy[place]
    found, index = REFERENCE.max_pool2d(x, window)
    np.testing.assert_array_equal(found, y)
    np.testing.assert_allclose(
        REFERENCE.max_pool2d_backward(dy, index, x.shape, window), dx, rtol=1e-13, atol=1e-15
    )


@given(windows(dilated=False), st.booleans(), st.integers(0, 99))
@settings(max_examples=150)
def test_average_pooling(drawn, count_padding, seed):
    window, size = drawn
    x = random(seed, 2, *size, 2)
    dy = random(seed + 1, 2, *window.output_size(size), 2)
    places = list(pixels(window, size))
    counts = np.zeros(window.output_size(size))
    for place, _, _ in places:
        counts[place] += 1
    if count_padding:
        counts[...] = math.prod(window.kernel)
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for place, _, pixel in places:
        y[:, *place] += x[:, *pixel] / counts[place]
        dx[:, *pixel] += dy[:, *place] / counts[place]
    close = {"rtol": 1e-13, "atol": 1e-14}
    options = {"count_padding": count_padding}
    np.testing.assert_allclose(REFERENCE.average_pool2d(x, window, **options), y, **close)
    found = REFERENCE.average_pool2d_backward(dy, x.shape, window, **options)
    np.testing.assert_allclose(found, dx, **close)


def test_upsampling():
    x, dy = random(0, 2, 3, 2, 2), random(1, 2, 6, 6, 2)
    y, dx = np.zeros_like(dy), np.zeros_like(x)
    for a, b in itertools.product(range(6), range(6)):
        y[:, a, b] = x[:, a // 2, b // 3]
        dx[:, a // 2, b // 3] += dy[:, a, b]
    np.testing.assert_array_equal(REFERENCE.upsample2d(x, (2, 3)), y)
    np.testing.assert_allclose(REFERENCE.upsample2d_backward(dy, (2, 3)), dx, rtol=1e-14)


def test_batch_normalization():
    x, dy, gamma, beta = random(0, 7, 3), random(1, 7, 3), random(2, 3), random(3, 3)
    for c in range(3):
        mean = math.fsum(x[:, c]) / 7
        var = math.fsum((v - mean) ** 2 for v in x[:, c]) / 7
        s = 1 / math.sqrt(var + 1e-3)
        found_mean, found_var = REFERENCE.batch_norm_statistics(x)
        assert math.isclose(found_mean[c], mean, rel_tol=1e-14)
        assert math.isclose(found_var[c], var, rel_tol=1e-14)
        scale = 1 / np.sqrt(found_var + 1e-3)
        y = REFERENCE.batch_norm(x, found_mean, scale, gamma, beta)
        dx, dgamma, dbeta = REFERENCE.batch_norm_backward(dy, x, found_mean, scale, gamma)
        for i in range(7):
            assert math.isclose(y[i, c], gamma[c] * (x[i, c] - mean) * s + beta[c], rel_tol=1e-12)
            # the Jacobian of xhat, term by term: dxhat_k/dx_i
            total = sum(
                dy[k, c] * gamma[c] * s * ((k == i) - 1 / 7 - (x[k, c] - mean) * (x[i, c] - mean) * s * s / 7)
                for k in range(7)
            )
            assert math.isclose(dx[i, c], total, rel_tol=1e-11, abs_tol=1e-14)
        assert math.isclose(dbeta[c], math.fsum(dy[:, c]), rel_tol=1e-13)
        assert math.isclose(dgamma[c], math.fsum(dy[:, c] * (x[:, c] - mean) * s), rel_tol=1e-12)
