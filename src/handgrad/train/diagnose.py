"""Where a value that is not finite came first."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from handgrad.errors import NonFiniteError
from handgrad.graph import Graph, Node
from handgrad.kernels import Kernels
from handgrad.layers import Run
from handgrad.typing import Array

ADVICE = "lower the learning rate, clip gradients with global_clipnorm, or look at the data"


class _FoundError(Exception):
    def __init__(self, got: str) -> None:
        self.got = got


def finite_gradients(model: Graph, kernels: Kernels) -> bool:
    """Whether all gradients of trainable parameters are finite."""
    return all(bool(kernels.all_finite(vector)) for vector in model.gradient_vectors())


def diagnose(
    model: Graph, x: Array, run: Run, where: str, gradient: Callable[[Array], tuple[float, Array]]
) -> NonFiniteError:
    """Return the error that names the first value that is not finite, found by running the step again.

    Parameters
    ----------
    model : Graph
        Is left as it is, but for its gradients.
    x : (n, ...)
        The batch.
    run : Run
        Of the step: the same random numbers are drawn again.
    where : str
        How the message begins.
    gradient : callable
        Returns the loss and its gradient for the model's output.
    """
    try:
        _look(model, x, run, gradient)
        got = "one in the gradients that is gone when the step is repeated"
    except _FoundError as found:
        got = found.got
    return NonFiniteError(where, expected="finite values", got=got, do=ADVICE)


def _look(model: Graph, x: Array, run: Run, gradient: Callable[[Array], tuple[float, Array]]) -> None:
    _require(x, "in the batch of inputs")
    for name, p in model.parameters().items():
        _require(p.value, f"in the parameter {name}")
    z, trace = model.forward(x, run, watch=lambda node, y: _require(y, f"first in the output of {_of(node)}"))
    value, dz = gradient(z)
    _require(np.asarray(value), "in the loss")
    _require(dz, "in the gradient of the loss")
    model.zero_grad()
    model.backward(
        dz,
        trace,
        run,
        watch=lambda node, dy: _require(dy, f"first in the gradient of the output of {_of(node)}"),
    )
    for name, p in model.trainable_parameters().items():
        _require(p.grad, f"in the gradient of {name}")


def _require(a: Array, where: str) -> None:
    if not np.isfinite(a).all():
        raise _FoundError(f"{'NaN' if np.isnan(a).any() else 'infinity'} {where}")


def _of(node: Node) -> str:
    return f"{node.name} ({type(node.layer).__name__})"
