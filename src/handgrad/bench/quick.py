"""A short measurement on a user's own machine."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from handgrad.bench import machine
from handgrad.bench.clock import Quiet, Step
from handgrad.bench.compare import Comparison, compare
from handgrad.bench.workloads import WORKLOADS, Workload, flops, step
from handgrad.errors import ArgumentError
from handgrad.kernels import default_kernels

NETWORKS = ("lenet-b64", "digits-b256", "resnet20-b128", "stack64-b128", "resnet18-inference-b1")
"""What is measured if nothing else is asked for: two minutes where kernels are compiled."""

SAME = 1e-3
"""Largest difference of values, relative to the largest, at which two programs compute the same."""


@dataclass(frozen=True)
class Line:
    """What was measured of one network.

    Attributes
    ----------
    workload : Workload
        The network and its batch.
    comparison : Comparison
        Times here, and in PyTorch if it takes part.
    flops : float
        Operations per second here, those of a direct convolution counted; a training step as three forwards.
    """

    workload: Workload
    comparison: Comparison
    flops: float

    @property
    def quiet(self) -> bool:
        """Whether the times are those of a quiet machine."""
        return all(t.quiet for t in (self.comparison.ours, *self.comparison.theirs.values()))

    @property
    def same(self) -> bool:
        """Whether PyTorch computed the same."""
        return self.comparison.difference <= SAME


def torch_version() -> str | None:
    """Return the version of PyTorch, or None where it is not installed."""
    if importlib.util.find_spec("torch") is None:
        return None
    import torch

    return str(torch.__version__)


def about(threads: int) -> dict[str, str]:
    """Return what the numbers depend on, for people: kernels, machine, and how fast it can be at best."""
    origins = list(default_kernels().origins().values())
    compiled = sum("reference" not in module for module in origins)
    peak, bandwidth = machine.peak_flops(), machine.copy_bandwidth(threads)
    return {
        "kernels": f"{compiled} of {len(origins)} compiled",
        "machine": f"{machine.cpu_name()}, {threads} thread{'s' * (threads > 1)}",
        "at best": f"{peak / 1e9:.0f} GFLOP/s in products of matrices, {bandwidth / 1e9:.1f} GB/s copied",
    }


def lines(names: Sequence[str], seconds: float, threads: int, *, with_torch: bool) -> Iterator[Line]:
    """Measure networks and yield what came of each.

    Parameters
    ----------
    names : sequence of str
        Of networks in `WORKLOADS`.
    seconds : float
        For each of them, after the first steps.
    threads : int
        How many share the work.
    with_torch : bool
        Whether PyTorch takes part.

    Raises
    ------
    ArgumentError
        If there is no network of a name; nothing is measured then.
    """
    for name in names:
        if name not in WORKLOADS:
            raise ArgumentError("bench", expected=f"some of {', '.join(WORKLOADS)}", got=repr(name))
    return _lines(names, seconds, threads, with_torch=with_torch)


def _lines(names: Sequence[str], seconds: float, threads: int, *, with_torch: bool) -> Iterator[Line]:
    machine.use_threads(threads)
    quiet = Quiet(threads)
    for name in names:
        workload = WORKLOADS[name]
        theirs = []
        if with_torch:
            from handgrad.bench import pytorch

            theirs = [Step(way, make()) for way, make in pytorch.steps(workload).items()]
        comparison = compare(Step("handgrad", step(workload)), theirs, quiet, seconds, steps=2)
        forwards = 3 if workload.training else 1
        work = forwards * workload.batch * flops(workload.build())
        yield Line(workload, comparison, work / comparison.ours.median)
