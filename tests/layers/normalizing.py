"""What tests of normalizations compare with: formulas, and derivatives by complex steps of these."""

from __future__ import annotations

import threading

import numpy as np

from handgrad.layers import BatchNormalization, Init
from tests.layers.cases import normal


def built(shape, dtype=np.float64, moved=0, **options):
    """Return a built layer whose gamma and beta are not 1 and 0, and whose statistics have `moved`."""
    bn = BatchNormalization(**options)
    bn.build(shape, Init(dtype=dtype))
    for seed, p in enumerate(bn.parameters().values()):
        p.assign(p.value + normal(*p.shape, seed=50 + seed, dtype=dtype) / 2)
    if bn.buffers() and moved:
        bn.running_mean.assign(normal(*bn.running_mean.shape, seed=60))
        bn.running_var.assign(0.5 + normal(*bn.running_var.shape, seed=61) ** 2)
        bn.updates.assign(np.array(moved))
    return bn


def normalized(x, gamma, beta, mean, var, epsilon):
    """Return ``gamma*(x - mean)/sqrt(var + epsilon) + beta``, per channel."""
    return gamma * (x - mean) / np.sqrt(var + epsilon) + beta


def batch_statistics(x, over=None):
    """Return mean and biased variance of the channels of x, of the rows where `over` is true."""
    rows = x.reshape(-1, x.shape[-1])
    rows = rows if over is None else rows[over]
    mean = rows.sum(axis=0) / len(rows)
    return mean, ((rows - mean) ** 2).sum(axis=0) / len(rows)


def derivative(f, a):
    """Return the derivative of a real function of an array, by a complex step for each number."""
    found = np.zeros(a.shape)
    for i in np.ndindex(*a.shape):
        z = a.astype(complex)
        z[i] += 1e-30j
        found[i] = f(z).imag / 1e-30
    return found


class Threads:
    """Shares of a batch in threads: each waits for all others, then reads what they have written."""

    def __init__(self, shares):
        self.barrier = threading.Barrier(shares, timeout=20)
        self.vectors = [None] * shares
        self.calls = 0

    def communicator(self, rank):
        """Return what the share of this rank is given."""
        return Share(self, rank)

    def run(self, function):
        """Return what `function` returned for every rank."""
        results, errors = [None] * len(self.vectors), []

        def work(rank):
            try:
                results[rank] = function(rank, self.communicator(rank))
            except BaseException as error:
                errors.append(error)
                self.barrier.abort()

        threads = [threading.Thread(target=work, args=(rank,)) for rank in range(len(results))]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for error in sorted(errors, key=lambda e: isinstance(e, threading.BrokenBarrierError)):
            raise error
        return results


class Share:
    """One of `Threads`."""

    def __init__(self, threads, rank):
        self.threads, self.rank = threads, rank

    def all_gather(self, vector):
        """Return what all have written, in order of their ranks."""
        of = self.threads
        of.vectors[self.rank] = vector.copy()
        if of.barrier.wait() == 0:
            of.calls += 1
        gathered = list(of.vectors)
        of.barrier.wait()
        return gathered
