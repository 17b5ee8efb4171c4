"""Muon's step: singular values follow the polynomial, singular vectors stay."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.kernels.reference.muon import A, B, C, muon, orthogonalize

shapes = pytest.mark.parametrize("shape", [(5, 5), (9, 4), (4, 9), (1, 6), (6, 1), (1, 1)], ids=str)


@shapes
@pytest.mark.parametrize("steps", [1, 3, 5])
def test_singular_values_follow_the_polynomial_and_vectors_stay(shape, steps):
    g = np.random.default_rng(0).normal(size=shape)
    U, s, Vt = np.linalg.svd(g, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(steps):
        s = A * s + B * s**3 + C * s**5
    np.testing.assert_allclose(orthogonalize(g, steps), (U * s) @ Vt, rtol=1e-12, atol=1e-13)


def test_five_steps_bring_singular_values_near_one():
    g = np.random.default_rng(1).normal(size=(64, 32))  # condition about 6
    s = np.linalg.svd(orthogonalize(g, 5), compute_uv=False)
    assert s.min() > 0.68
    assert s.max() < 1.14


def test_a_gradient_of_zeros_stays_and_of_nan_does_not_hide():
    np.testing.assert_array_equal(orthogonalize(np.zeros((2, 3)), 5), 0)
    p, b = np.ones((2, 2)), np.zeros((2, 2))
    muon(
        p,
        np.full((2, 2), np.nan),
        b,
        lr=1.0,
        momentum=0.5,
        nesterov=False,
        ns_steps=1,
        scale=1.0,
        keep_norm=False,
    )
    assert np.isnan(p).all()


@shapes
@pytest.mark.parametrize("nesterov", [False, True])
@pytest.mark.parametrize("keep_norm", [False, True])
def test_two_steps_are_the_formula(shape, nesterov, keep_norm):
    rng = np.random.default_rng(2)
    p, b = rng.normal(size=shape), np.zeros(shape)
    expected, velocity = p.copy(), b.copy()
    for _ in range(2):
        g = rng.normal(size=shape)
        before = g.copy()
        muon(
            p, g, b,
            lr=0.1, momentum=0.6, nesterov=nesterov, ns_steps=3, scale=0.5, keep_norm=keep_norm,
            weight_decay=0.2,
        )  # fmt: skip
        np.testing.assert_array_equal(g, before)
        velocity = 0.6 * velocity + g
        u = g + 0.6 * velocity if nesterov else velocity
        if keep_norm:
            expected = expected * np.sqrt(shape[1] / (expected**2).sum())
        expected = (1 - 0.1 * 0.2) * expected - 0.1 * 0.5 * orthogonalize(u, 3)
        np.testing.assert_allclose(p, expected, rtol=1e-12, atol=1e-13)
        np.testing.assert_allclose(b, velocity, rtol=1e-12)


def test_float32_stays_float32_and_weights_of_zeros_have_no_norm_to_keep():
    p, b = np.zeros((3, 2), np.float32), np.zeros((3, 2), np.float32)
    g = np.ones((3, 2), np.float32)
    muon(p, g, b, lr=0.1, momentum=0.9, nesterov=True, ns_steps=5, scale=1.0, keep_norm=True)
    assert p.dtype == b.dtype == np.float32
    assert np.isfinite(p).all()
    assert (p != 0).all()
    assert orthogonalize(g, 5).dtype == np.float32
