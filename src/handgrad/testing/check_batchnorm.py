"""A check of your own batch normalization that says which term is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

from handgrad.arguments import check_number
from handgrad.errors import ArgumentError
from handgrad.layers import Layer
from handgrad.rng import Stream
from handgrad.testing.batchnorm.checks import Checks
from handgrad.testing.batchnorm.report import BatchNormError, BatchNormReport
from handgrad.typing import Shape, is_integer


def check_batchnorm(
    forward: Callable[..., Any],
    backward: Callable[..., Any] | None = None,
    *,
    inference: Callable[..., Any] | None = None,
    update: Callable[..., Any] | None = None,
    shape: Shape = (13, 3),
    epsilon: float = 0.1,
    running_variance: str | None = None,
    seed: int = 0,
) -> BatchNormReport:
    """Check your own batch normalization; say which term is wrong.

    Parameters
    ----------
    forward : callable
        ``forward(x, gamma, beta, epsilon)`` returns ``(y, cache)``: what is normalized by the batch's own
        statistics, and anything that `backward` needs. x has the shape `shape`, gamma and beta (c,).
    backward : callable, optional
        ``backward(dy, cache)`` returns ``(dx, dgamma, dbeta)``.
    inference : callable, optional
        ``inference(x, gamma, beta, running_mean, running_var, epsilon)`` returns y, normalized by the running
        statistics. Where it returns ``(y, cache)``, `backward` is checked with that as well: mean and
        variance are constants then, as in a frozen layer.
    update : callable, optional
        ``update(running_mean, running_var, x, momentum)`` returns the new running mean and variance,
        ``momentum*running + (1 - momentum)*batch``.
    shape : tuple of int, default (13, 3)
        Of x, channels last: rows (m, c), or images (n, h, w, c), on which other mistakes show.
    epsilon : float, default 0.1
        What the functions are given. It is large, so that its place is seen.
    running_variance : "biased" or "unbiased", optional
        What `update` must keep: ``sum((x - mean)^2)/m``, as Keras, or ``/(m - 1)``, as PyTorch. By default
        either, and the report says which.
    seed : int, default 0
        Of all numbers.

    Returns
    -------
    BatchNormReport
        Printable.

    Raises
    ------
    BatchNormError
        If something is wrong. The message names the term, shows the formula with it and without, and how far
        off the result is; the report is its attribute ``report``.
    ArgumentError
        If `shape` or another argument means nothing.

    Notes
    -----
    Everything is random: gamma, beta and the upstream gradient as well, because mistakes hide behind gamma =
    1 and dy = 1. What came is compared with the formula, then with formulas in which one thing is wrong, or
    two: the report names what gives the same numbers. A dx that none of them gives is taken apart into
    multiples of dy, of 1 and of xhat in each channel, which are its three terms. Where forward has a
    mistake, backward is judged by that forward: it is told once.

    Examples
    --------
    The mean's part is forgotten:

    >>> import numpy as np, handgrad as hg
    >>> def forward(x, gamma, beta, epsilon):
    ...     s = 1 / np.sqrt(x.var(axis=0) + epsilon)
    ...     xhat = (x - x.mean(axis=0)) * s
    ...     return gamma * xhat + beta, (xhat, s, gamma)
    >>> def backward(dy, cache):
    ...     xhat, s, gamma = cache
    ...     dbeta, dgamma = dy.sum(axis=0), (dy * xhat).sum(axis=0)
    ...     return gamma * s * (dy - xhat * dgamma / len(dy)), dgamma, dbeta
    >>> hg.testing.check_batchnorm(forward).ok
    True
    >>> try:
    ...     hg.testing.check_batchnorm(forward, backward)
    ... except hg.testing.BatchNormError as error:
    ...     print(error.report.mistakes[0])
    backward dx: the term through the mean is missing
    """
    if not callable(forward) or isinstance(forward, Layer | type):
        do = "check_layer checks a layer" if isinstance(forward, Layer | type) else ""
        raise ArgumentError(
            "check_batchnorm forward",
            expected="a function forward(x, gamma, beta, epsilon)",
            got=f"the class {forward.__name__}" if isinstance(forward, type) else type(forward).__name__,
            do=do,
        )
    if not is_integer(seed) or seed < 0:
        raise ArgumentError("check_batchnorm seed", expected="an int, at least 0", got=repr(seed))
    check_number("check_batchnorm", "epsilon", epsilon, positive=True)
    if not (
        isinstance(shape, tuple | list)
        and len(shape) >= 2
        and all(is_integer(n) and n >= 1 for n in shape)
        and math.prod(shape[:-1]) >= 5
        and shape[-1] >= 2
    ):
        raise ArgumentError(
            "check_batchnorm shape",
            expected="(m, c) or (n, h, w, c) with at least 5 values in each of at least 2 channels",
            got=repr(shape),
        )
    if running_variance not in (None, "biased", "unbiased"):
        raise ArgumentError(
            "check_batchnorm running_variance",
            expected='"biased", "unbiased" or None',
            got=repr(running_variance),
        )
    checks = Checks(tuple(int(n) for n in shape), float(epsilon), Stream((seed,)).child("check_batchnorm"))
    checks.batch(forward, backward)
    if inference is not None:
        checks.inference(inference, backward)
    if update is not None:
        checks.update(update, running_variance)
    report = BatchNormReport(checks.shape, checks.epsilon, tuple(checks.found))
    if not report.ok:
        raise BatchNormError.of(report)
    return report
