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
    def __init__(self, got: str, do: str = ADVICE) -> None:
        self.got, self.do = got, do


def finite_gradients(model: Graph, kernels: Kernels) -> bool:
    """Whether all gradients of trainable parameters are finite."""
    return all(bool(kernels.all_finite(vector)) for vector in model.gradient_vectors())


def diagnose(
    model: Graph,
    x: Array,
    run: Run,
    where: str,
    gradient: Callable[[Array], tuple[float, Array]],
    source: Callable[[int], str] | None = None,
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
    source : callable, optional
        Says where sample i of the batch is from.
    """
    try:
        _look_at_inputs(x, source)
        _look(model, x, run, gradient)
        got, do = "one in the gradients that is gone when the step is repeated", ADVICE
    except _FoundError as found:
        got, do = found.got, found.do
    return NonFiniteError(where, expected="finite values", got=got, do=do)


def _look_at_inputs(x: Array, source: Callable[[int], str] | None) -> None:
    bad = np.flatnonzero(~np.isfinite(x).reshape(len(x), -1).all(axis=1))
    if bad.size:
        i = int(bad[0])
        others = f" (and of {bad.size - 1} more)" if bad.size > 1 else ""
        raise _FoundError(
            f"{_kind(x[i])} in the input of sample {i} of the batch{source(i) if source else ''}{others}",
            "repair such samples, or leave them out",
        )


def _look(model: Graph, x: Array, run: Run, gradient: Callable[[Array], tuple[float, Array]]) -> None:
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
        raise _FoundError(f"{_kind(a)} {where}")


def _kind(a: Array) -> str:
    return "NaN" if np.isnan(a).any() else "infinity"


def _of(node: Node) -> str:
    return f"{node.name} ({type(node.layer).__name__})"
