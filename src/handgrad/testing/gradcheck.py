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

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.arguments import check_count, check_flag, check_number
from handgrad.errors import ArgumentError
from handgrad.layers import Run
from handgrad.rng import Stream
from handgrad.testing.subject import Arrays, GradientError, Subject, float64, subject_of
from handgrad.typing import Array, is_integer

COMPLEX_STEP = 1e-30
CENTRAL_STEP = 1e-6
TOLERANCE = {"complex": 1e-10, "central": 1e-6}
# A gradient that is short beside |u||y|, such as the zero one of a bias before a batch normalization, is
# judged as if it were this part of it: rounding leaves 1e-16 of |u||y| in a complex step, 1e-10 in a
# difference.
FLOOR = {"complex": 1e-4, "central": 1e-3}

# An error this large may come from a forward that drops the imaginary part on its way, as abs does:
DROPPED = 1e-3


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
    layer: Any,
    x: Any,
    y: Any = None,
    *,
    training: bool = True,
    method: str = "auto",
    directions: int = 3,
    tolerance: float | None = None,
    seed: int = 0,
) -> GradientReport:
    """Check every gradient of a layer, a model or a loss, with a random upstream gradient.

    Parameters
    ----------
    layer : Layer, Graph or Loss
        Is not changed: a copy in float64 is checked. Parameters that are constant, as gamma at 1, are made
        random in it, and buffers are moved once by a random batch: mistakes hide behind 1 and 0.
    x : (n, ...) or tuple of such
        A batch of inputs; a tuple for a `Merge`. For a loss the outputs of a model.
    y : array, optional
        For a loss, and for nothing else, the labels.
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
    ArgumentError
        If an argument means nothing.

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
    if not isinstance(method, str) or method not in ("auto", "complex", "central"):
        raise ArgumentError("gradcheck method", expected='"auto", "complex" or "central"', got=repr(method))
    check_flag("gradcheck", "training", training)
    check_count("gradcheck", "directions", directions)
    if not is_integer(seed) or seed < 0:
        raise ArgumentError("gradcheck seed", expected="an int, at least 0", got=repr(seed))
    if tolerance is not None:
        check_number("gradcheck", "tolerance", tolerance)
    rng = Stream((seed,)).child("gradcheck")
    inputs = tuple(float64(a) for a in (x if isinstance(x, tuple) else (x,)))
    run = Run(training=training, rng=rng.child("run"))
    subject = subject_of(layer, inputs, y, run, rng)
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


def _check(
    subject: Subject, method: str, directions: int, tolerance: float | None, rng: Stream
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


def _failure(subject: Subject, report: GradientReport, rng: Stream) -> GradientError:
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
