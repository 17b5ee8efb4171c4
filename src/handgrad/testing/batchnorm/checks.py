"""The checks of `check_batchnorm`, in order; each adds a line to what was found."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from handgrad.rng import Stream
from handgrad.testing.batchnorm import formulas
from handgrad.testing.batchnorm.calls import (
    UNKNOWN,
    UnusableError,
    call,
    dtype_mistake,
    error_of,
    several,
    shape_mistake,
    shaped,
    unknown_output,
    worst,
    written,
)
from handgrad.testing.batchnorm.formula import MOST, Formula, Mistake
from handgrad.testing.batchnorm.report import BatchNormCheck
from handgrad.testing.batchnorm.terms import take_apart
from handgrad.typing import Array, Shape

TOLERANCE, LOOSE = 1e-9, 1e-4
"""The second for code that computes in float32 whatever it is given."""
DIFFERENCE = 1e-5
"""What central differences are right to."""
FAR = 1e8
"""A mean at which mean(x^2) - mean(x)^2 has no digit left in float64."""
MOMENTUM = 0.7

Function = Callable[..., Any]
Letters = dict[str, Any]


class Checks:
    """All checks of one implementation, on numbers from a stream, and what they found."""

    def __init__(self, shape: Shape, epsilon: float, rng: Stream) -> None:
        self.shape, self.epsilon, self.rng = shape, epsilon, rng
        self.c = shape[-1]
        self.found: list[BatchNormCheck] = []
        self.tolerance = TOLERANCE
        mean, std = self._channels("mean", 1.0, 4.0), self._channels("std", 0.5, 1.5)
        self.x = mean + std * self._normal("x")
        self.dy = self._normal("dy")
        self.gamma = self._channels("gamma", 0.5, 2.0)
        self.gamma[-1] *= -1
        self.beta = self._channels("beta", 0.5, 2.0)
        self.at = {"x": self.x, "gamma": self.gamma, "beta": self.beta}

    def _channels(self, name: str, low: float, high: float) -> Array:
        return self.rng.child(name).uniform((self.c,), low, high, np.float64)

    def _normal(self, name: str) -> Array:
        return self.rng.child(name).normal(self.shape, dtype=np.float64)

    def _letters(self, **more: Any) -> Letters:
        """Return the letters that formulas begin with."""
        size, n = self.x.size, self.shape[0]

        def values(axes: tuple[int, ...]) -> int:
            return int(np.prod([self.shape[a] for a in axes]))

        letters = {
            **self.at,
            "epsilon": self.epsilon,
            "values": values,
            "n": n,
            "c": self.c,
            "m": size // self.c,
        }
        return {**letters, "dy": self.dy, "momentum": MOMENTUM, **more}

    def add(
        self,
        part: str,
        quantity: str,
        error: float | None,
        mistakes: tuple[Mistake, ...] | list[Mistake] = (),
        *,
        note: str = "",
        details: tuple[str, ...] = (),
    ) -> None:
        """Add a line."""
        self.found.append(BatchNormCheck(part, quantity, error, tuple(mistakes), note, details))

    # a batch by its own statistics

    def batch(self, forward: Function, backward: Function | None) -> None:
        """Check forward and backward of a batch."""
        passed = {name: a.copy() for name, a in self.at.items()}
        try:
            y, cache = self._forward(forward, passed)
        except UnusableError as unusable:
            self.add("forward", "y", None, [unusable.mistake])
            return
        self.add("forward", "leaves its input", None, written("forward", passed, self.at))
        formula = formulas.forward(self.shape)
        known = self._identify("forward", y, formula, {}, lambda at: self._forward(forward, at)[0])
        if known is not None and not known["mistakes"]:
            self._far(forward, formula)
        if backward is not None:
            self._backward("backward", forward, backward, cache, known)
        if self.tolerance == TOLERANCE:
            self._single(forward, backward)

    def _forward(self, forward: Function, at: dict[str, Array]) -> tuple[Array, Any]:
        result = call("forward", forward, at["x"], at["gamma"], at["beta"], self.epsilon)
        y, cache = several("forward", result, 2, "forward(x, gamma, beta, epsilon) -> y, cache")
        return shaped("y", y, self.shape), cache

    def _identify(
        self, part: str, y: Array, formula: Formula, more: Letters, again: Callable[[dict[str, Array]], Array]
    ) -> Letters | None:
        """Add a check of y; return the letters of the forward that it is, or None where it is not known."""
        if y.dtype != np.float64:
            self.tolerance = LOOSE
            self.add(part, "dtype of y", None, [dtype_mistake(["y"], np.float64, y.dtype)])
        right = formula.evaluate(self._letters(**more))
        error = error_of(y, right["y"])
        found = formula.search(self._letters(**more), lambda got: error_of(y, got["y"]) <= self.tolerance)
        if found is None:
            slope = (self.gamma * right["s"]).reshape(-1)
            mistake = unknown_output(self.x, y, slope)
            self.add(part, "y", error, [mistake], details=(worst(y, right["y"]),))
            return None
        mistakes, known = found
        details: tuple[str, ...] = ()
        if mistakes:
            plain = {**self.at, "gamma": np.ones(self.c), "beta": np.zeros(self.c)}
            ones = formula.evaluate(self._letters(**more, **plain))
            hidden = error_of(again({k: a.copy() for k, a in plain.items()}), ones["y"]) <= self.tolerance
            details = (worst(y, right["y"]),)
            details += ("With gamma = 1 and beta = 0, as they begin, it does not show.",) if hidden else ()
        self.add(part, "y", error, mistakes, details=details)
        return {**known, "mistakes": mistakes}

    def _far(self, forward: Function, formula: Formula) -> None:
        """Check forward far from 0, where mean(x^2) - mean(x)^2 cancels."""
        near = self._normal("far")
        try:
            y, _ = self._forward(forward, {**self.at, "x": near + FAR})
        except UnusableError as unusable:
            self.add("forward", "y at mean 1e8", None, [unusable.mistake])
            return
        error = error_of(y, formula.evaluate(self._letters(x=near))["y"])
        mistake = Mistake(
            "the variance is a difference of two large numbers, of which no digit is left far from 0",
            "var = sum((x - mean)^2)/m",
            "var = sum(x^2)/m - mean^2",
            "in float32 a mean of some thousand standard deviations is enough, and what is left can be "
            "negative: take the mean away first, then square",
        )
        self.add("forward", "y at mean 1e8", error, [mistake] if error > 1e-3 else [])

    def _single(self, forward: Function, backward: Function | None) -> None:
        """Check that float32 stays float32."""
        mistakes = []
        try:
            y, cache = self._forward(forward, {name: a.astype(np.float32) for name, a in self.at.items()})
            results = {"y": y}
            if backward is not None:
                gradients = self._gradients(backward, self.dy.astype(np.float32), cache)
                results |= zip(("dx", "dgamma", "dbeta"), gradients, strict=True)
            wrong = [name for name, a in results.items() if a.dtype != np.float32]
            mistakes = [dtype_mistake(wrong, np.float32, results[wrong[0]].dtype)] if wrong else []
        except UnusableError as unusable:
            if any(unusable.mistake in check.mistakes for check in self.found):
                return
            mistakes = [unusable.mistake]
        self.add("float32", "stays float32", None, mistakes)

    # backward

    def _gradients(self, backward: Function, dy: Array, cache: Any) -> tuple[Array, Array, Array]:
        result = call("backward", backward, dy, cache)
        dx, dgamma, dbeta = several("backward", result, 3, "backward(dy, cache) -> dx, dgamma, dbeta")
        # copies: a second backward may write into what the first returned
        return shaped("dx", dx, self.shape).copy(), np.array(dgamma), np.array(dbeta)

    def _backward(
        self,
        part: str,
        forward: Callable[..., Any],
        backward: Function,
        cache: Any,
        known: Letters | None,
        *,
        constant: bool = False,
    ) -> None:
        passed = self.dy.copy()
        try:
            dx, dgamma, dbeta = self._gradients(backward, passed, cache)
            again = self._gradients(backward, self.dy.copy(), cache)
        except UnusableError as unusable:
            self.add(part, "dx, dgamma, dbeta", None, [unusable.mistake])
            return
        if not constant:
            changes = written("backward", {"dy": passed}, {"dy": self.dy})
            if not all(
                np.array_equal(a, b, equal_nan=True) for a, b in zip((dx, dgamma, dbeta), again, strict=True)
            ):
                why = "an array in the cache is written into: xhat *= ... changes what forward kept"
                changes.append(Mistake("a second backward with the same cache gives other values", why=why))
            self.add(part, "leaves its input", None, changes)
        if known is None:
            self._by_differences(part, forward, {"dgamma": dgamma, "dbeta": dbeta, "dx": dx})
            return
        axes = tuple(range(len(self.shape) - 1))
        letters = {**known, "axes": axes, "m": self.x.size // self.c}
        dgamma, dbeta = self._parameters(part, dgamma, dbeta, letters)
        right = {
            name: formulas.parameter(name, images=False).evaluate(letters)[name].reshape(self.c)
            for name in ("dgamma", "dbeta")
        }
        for name, got in (("dgamma", dgamma), ("dbeta", dbeta)):
            usable = got.shape == (self.c,) and error_of(got, right[name]) > self.tolerance
            letters[f"your_{name}"] = got if usable else np.full(self.c, np.nan)
        self._input(part, forward, backward, dx, {**letters, **right}, constant=constant)

    def _parameters(self, part: str, dgamma: Array, dbeta: Array, letters: Letters) -> tuple[Array, Array]:
        """Check dgamma and dbeta; return them, in their places."""
        images = len(self.shape) > 2
        of = {name: formulas.parameter(name, images=images) for name in ("dgamma", "dbeta")}
        right = {name: f.evaluate(letters)[name].reshape(self.c) for name, f in of.items()}
        crossed = max(error_of(dgamma, right["dbeta"]), error_of(dbeta, right["dgamma"]))
        if crossed <= self.tolerance:
            text = "dgamma and dbeta have changed places"
            mistake = Mistake(text, "return dx, dgamma, dbeta", "return dx, dbeta, dgamma")
            self.add(part, "dgamma, dbeta", error_of(dgamma, right["dgamma"]), [mistake])
            return dbeta, dgamma
        terms = {"dgamma": self.dy * letters["xhat"], "dbeta": self.dy}
        for name, got in (("dgamma", dgamma), ("dbeta", dbeta)):
            if got.shape != (self.c,):
                line = of[name].line(name)
                mistake = shape_mistake(name, got, right[name], terms[name], line, self.tolerance)
                self.add(part, name, None, [mistake])
                continue
            self._compare(part, name, got, of[name], letters)
        return dgamma, dbeta

    def _compare(
        self, part: str, name: str, got: Array, formula: Formula, letters: Letters, note: str = ""
    ) -> None:
        """Add a check of a vector of channels."""
        right = formula.evaluate(letters)
        found = formula.search(letters, lambda values: self._off(got, values[name]) <= self.tolerance)
        mistakes = (Mistake(UNKNOWN, formula.line(name)),) if found is None else found[0]
        details = (worst(got, right[name].reshape(self.c)),) if mistakes else ()
        self.add(part, name, self._off(got, right[name]), mistakes, note=note, details=details)

    def _input(
        self, part: str, forward: Function, backward: Function, dx: Array, letters: Letters, *, constant: bool
    ) -> None:
        """Check dx."""
        formula = formulas.input_gradient(self.shape)
        of_batch = formula.evaluate(letters)["dx"]
        right = self.gamma * letters["s"] * self.dy if constant else of_batch
        error = error_of(dx, right)
        mistaken = bool(letters["mistakes"])
        if error <= self.tolerance:
            self.add(part, "dx", error, note="by your forward: right once that is" if mistaken else "")
            return
        if mistaken and not constant:
            derivative = self._difference(forward, "x")
            if error_of(dx, derivative) <= DIFFERENCE:
                note = "the derivative of your forward: right once that is"
                self.add(part, "dx", error_of(dx, derivative), note=note)
                return
        mistakes = self._constant_mistakes(dx, of_batch) if constant else ()
        if not constant:
            found = formula.search(letters, lambda got: error_of(dx, got["dx"]) <= self.tolerance)
            mistakes = () if found is None else found[0]
        if not mistakes and letters["s"].size == self.c:
            s, var = letters["s"].reshape(self.c), letters["var"].reshape(self.c)
            xhat = np.broadcast_to(letters["xhat"], self.shape)
            mistakes = take_apart(dx, self.dy, xhat, s, var, self.gamma, constant=constant)
        mistakes = mistakes or (Mistake(UNKNOWN, formulas.DX),)
        hidden = () if constant or mistaken else self._hidden(forward, backward, formula)
        self.add(part, "dx", error, mistakes, details=(worst(dx, right), *hidden))

    def _constant_mistakes(self, dx: Array, of_batch: Array) -> tuple[Mistake, ...]:
        if error_of(dx, of_batch) > self.tolerance:
            return ()
        text = "mean and variance are taken to depend on x, but they are constants here"
        why = "running statistics do not move with x: of the three terms only the direct one is there"
        return (Mistake(text, "dx = gamma*s*dy", formulas.DX, why),)

    def _hidden(self, forward: Function, backward: Function, formula: Formula) -> tuple[str, ...]:
        """Return which easier checks would not have seen that dx is wrong."""
        found = []
        for text, gamma, dy in (
            ("With gamma = 1, as it begins, it does not show.", np.ones(self.c), self.dy),
            ("With dy = 1, which is the loss sum(y), it does not show.", self.gamma, np.ones(self.shape)),
        ):
            try:
                _, cache = self._forward(forward, {**self.at, "x": self.x.copy(), "gamma": gamma})
                dx, _, _ = self._gradients(backward, dy.copy(), cache)
            except UnusableError:
                continue
            letters = formulas.forward(self.shape).evaluate(self._letters(gamma=gamma, dy=dy))
            for name in ("dgamma", "dbeta"):
                letters = formulas.parameter(name, images=False).evaluate(letters)
            off = np.linalg.norm(dx - formula.evaluate(letters)["dx"])
            if off <= self.tolerance * np.linalg.norm(gamma * letters["s"] * dy):
                found.append(text)
        return tuple(found)

    def _difference(self, forward: Function, name: str) -> Array:
        """Return a gradient by central differences of forward."""
        h = 1e-6
        gradient = np.zeros(self.at[name].shape)
        for i in np.ndindex(gradient.shape):
            sides = []
            for sign in (1, -1):
                at = {key: a.copy() for key, a in self.at.items()}
                at[name][i] += sign * h
                sides.append(float(np.sum(self.dy * self._forward(forward, at)[0])))
            gradient[i] = (sides[0] - sides[1]) / (2 * h)
        return gradient

    def _by_differences(self, part: str, forward: Function, gots: dict[str, Array]) -> None:
        """Check gradients of a forward that is not known: are they its derivatives."""
        for name, got in gots.items():
            error = error_of(got, self._difference(forward, name[1:]))
            mistake = Mistake("it is not the derivative of your forward: repair that first")
            wrong = error > max(DIFFERENCE, self.tolerance)
            self.add(part, name, error, [mistake] if wrong else [], note="the derivative of your forward")

    # running statistics

    def inference(self, inference: Function, backward: Function | None) -> None:
        """Check y by the running statistics, and a backward that holds them constant."""
        mean, var = self._channels("running mean", 0.5, 3.0), self._channels("running var", 0.5, 2.0)
        caches: list[Any] = []

        def run(at: dict[str, Array]) -> Array:
            arrays = [at[name].copy() for name in ("x", "gamma", "beta")]
            result = call("inference", inference, *arrays, mean.copy(), var.copy(), self.epsilon)
            pair = isinstance(result, tuple | list) and len(result) == 2
            caches.append(result[1] if pair else None)
            return shaped("y", result[0] if pair else result, self.shape)

        try:
            y = run(self.at)
        except UnusableError as unusable:
            self.add("inference", "y", None, [unusable.mistake])
            return
        more = {"running_mean": mean, "running_var": var}
        known = self._identify("inference", y, formulas.inference(self.shape), more, run)
        if caches[0] is not None and backward is not None and known is not None and not known["mistakes"]:
            self._backward("frozen", run, backward, caches[0], known, constant=True)

    def update(self, update: Function, kept: str | None) -> None:
        """Check how the running statistics move."""
        mean, var = self._channels("old mean", 1.0, 3.0), self._channels("old var", 1.0, 3.0)
        signature = "update(running_mean, running_var, x, momentum) -> running_mean, running_var"
        try:
            result = call("update", update, mean.copy(), var.copy(), self.x.copy(), MOMENTUM)
            moved = [np.asarray(a) for a in several("update", result, 2, signature)]
        except UnusableError as unusable:
            self.add("update", "running_mean, running_var", None, [unusable.mistake])
            return
        letters = self._letters(old_running_mean=mean, old_running_var=var)
        notes = {"biased": "biased, /m, as Keras", "unbiased": "unbiased, /(m - 1), as PyTorch"}
        for name, got in zip(("running_mean", "running_var"), moved, strict=True):
            if got.shape != (self.c,):
                wanted = f"{name} of shape ({self.c},)"
                self.add("update", name, None, [Mistake(f"it has the shape {got.shape}", wanted)])
                continue
            estimates = (kept,) if kept else ("unbiased", "biased")
            of = {e: formulas.running(name, self.shape, e) for e in estimates}
            fewest = min(estimates, key=lambda e: self._count(name, got, of[e], letters))
            note = notes[fewest] if name == "running_var" else ""
            self._compare("update", name, got, of[fewest], letters, note)

    def _count(self, name: str, got: Array, formula: Formula, letters: Letters) -> int:
        """Return how many mistakes give a vector of channels; more than any number where none does."""
        found = formula.search(letters, lambda values: self._off(got, values[name]) <= self.tolerance)
        return MOST + 1 if found is None else len(found[0])

    def _off(self, got: Array, value: Array) -> float:
        return error_of(got, value.reshape(self.c) if value.size == self.c else value)
