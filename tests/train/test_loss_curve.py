"""Losses of a small residual network, step by step: of compiled kernels beside the reference's and PyTorch's.

Training is chaotic: rounding grows from step to step. At this rate it takes more steps than these to be seen.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from benchmarks import curve
from handgrad import models
from handgrad.kernels.reference import REFERENCE
from handgrad.rng import Stream
from tests.kernels.tables import COMPILED, each_compiled

RATE, STEPS, BATCH, SHAPE, CLASSES = 0.003, 20, 16, (8, 8, 3), 10

SAME, FOLLOWS = 1e-6, 1e-4
"""Relative differences of the first two losses, and of all."""


def build():
    return models.resnet20(SHAPE, CLASSES, width=8)


@cache
def batches():
    """Return images of noise around one of their class."""
    centres = Stream(("centres",)).normal((CLASSES, *SHAPE), std=0.5)
    labels = [Stream(("y", k)).integers(0, CLASSES, (BATCH,)) for k in range(STEPS)]
    return [(centres[y] + Stream(("x", k)).normal((BATCH, *SHAPE)), y) for k, y in enumerate(labels)]


def largest(losses, others):
    """Return the largest relative difference, of the first two steps and of all."""
    difference = np.abs(np.array(losses) / others - 1)
    return difference[:2].max(), difference.max()


@each_compiled
def test_compiled_kernels_follow_the_reference(table):
    ours, reference = (curve.handgrad_losses(build, RATE, batches(), k) for k in (table, REFERENCE))
    assert reference[-1] < 0.9 * reference[0]
    first, all_of_them = largest(ours, reference)
    assert first < SAME
    assert all_of_them < FOLLOWS


@pytest.mark.skipif(not COMPILED, reason="no compiled kernels")
def test_training_follows_pytorch_as_pytorch_follows_itself():
    torch = pytest.importorskip("torch")
    before = torch.get_num_threads()
    torch.set_num_threads(1)  # two pools of threads wait for each other's CPUs
    try:
        losses = {name: run(batches()) for name, run in curve.runs(build, RATE).items()}
    finally:
        torch.set_num_threads(before)
    first, all_of_them = largest(losses.pop(curve.OURS), theirs := losses.pop(curve.THEIRS))
    spread = max(largest(others, theirs)[1] for others in losses.values())
    assert first < SAME
    assert all_of_them < max(3 * spread, FOLLOWS)
