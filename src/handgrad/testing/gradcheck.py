r"""Is a gradient the gradient of the function? Checked in float64, to machine precision if possible.

Along a direction v, with a random upstream gradient u, the derivative of ``sum(u*f(x + t*v))`` at t = 0 must
be ``sum(dx*v)``. It is found without backward, by a complex step [1]_, which has no rounding error to speak
of::

    Im sum(u*f(x + i*h*v))/h        h = 1e-30

or, where the function cannot take complex numbers, by a central difference::

    sum(u*(f(x + h*v) - f(x - h*v)))/(2*h)        h = 1e-6

.. [1] J. R. R. A. Martins, P. Sturdza and J. J. Alonso, "The complex-step derivative approximation",
   ACM Trans. Math. Softw. 29 (2003), 245-262.
"""

from __future__ import annotations

import copy
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, HandgradError
from handgrad.graph import Graph
from handgrad.layers import Init, Layer, Merge, Run
from handgrad.layers.parameter import rebind
from handgrad.rng import Stream
from handgrad.typing import Array

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 1e-6
TOLERANCE = {"complex": 1e-10, "central": 1e-6}
# A gradient that is short beside |u||y|, such as the zero one of a bias before a batch normalization, is
# judged as if it were this part of it: rounding leaves 1e-16 of |u||y| in a complex step, 1e-10 in a
# difference.
FLOOR = {"complex": 1e-4, "central": 1e-3}

# An error this large may come from a forward that drops the imaginary part on its way, as abs does:
DROPPED = 1e-3

Arrays = dict[str, Array]


class GradientError(HandgradError, AssertionError):
    """A gradient is not the derivative of its function."""


@dataclass(frozen=True)
class GradientReport:
    """What `gradcheck` found.

    Attributes
    ----------
    where : str
        What was checked.
    method : "complex" or "central"
        How the derivative was found.
    errors : dict of str to float
        For the input (``"x"``) and every parameter the largest error along a direction, relative to the
        gradient's length.
    tolerance : float
        What each must stay below.
    nudged : bool
        Whether the input was moved a little, off a kink.
    """

    where: str
    method: str
    errors: dict[str, float]
    tolerance: float
    nudged: bool = False

    @property
    def ok(self) -> bool:
        """Whether every error is below the tolerance."""
        return all(e <= self.tolerance for e in self.errors.values())

    def __str__(self) -> str:
        step = f"{self.method} step" if self.method == "complex" else "central differences"
        lines = [f"{self.where}: gradients against {step}, tolerance {self.tolerance:g}"]
        width = max(map(len, self.errors))
        lines += [
            f"  {name.ljust(width)}  {error:8.1e}  {'ok' if error <= self.tolerance else 'WRONG'}"
            for name, error in self.errors.items()
        ]
        if self.nudged:
            lines.append("  the input lay on a kink and was moved by about 1e-3")
        return "\n".join(lines)


def gradcheck(
    layer: Layer | Graph,
    x: Any,
    *,
    training: bool = True,
    method: str = "auto",
    directions: int = 3,
    tolerance: float | None = None,
    seed: int = 0,
) -> GradientReport:
    """Check every gradient of a layer or a model, with a random upstream gradient.

    Parameters
    ----------
    layer : Layer or Graph
        Is not changed: a copy in float64 is checked. Parameters that are constant, as gamma at 1, are made
        random in it, and buffers are moved once by a random batch: mistakes hide behind 1 and 0.
    x : (n, ...) or tuple of such
        A batch of inputs; a tuple for a `Merge`.
    training : bool, default True
        Whether to run in training mode.
    method : "auto", "complex" or "central"
        How the derivative is found; "auto" takes the complex step where the layer can be run on complex
        numbers.
    directions : int, default 3
        How many random directions for each array.
    tolerance : float, optional
        Largest relative error; 1e-10 for the complex step, 1e-6 for central differences.
    seed : int, default 0
        Of directions, upstream gradient and parameters.

    Returns
    -------
    GradientReport
        Printable.

    Raises
    ------
    GradientError
        If a gradient is wrong; the message names the array and, where it is small, the worst element.

    Notes
    -----
    At a kink, such as 0 for ReLU or equal maxima, a function has no derivative. The complex step follows the
    branch that the layer takes there, as backward must. Central differences see both sides: where they
    disagree, the input is moved by about 1e-3 and the report says so.

    Examples
    --------
    >>> import handgrad as hg
    >>> x = hg.rng.Stream((1,)).normal((4, 5, 5, 2), dtype="float64")
    >>> hg.testing.gradcheck(hg.layers.BatchNormalization(), x).ok
    True
    """
    if method not in ("auto", "complex", "central"):
        raise ArgumentError("gradcheck method", expected='"auto", "complex" or "central"', got=repr(method))
    rng = Stream((seed,)).child("gradcheck")
    inputs = tuple(np.asarray(a, np.float64) for a in (x if isinstance(x, tuple) else (x,)))
    subject = _Subject(layer, inputs, Run(training=training, rng=rng.child("run")), rng)
    first = _check(subject, "central" if method == "central" else "complex", directions, tolerance, rng)
    report = first
    if method == "auto" and (first is None or max(first.errors.values()) > DROPPED):
        second = _check(subject, "central", directions, tolerance, rng)
        if first is None or (second is not None and second.ok):
            report = second
    if report is None:
        raise ArgumentError(
            f"gradcheck of {subject.where}",
            expected="a function that takes complex numbers" if method == "complex" else "a smooth place",
            got="one that drops the imaginary part"
            if method == "complex"
            else "a kink that moving x does not leave",
            do='use method="central"' if method == "complex" else "check at another x",
        )
    if not report.ok:
        raise _failure(subject, report, rng)
    return report


class _Subject:
    """A float64 copy of what is checked, as a function of named arrays."""

    def __init__(self, layer: Layer | Graph, inputs: tuple[Array, ...], run: Run, rng: Stream) -> None:
        self.layer = copy.deepcopy(layer)
        self.run = run
        self.many = isinstance(layer, Merge)
        if isinstance(self.layer, Graph):
            self.layer.dtype = np.dtype(np.float64)
            self.where = self.layer.name or type(self.layer).__name__
        else:
            shapes = tuple(i.shape[1:] for i in inputs)
            self.layer.build(shapes if self.many else shapes[0], Init(dtype=np.float64))
            self.where = self.layer.where
        self.where += " in training" if run.training else " in inference"
        for name, p in self.layer.parameters().items():
            rebind(p, p.value.astype(np.float64), np.zeros(p.shape))
            if p.size and np.ptp(p.value) == 0:
                p.value += rng.child("parameter", name).normal(p.shape, 0.5, np.float64)
        if self.layer.buffers():
            batch = tuple(
                rng.child("buffers", i).normal((8, *a.shape[1:]), dtype=np.float64)
                for i, a in enumerate(inputs)
            )
            self._move_buffers(self._pack(batch))
        names = [f"x{i}" for i in range(len(inputs))] if self.many else ["x"]
        self.inputs = tuple(names)
        self.at: Arrays = dict(zip(names, inputs, strict=True))
        self.at |= {name: p.value for name, p in self.layer.parameters().items()}

    def _move_buffers(self, batch: Any) -> None:
        moved = copy.deepcopy(self.layer)
        moved.unfreeze()  # buffers of a frozen layer would stay where they began
        _, saved = moved.forward(batch, Run(training=True, rng=self.run.rng))
        moved.commit(saved)
        for name, buffer in moved.buffers().items():
            self.layer.buffers()[name].assign(buffer.value)

    def _pack(self, inputs: tuple[Array, ...]) -> Any:
        return inputs if self.many else inputs[0]

    def forward(self, at: Arrays) -> tuple[Array, Any]:
        """Return the output and what was saved, with the arrays `at`."""
        for name, p in self.layer.parameters().items():
            rebind(p, at[name], p.grad)  # it may be complex
        return self.layer.forward(self._pack(tuple(at[n] for n in self.inputs)), self.run)

    def gradients(self, at: Arrays, u: Array) -> Arrays:
        """Return what backward says, for every array it gives a gradient of."""
        for p in self.layer.parameters().values():
            p.grad[...] = 0
        _, saved = self.forward(at)
        dx: Any = self.layer.backward(u, saved, self.run, need_dx=True)
        grads = dict(zip(self.inputs, dx if self.many else (dx,), strict=True))
        for name, g in grads.items():
            self._check_shape(name, g, at[name])
        trained = (
            self.layer.trainable_parameters() if isinstance(self.layer, Graph) else self.layer.parameters()
        )
        if isinstance(self.layer, Graph) or self.layer.trainable:
            grads |= {name: p.grad.copy() for name, p in trained.items()}
        return grads

    def _check_shape(self, name: str, gradient: Any, x: Array) -> None:
        if np.shape(gradient) != x.shape or gradient is None:
            raise GradientError(
                self.where,
                expected=f"dL/d{name} of {name}'s shape {x.shape}",
                got="None" if gradient is None else f"shape {np.shape(gradient)}",
                do="backward returns a gradient for every number of its input",
            )


def _check(
    subject: _Subject, method: str, directions: int, tolerance: float | None, rng: Stream
) -> GradientReport | None:
    """Return a report; None where the method cannot be used."""
    tolerance = TOLERANCE[method] if tolerance is None else tolerance
    for attempt in range(4):
        at = dict(subject.at)
        if attempt:
            for name in subject.inputs:
                at[name] = at[name] + rng.child("nudge", attempt, name).normal(
                    at[name].shape, 1e-3, np.float64
                )
        y, _ = subject.forward(at)
        u = rng.child("upstream").normal(y.shape, dtype=np.float64)
        grads = subject.gradients(at, u)
        floor = FLOOR[method] * float(np.linalg.norm(u) * np.linalg.norm(y))

        def function(values: Arrays, u: Array = u) -> Any:
            return np.sum(u * subject.forward(values)[0])

        errors, kink = {}, False
        for name, g in grads.items():
            worst = 0.0
            for i in range(directions):
                v = rng.child("direction", name, i).normal(g.shape, dtype=np.float64)
                scale = max(float(np.linalg.norm(g)), floor, 1e-30)
                derivative = _DERIVATIVES[method](function, at, name, v, scale)
                if derivative is None:
                    kink = True
                    break
                error = abs(derivative - float(np.sum(g * v))) / max(scale, abs(derivative))
                worst = max(worst, np.inf if np.isnan(error) else error)
            errors[name] = worst
        subject.forward(subject.at)
        if not kink:
            where = subject.where
            return GradientReport(where, method, errors, tolerance, nudged=attempt > 0)
        if method == "complex":
            return None
    return None


def _complex_step(
    f: Callable[[Arrays], Any],
    at: Arrays,
    name: str,
    v: Array,
    scale: float,  # noqa: ARG001
) -> float | None:
    """Return the derivative along v; None where the function does not carry an imaginary part."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", np.exceptions.ComplexWarning)
            value = f({**at, name: at[name] + 1j * (COMPLEX_STEP * v)})
    except (TypeError, np.exceptions.ComplexWarning):
        return None
    if not np.iscomplexobj(value) and v.size:
        return None
    return float(np.imag(value)) / COMPLEX_STEP


def _central_difference(
    f: Callable[[Arrays], Any], at: Arrays, name: str, v: Array, scale: float
) -> float | None:
    """Return the derivative along v; None where the two sides disagree: a kink."""
    h = CENTRAL_STEP
    after, here, before = f({**at, name: at[name] + h * v}), f(at), f({**at, name: at[name] - h * v})
    if abs((after - here) - (here - before)) / h > 1e-2 * scale:
        return None
    return float(after - before) / (2 * h)


_DERIVATIVES: dict[str, Callable[..., float | None]] = {
    "complex": _complex_step,
    "central": _central_difference,
}


def _failure(subject: _Subject, report: GradientReport, rng: Stream) -> GradientError:
    name, error = max(report.errors.items(), key=lambda item: item[1])
    y, _ = subject.forward(subject.at)
    u = rng.child("upstream").normal(y.shape, dtype=np.float64)
    g = subject.gradients(subject.at, u)[name]
    do = "the derivation and the code disagree: compare them term by term"
    if g.size <= 2000:
        numeric = np.zeros(g.size)
        for i in range(g.size):
            v = np.zeros(g.size)
            v[i] = 1.0
            d = _DERIVATIVES[report.method](
                lambda at: np.sum(u * subject.forward(at)[0]), subject.at, name, v.reshape(g.shape), np.inf
            )
            numeric[i] = 0.0 if d is None else d
        at = int(np.argmax(np.abs(numeric - g.reshape(-1))))
        index = tuple(int(i) for i in np.unravel_index(at, g.shape))
        do = f"worst at {index}: the derivative is {numeric[at]:.6g}, backward says {g.reshape(-1)[at]:.6g}"
    return GradientError(
        subject.where,
        expected=f"dL/d{name} within {report.tolerance:g} of the {report.method} derivative",
        got=f"a relative error of {error:.2g}",
        do=do,
    )
