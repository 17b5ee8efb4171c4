"""Filters that decorrelate what they see: a first layer set from data, before training."""

from __future__ import annotations

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers.conv import Conv2D
from handgrad.typing import Array

_AT_ONCE = 256  # images whose patches are in memory together


def whiten(conv: Conv2D, images: Array, *, epsilon: float = 3e-5) -> None:
    r"""Set a convolution so that its outputs on patches of `images` are uncorrelated and of variance 1.

    The filters come in pairs of opposite sign, so that after an activation nothing is lost. Keep them as they
    are in training: give their weight no learning rate, or freeze the layer.

    Parameters
    ----------
    conv : Conv2D
        Built, with one group and a bias, and twice as many filters as a patch has numbers, ``2*kh*kw*c``.
    images : (n, h, w, c) floating-point array
        Some thousands of training images, as the model gets them.
    epsilon : float, default 3e-5
        Is added to the variance of every direction, in squared units of the images: directions in which
        patches hardly differ are not blown up to variance 1.

    Raises
    ------
    ArgumentError
        If `conv` has another number of filters, several groups, or no bias.
    ShapeError
        If the images have other channels, or are smaller than the filters.

    Notes
    -----
    With the patches' mean m and covariance :math:`C = V \Lambda V^\mathsf{T}`,

    .. math:: W = (\Lambda + \epsilon)^{-1/2}\, V^\mathsf{T}, \qquad y = \pm W (x - m),

    so that :math:`W C W^\mathsf{T} = \Lambda (\Lambda + \epsilon)^{-1} \approx 1`. The mean is part of
    the bias. Directions come in falling order of variance. As in the first layer of K. Jordan, "94 % on
    CIFAR-10 in 3.29 seconds on a single GPU", arXiv:2404.00498; there images are normalized before, and
    epsilon is 5e-4 in units of that.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> rng = np.random.default_rng(0)
    >>> x = np.repeat(rng.random((16, 8, 8, 1)), 3, axis=3) + 0.1 * rng.random((16, 8, 8, 3))
    >>> conv = hg.layers.Conv2D(6, 1)
    >>> _ = conv.build((8, 8, 3))
    >>> hg.layers.whiten(conv, x.astype(np.float32))
    >>> y, _ = conv.forward(x.astype(np.float32), hg.Run())
    >>> np.abs(np.cov(y[..., :3].reshape(-1, 3).T) - np.eye(3)).max() < 0.05
    np.True_
    """
    if not isinstance(conv, Conv2D) or not conv.built:
        got = f"{conv.where}, which is not" if isinstance(conv, Conv2D) else type(conv).__name__
        do = "make the model first, or call build(shape)"
        raise ArgumentError("whiten", expected="a Conv2D that is built", got=got, do=do)
    images = np.asarray(images)
    if images.dtype.kind != "f":
        do = "give them as the model gets them: bytes become images.astype(np.float32)/255"
        raise ArgumentError("whiten images", expected="floats", got=f"{images.dtype}", do=do)
    kh, kw, c, filters = conv.weight.shape
    size = kh * kw * c
    if conv.groups != 1 or conv.bias is None or filters != 2 * size:
        raise ArgumentError(
            f"{conv.where} to be whitened",
            expected=f"filters={2 * size} for patches of {kh}x{kw}x{c}, groups=1 and use_bias=True",
            got=f"filters={filters}, groups={conv.groups}, use_bias={conv.use_bias}",
        )
    if images.ndim != 4 or images.shape[3] != c or images.shape[1] < kh or images.shape[2] < kw:
        raise ShapeError(
            f"{conv.where} to be whitened",
            expected=f"images (n, h, w, {c}) of {kh}x{kw} or more",
            got=str(images.shape),
        )
    mean, covariance = _patch_statistics(images, (kh, kw))
    variances, directions = np.linalg.eigh(covariance)
    W = (directions / np.sqrt(variances + epsilon)).T[::-1]  # rows: directions, the largest variance first
    W = np.concatenate([W, -W])
    conv.weight.assign(W.T.reshape(kh, kw, c, filters))
    conv.bias.assign(-W @ mean)


def _patch_statistics(images: Array, kernel: tuple[int, int]) -> tuple[Array, Array]:
    """Return mean and covariance of all patches, each (kh, kw, c) flat."""
    c = images.shape[3]
    size, count = kernel[0] * kernel[1] * c, 0
    total, products = np.zeros(size), np.zeros((size, size))
    shift = images[:_AT_ONCE].mean(dtype=np.float64)  # close to every mean: little cancels below
    for start in range(0, len(images), _AT_ONCE):
        x = images[start : start + _AT_ONCE].astype(np.float64) - shift
        patches = sliding_window_view(x, kernel, axis=(1, 2))  # (n, h', w', c, kh, kw)
        rows = patches.transpose(0, 1, 2, 4, 5, 3).reshape(-1, size)
        total, products, count = total + rows.sum(0), products + rows.T @ rows, count + len(rows)
    mean = total / count
    return mean + shift, products / count - np.outer(mean, mean)
