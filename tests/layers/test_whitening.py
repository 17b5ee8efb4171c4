from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers import Conv2D, whiten


def images(n=300, size=9, c=3, offset=0.4):
    rng = np.random.default_rng(0)
    smooth = rng.normal(size=(n, size // 3, size // 3, c)).repeat(3, 1).repeat(3, 2)
    return (offset + 0.2 * smooth + 0.05 * rng.normal(size=(n, size, size, c))).astype(np.float32)


def whitened(x, kernel, **options):
    size = kernel[0] * kernel[1] * x.shape[3]
    conv = Conv2D(2 * size, kernel, name="first")
    conv.build(x.shape[1:])
    whiten(conv, x, **options)
    return conv, size


@pytest.mark.parametrize("kernel", [(2, 2), (1, 1), (1, 3), (3, 2)], ids=str)
def test_outputs_have_mean_zero_and_the_identity_as_covariance(kernel):
    x = images()
    conv, size = whitened(x, kernel, epsilon=1e-9)
    y, _ = conv.forward(x, hg.Run())
    rows = y.reshape(-1, 2 * size).astype(float)
    np.testing.assert_allclose(rows.mean(0), 0, atol=1e-4)
    np.testing.assert_allclose(np.cov(rows[:, :size].T), np.eye(size), atol=2e-3)
    np.testing.assert_allclose(rows[:, size:], -rows[:, :size], atol=1e-5)


def test_epsilon_keeps_what_hardly_varies_small_and_the_first_filter_sees_most():
    x = images()
    x[..., 1] = x[..., 0]  # a direction without variance
    conv, size = whitened(x, (1, 1), epsilon=1e-2)
    y, _ = conv.forward(x, hg.Run())
    variances = y.reshape(-1, 2 * size)[:, :size].astype(float).var(0)
    assert (np.diff(variances) < 0).all()
    assert variances[-1] < 1e-9
    assert variances[0] == pytest.approx(
        1 / (1 + 1e-2 / np.linalg.eigvalsh(np.cov(x.reshape(-1, 3).T))[-1]), rel=1e-4
    )


def test_statistics_do_not_suffer_from_a_large_mean():
    near, far = (whitened(images(offset=o), (2, 2))[0].weight.value for o in (0.0, 1000.0))
    # float32 images of 1000 are exact to 3e-5 alone
    np.testing.assert_allclose(np.abs(far[..., :3]), np.abs(near[..., :3]), atol=0.02)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (
            Conv2D(23, 2, name="first"),
            "first (Conv2D) to be whitened: expected filters=24 for patches of 2x2x3, groups=1 and "
            "use_bias=True, got filters=23, groups=1, use_bias=True",
        ),
        (
            Conv2D(24, 2, use_bias=False, name="first"),
            "first (Conv2D) to be whitened: expected filters=24 for patches of 2x2x3, groups=1 and "
            "use_bias=True, got filters=24, groups=1, use_bias=False",
        ),
    ],
)
def test_other_layers_are_refused(layer, message):
    layer.build((9, 9, 3))
    with pytest.raises(ArgumentError) as error:
        whiten(layer, images())
    assert str(error.value) == message


@pytest.mark.parametrize("shape", [(5, 9, 9, 1), (9, 9, 3), (5, 1, 9, 3)], ids=str)
def test_other_images_are_refused(shape):
    conv = Conv2D(24, 2, name="first")
    conv.build((9, 9, 3))
    before = conv.weight.value.copy()
    with pytest.raises(ShapeError) as error:
        whiten(conv, np.zeros(shape))
    assert str(error.value) == (
        f"first (Conv2D) to be whitened: expected images (n, h, w, 3) of 2x2 or more, got {shape}"
    )
    np.testing.assert_array_equal(conv.weight.value, before)
