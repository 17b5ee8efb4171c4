"""Mean and variance of a batch: of the rows that count, of parts of it, of shares that others hold."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np

from handgrad.kernels.protocol import Kernel, Kernels
from handgrad.layers.axes import chosen, put_chosen
from handgrad.typing import Array, Communicator


class Moments(NamedTuple):
    """What some values of each channel have in common.

    Attributes
    ----------
    m : int
        Values per channel.
    mean, var : (c,) float64 array
        Their mean, and the mean of the squares of what is left without it; 0 where there is no value.
    """

    m: int
    mean: Array
    var: Array

    def finite(self) -> Array:
        """Return for each channel whether mean and variance are finite."""
        finite: Array = np.isfinite(self.mean) & np.isfinite(self.var)
        return finite

    def variance(self, kind: str) -> Array:
        """Return the "biased" variance, or the "unbiased" one, ``sum((x - mean)^2)/(m - 1)``."""
        return self.var * (self.m / (self.m - 1)) if kind == "unbiased" else self.var


class BatchNormSaved(NamedTuple):
    """What backward and commit of a batch normalization need."""

    x: Array
    mean: Array
    var: Array
    s: Array
    """1/sqrt(var + epsilon)"""
    m: int
    """Values per channel that mean and variance are of, of all shares."""
    constant: bool
    """Whether mean and variance do not depend on x, for the function that forward computed."""
    batch: Moments | None = None
    """Those of the batch, of all shares, where they were taken: what commit moves the running ones by."""
    renorm: tuple[Array, Array] | None = None
    """r and d of batch renormalization."""
    mask: Array | None = None
    """(k,): which of k equal blocks of rows count in mean and variance, where not all do."""
    shared: bool = False
    """Whether other shares count in mean and variance."""

    def retained(self) -> BatchNormSaved:
        """Return this without arrays of the batch's size."""
        return self._replace(x=np.empty(0, self.x.dtype), mask=None)


class GhostSaved(NamedTuple):
    """What backward and commit of a batch normalization by ghost batches need."""

    parts: tuple[BatchNormSaved, ...]
    batch: Moments | None


def moments(rows: Array, mask: Array | None, kernels: Kernels) -> Moments:
    """Return the moments of the columns of (m, c), over all rows, or the blocks where `mask` is true."""
    counting = rows if mask is None else chosen(rows, mask)
    m, c = counting.shape
    if m == 0:
        return Moments(0, np.zeros(c), np.zeros(c))
    return Moments(m, *kernels.batch_norm_statistics(counting))


def gradients(
    kernel: Kernel,
    directly: Kernel,
    arrays: tuple[Array | None, ...],
    by: tuple[Array | None, ...],
    saved: BatchNormSaved,
) -> tuple[Array, ...]:
    """Return dx, dgamma, dbeta and what more a kernel returns.

    Parameters
    ----------
    kernel, directly : callable
        For mean and variance that are those of x, and for constant ones.
    arrays : tuple of (m, c) array or None
        The kernel's first arguments.
    by : tuple of (c,) array or None
        Its other arguments.
    saved : BatchNormSaved
        Whose x is among `arrays`. Where shares have a part in mean and variance, dx is that for constants.
    """
    if saved.constant or saved.shared:
        return tuple(directly(*arrays, *by))
    dx, *others = kernel(*arrays, *by, saved.m)
    if saved.mask is not None:
        out = ~saved.mask
        put_chosen(dx, out, directly(*(None if a is None else chosen(a, out) for a in arrays), *by)[0])
    return dx, *others


def pooled(parts: Iterable[Moments]) -> Moments:
    r"""Return the moments of all values of the parts together.

    Notes
    -----
    Of parts a and b, with :math:`\delta = \mu_b - \mu_a` and :math:`n = n_a + n_b`,

    .. math:: \mu = \mu_a + \delta\,\frac{n_b}{n}, \qquad
        n\sigma^2 = n_a\sigma_a^2 + n_b\sigma_b^2 + \delta^2\,\frac{n_a n_b}{n},

    one part after the other, in their order: the same parts give the same bits. One part alone is returned as
    it is, and parts of no values do not count. Nothing large is subtracted from anything large.

    References
    ----------
    .. [1] T. F. Chan, G. H. Golub and R. J. LeVeque, "Updating formulae and a pairwise algorithm for
       computing sample variances", COMPSTAT 1982, eq. 2.1.
    """
    total: Moments | None = None
    for part in parts:
        if total is None or total.m == 0:
            total = part
        elif part.m:
            (na, mean, var), (nb, *_) = total, part
            n, delta = na + nb, part.mean - mean
            squares = na * var + nb * part.var + delta * delta * (na * nb / n)
            total = Moments(n, mean + delta * (nb / n), squares / n)
    assert total is not None
    return total


def gathered(own: Moments, comm: Communicator) -> Moments:
    """Return the moments of all shares together; every share gets the same bits."""
    c = own.mean.size
    vectors = comm.all_gather(np.concatenate([[own.m], own.mean, own.var]))
    return pooled(Moments(int(v[0].real), v[1 : 1 + c], v[1 + c :]) for v in vectors)


def ghosts(n: int, size: int) -> Iterator[slice]:
    """Yield the parts of n samples that ghost batches of `size` are: none smaller, if n is not.

    They differ by one at most, larger ones first: 70 samples in ghost batches of 32 are 35 and 35.
    """
    parts = max(n // size, 1)
    least, larger = divmod(n, parts)
    begin = 0
    for k in range(parts):
        end = begin + least + (k < larger)
        yield slice(begin, end)
        begin = end


def renormalization(
    batch: Moments, mean: Array, var: Array, epsilon: float, limits: tuple[float, float]
) -> tuple[Array, Array]:
    """Return r and d, by which ``r*xhat + d`` is what the running mean and variance would normalize x to.

    Within limits: r between 1/limits[0] and limits[0], d between -limits[1] and limits[1]. Both are
    constants: of complex numbers the real part is taken, so that no derivative passes.
    """
    largest, furthest = limits
    sigma = np.sqrt(var + epsilon)
    r = np.sqrt(batch.var.real + epsilon) / sigma
    d = (batch.mean.real - mean) / sigma
    return np.clip(r, 1 / largest, largest), np.clip(d, -furthest, furthest)
