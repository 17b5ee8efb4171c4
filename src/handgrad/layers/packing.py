"""Parameters side by side in memory, so that what is done to all of them is one pass."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from handgrad.layers.parameter import Parameter, rebind
from handgrad.typing import Array


def pack(parameters: Iterable[Parameter]) -> None:
    """Move values and gradients into two contiguous vectors, decayed ones first, and make each a view.

    Parameters of different dtypes, as of a layer built by hand in another one, get vectors of their own.

    Optimizer step, clipping and checkpoints are then one pass over memory. A parameter that is packed
    already (its layer stands in another model, too) stays where it is.
    """
    loose = [p for p in parameters if p.value.base is None]
    for dtype in dict.fromkeys(p.value.dtype for p in loose):
        _pack(sorted((p for p in loose if p.value.dtype == dtype), key=lambda p: not p.decay))


def _pack(ordered: list[Parameter]) -> None:
    values = np.empty(sum(p.size for p in ordered), ordered[0].value.dtype)
    grads = np.zeros_like(values)
    start = 0
    for p in ordered:
        stop = start + p.size
        values[start:stop] = p.value.ravel()
        grads[start:stop] = p.grad.ravel()
        rebind(p, values[start:stop].reshape(p.shape), grads[start:stop].reshape(p.shape))
        start = stop


def spans(parameters: Iterable[Parameter]) -> list[list[Parameter]]:
    """Group `parameters` into runs that lie side by side in memory, values and gradients alike."""
    runs: list[list[Parameter]] = []
    for p in sorted(parameters, key=lambda p: p.value.__array_interface__["data"][0]):
        if runs and _adjacent(runs[-1][-1], p):
            runs[-1].append(p)
        else:
            runs.append([p])
    return runs


def _adjacent(a: Parameter, b: Parameter) -> bool:
    return all(
        isinstance(x.base, np.ndarray)
        and x.base is y.base
        and (x.base.ndim, x.base.dtype) == (1, x.dtype)
        and _address(x) + x.nbytes == _address(y)
        for x, y in ((a.value, b.value), (a.grad, b.grad))
    )


def _address(x: Array) -> int:
    return int(x.__array_interface__["data"][0])


def span_view(run: list[Parameter]) -> tuple[Array, Array]:
    """Return (values, gradients) of a run from `spans`, each as one flat view."""
    return _flat([p.value for p in run]), _flat([p.grad for p in run])


class Gradients:
    """The gradients of parameters as flat vectors, one for each run that lies side by side.

    Runs are looked for when they are first asked for, and again when a parameter has come, gone or moved.
    """

    def __init__(self) -> None:
        self._of: list[Array] = []
        self._vectors: list[Array] = []

    def vectors(self, parameters: Iterable[Parameter]) -> list[Array]:
        """Return the vectors, views of the gradients of `parameters`."""
        parameters = list(parameters)
        known = len(self._of) == len(parameters)
        if not (known and all(p.grad is g for p, g in zip(parameters, self._of, strict=True))):
            self._vectors = [span_view(run)[1] for run in spans(parameters)]
            self._of = [p.grad for p in parameters]  # last: Ctrl-C before it leaves them to be found again
        return self._vectors

    def __reduce__(self) -> tuple[Any, ...]:
        # in a copy, vectors are no longer views of the copied gradients: they are found anew
        return Gradients, ()


def _flat(arrays: list[Array]) -> Array:
    if len(arrays) == 1:
        return arrays[0].reshape(-1)
    base = arrays[0].base
    assert base is not None
    start = (_address(arrays[0]) - _address(base)) // base.itemsize
    return base[start : start + sum(a.size for a in arrays)]
