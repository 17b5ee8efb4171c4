from __future__ import annotations

import numpy as np
import pytest

from handgrad.layers.packing import pack
from handgrad.layers.parameter import Parameter

SHAPES = {
    "conv.weight": (3, 2),
    "bn.gamma": (2,),
    "bn.beta": (2,),
    "dense.weight": (2, 4),
    "dense.bias": (4,),
}


def make_parameters(*, packed=True, dtype=np.float64, seed=0):
    """Return the parameters of a small model; biases, gamma and beta do not decay."""
    rng = np.random.default_rng(seed)
    parameters = {
        name: Parameter(rng.normal(size=shape).astype(dtype), decay=name.endswith("weight"), name=name)
        for name, shape in SHAPES.items()
    }
    if packed:
        pack(parameters.values())
    return parameters


def set_gradients(parameters, step):
    """Give each parameter a gradient that depends on its name, the step and where it is."""
    for i, (name, p) in enumerate(parameters.items()):
        rng = np.random.default_rng([step, i, len(name)])
        p.zero_grad()
        p.accumulate((rng.normal(size=p.shape) + 0.5 * p.value).astype(p.value.dtype))


@pytest.fixture
def parameters():
    return make_parameters()


@pytest.fixture
def new_parameters():
    return make_parameters


@pytest.fixture
def train():
    """Return a function that does steps first, ..., last - 1 on the parameters that `trained` names."""

    def run(optimizer, parameters, first, last, trained=lambda *_: True):
        for step in range(first, last):
            chosen = {name: p for name, p in parameters.items() if trained(step, name)}
            set_gradients(parameters, step)
            optimizer.step(chosen)
        return {name: p.value.copy() for name, p in parameters.items()}

    return run


@pytest.fixture
def same():
    """Return a function that compares two dicts of arrays bit for bit."""

    def compare(a, b):
        assert a.keys() == b.keys()
        for name in a:
            np.testing.assert_array_equal(a[name], b[name], err_msg=name)

    return compare
