"""Batch normalization of a small batch, term by term."""

from __future__ import annotations

import copy
import html
import os
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import numpy as np

from handgrad.errors import ArgumentError, ShapeError
from handgrad.inspect.page import page
from handgrad.inspect.steps import Step, steps_of
from handgrad.inspect.text import footer, header, text_of
from handgrad.io import replace_file
from handgrad.kernels.reference import REFERENCE
from handgrad.layers import BatchNormalization, Init, Run
from handgrad.layers.batch_statistics import BatchNormSaved
from handgrad.rng import Stream
from handgrad.typing import Array

MOST_DERIVATIVES = 400
COMPLEX_STEP = 1e-30


class Explanation(Sequence[Step]):
    """Every term of a batch normalization, as `explain` returns it.

    Print it to see all; index it by number or by letter, ``explanation["xhat"]``, or iterate over it to see
    one term after the other; `step` goes through it in the terminal, `save` writes it as a page.

    Attributes
    ----------
    where : str
        The layer, and how it ran.
    steps : tuple of Step
        In the order they are computed.
    constant : bool
        Whether mean and variance were constants: in inference, and in a frozen layer.
    errors : dict of str to float
        How far ``"dx"`` is from the sum of its three terms, from what the layer's own backward returns and,
        where the batch is small, from a complex-step derivative: relative to its length.
    """

    def __init__(
        self,
        where: str,
        steps: Sequence[Step],
        labels: tuple[list[str], list[str]],
        errors: dict[str, float],
        *,
        constant: bool,
    ) -> None:
        self.where, self.steps, self.errors, self.constant = where, tuple(steps), errors, constant
        self.row_labels, self.column_labels = labels

    @overload
    def __getitem__(self, key: int | str) -> Step: ...
    @overload
    def __getitem__(self, key: slice) -> Sequence[Step]: ...
    def __getitem__(self, key: int | str | slice) -> Step | Sequence[Step]:
        """Return a step by its number or its letter."""
        if not isinstance(key, str):
            return self.steps[key]
        for step in self.steps:
            if step.name == key:
                return step
        names = ", ".join(step.name for step in self.steps)
        raise ArgumentError("step", expected=f"one of {names}", got=repr(key))

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[Step]:
        return iter(self.steps)

    def __str__(self) -> str:
        parts = [header(self), *(self.text(i) for i in range(len(self))), footer(self)]
        return "\n\n".join(parts)

    def text(self, key: int | str) -> str:
        """Return one step as it is printed, by its number or its letter."""
        step = self[key]
        return text_of(self, self.steps.index(step))

    def step(self, ask: Callable[[str], str] | None = None) -> None:
        """Go through the steps in the terminal: Enter shows the next one.

        Parameters
        ----------
        ask : callable, optional
            Shows a prompt and returns what was typed, `input` by default: ``b`` goes back, ``a`` shows all
            that is left, a letter such as ``xhat`` or a number goes there, ``q`` ends.
        """
        print(header(self), "\nEnter: next   b: back   a: all   q: end   or a step's number or letter")
        at, typed = 0, ""
        while at < len(self):
            print(f"\n{self.text(at)}\n")
            if typed == "a" or at == len(self) - 1:
                at += 1
                continue
            try:
                typed = (ask or input)(f"{at + 1} of {len(self)} > ").strip()
            except (EOFError, KeyboardInterrupt):
                typed = "q"
            if typed == "q":
                print()
                return
            at = self._next(at, typed)
        print(footer(self))

    def _next(self, at: int, typed: str) -> int:
        names = [step.name for step in self.steps]
        if typed == "b":
            return max(at - 1, 0)
        if typed.isdigit() and 1 <= int(typed) <= len(self):
            return int(typed) - 1
        if typed in names:
            return names.index(typed)
        if typed not in ("", "a"):
            print(f"there is no step {typed}: {', '.join(names)}")
            return at
        return at + 1

    def html(self) -> str:
        """Return a page that needs nothing else: no server and no network."""
        return page(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows."""
        return (
            f'<iframe srcdoc="{html.escape(self.html())}" width="100%" height="820" frameborder="0"></iframe>'
        )

    def save(self, path: str | os.PathLike[str]) -> None:
        """Write the page to a file; what stood there is replaced at once or not at all."""
        replace_file(path, self.html().encode())


def explain(
    layer: BatchNormalization, x: Any, dy: Any = None, *, training: bool = True, seed: int = 0
) -> Explanation:
    """Return every term of forward and backward of a batch normalization, next to its formula.

    Parameters
    ----------
    layer : BatchNormalization
        Built or not; is not changed.
    x : (n, ..., c) array
        A small batch: rows, or images.
    dy : array of the same shape, optional
        The upstream gradient; random by default, because with 1 everything cancels.
    training : bool, default True
        By the statistics of the batch, or the running ones, as in inference. A frozen layer always takes
        these.
    seed : int, default 0
        Of a random `dy`.

    Returns
    -------
    Explanation
        Print it, step through it, or write it as a page.

    Raises
    ------
    ArgumentError
        If `layer` is no batch normalization, or computes something besides the formula.
    ShapeError
        If `dy` has not the shape of `x`, or `x` does not fit the layer.

    Notes
    -----
    The numbers are those of the library's reference kernel, in float64. They are compared with what the layer
    itself returns, and with a complex-step derivative: see `Explanation.errors`.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> x = np.array([[1.0, 10.0], [2.0, 30.0], [6.0, 20.0]])
    >>> e = hg.inspect.explain(hg.layers.BatchNormalization(), x)
    >>> print(e.text("mean"))
     2  mean = sum(x)/m                                                                  (2,)
        What the values of a channel have in common. It depends on each of them.
    <BLANKLINE>
                    c0       c1
                3.0000  20.0000
    <BLANKLINE>
        c0: (1 + 2 + 6)/3 = 3
    >>> e["var"].value.round(3)
    array([ 4.667, 66.667])
    >>> max(e.errors.values()) < 1e-12
    True
    """
    if not isinstance(layer, BatchNormalization):
        raise ArgumentError("explain layer", expected="a BatchNormalization", got=type(layer).__name__)
    layer = copy.deepcopy(layer)
    x = np.asarray(x, np.float64)
    if x.ndim and not layer.built:
        layer.build(x.shape[1:], Init(dtype=np.float64))
    layer.check_input(x)
    dy = (
        Stream((seed,)).child("dy").normal(x.shape, dtype=np.float64)
        if dy is None
        else np.asarray(dy, np.float64)
    )
    if dy.shape != x.shape:
        raise ShapeError("explain dy", expected=f"the shape of x, {x.shape}", got=f"{dy.shape}")
    run = Run(training=training, kernels=REFERENCE)
    rows = layer.rows(x)
    y, saved = layer.forward(x, run)
    gamma, beta = (None if a is None else a.astype(np.float64) for a in layer.scale_and_shift())
    dx = layer.backward(dy, saved, run)
    steps = []
    if isinstance(saved, BatchNormSaved):
        steps = steps_of(rows, layer.rows(dy), saved, gamma, beta, layer.epsilon)
    if not steps or _error(_value(steps, "y"), layer.rows(y)) > 1e-9 or dx is None:
        raise ArgumentError(
            "explain layer",
            expected="one that computes gamma*(x - mean)/sqrt(var + epsilon) + beta and nothing else",
            got=f"{layer.where} with {_options(layer)}",
        )
    errors = _errors(layer, x, dy, layer.rows(dx), steps, run)
    constant = isinstance(saved, BatchNormSaved) and saved.constant
    mode = "frozen" if training and constant else "in training" if training else "in inference"
    kind = f"{layer.where} {mode}"
    return Explanation(kind, steps, _labels(layer, x), errors, constant=constant)


def _value(steps: list[Step], name: str) -> Array:
    return next(step.value for step in steps if step.name == name)


def _options(layer: BatchNormalization) -> str:
    plain = BatchNormalization().config()
    other = {k: v for k, v in layer.config().items() if k not in plain or plain[k] != v}
    return ", ".join(f"{k}={v!r}" for k, v in other.items()) or "other statistics"


def _error(got: Array, right: Array) -> float:
    return float(np.linalg.norm(got - right) / max(float(np.linalg.norm(right)), 1e-300))


def _errors(
    layer: BatchNormalization, x: Array, dy: Array, dx: Array, steps: list[Step], run: Run
) -> dict[str, float]:
    ours = _value(steps, "dx")
    errors = {}
    if any(step.name == "direct" for step in steps):
        terms = sum(_value(steps, name) for name in ("direct", "through_var", "through_mean"))
        errors["the sum of the three terms"] = _error(np.asarray(terms), ours)
    errors["the layer's own backward"] = _error(dx, ours)
    if x.size <= MOST_DERIVATIVES:
        derivative = np.zeros(x.shape)
        for index in np.ndindex(x.shape):
            moved = x.astype(np.complex128)
            moved[index] += 1j * COMPLEX_STEP
            y, _ = layer.forward(moved, run)
            derivative[index] = np.sum(dy * y).imag / COMPLEX_STEP
        errors["a complex-step derivative"] = _error(layer.rows(derivative), ours)
    return errors


def _labels(layer: BatchNormalization, x: Array) -> tuple[list[str], list[str]]:
    """Return names of rows and of columns: the indices that do not change along them."""
    indices = [layer.rows(np.broadcast_to(a, x.shape)) for a in np.ix_(*map(np.arange, x.shape))]
    in_row = [a for a in indices if (a == a[:, :1]).all() and not (a == a[:1]).all()]
    in_column = [a for a in indices if (a == a[:1]).all() and not (a == a[:, :1]).all()]
    rows, columns = indices[0].shape
    names = [
        [",".join(str(a[i, 0]) for a in in_row) or str(i) for i in range(rows)],
        ["c" + ",".join(str(a[0, k]) for a in in_column) if in_column else f"c{k}" for k in range(columns)],
    ]
    return names[0], names[1]
