"""Every term of batch normalization, forward and backward, as steps that can be shown.

The numbers are those of `handgrad.kernels.reference.norm`, in its letters and in float64.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from handgrad.inspect import mathml as ml
from handgrad.kernels.reference import REFERENCE
from handgrad.layers.batch_statistics import BatchNormSaved
from handgrad.typing import Array

SHOWN = 4
"""How many summands are written out."""


@dataclass(frozen=True, eq=False)
class Step:
    """One term.

    Attributes
    ----------
    name : str
        Its letter in the code, such as ``"xhat"``.
    part : "forward" or "backward"
        Where it is computed.
    formula : str
        The line that computes it: ``"xhat = (x - mean)*s"``.
    value : (m, c) or (c,) array
        A number for every value, or one for every channel.
    uses : tuple of str
        The names of the steps it is computed from.
    says : str
        What it is.
    mathml : str
        The formula for a page.
    foot : tuple of (str, (c,) array)
        What can be seen of its columns, such as that their sums are 0.
    """

    name: str
    part: str
    formula: str
    value: Array
    uses: tuple[str, ...]
    says: str
    mathml: str
    foot: tuple[tuple[str, Array], ...] = ()
    worked: str = ""
    letters: dict[str, Any] = field(default_factory=dict, repr=False)

    @property
    def letter(self) -> str:
        """The left side of the formula, or all of it where it has none."""
        return self.formula.split(" = ")[0]

    def with_numbers(self, i: int, k: int) -> str:
        """Return the formula with the numbers of row `i` and channel `k`.

        A sum is written out, its first and last summands where it is long.
        """
        if not self.worked:
            return ""

        def summed(match: re.Match[str]) -> str:
            m = self.letters["m"]
            rows = range(m) if m <= SHOWN else (0, 1, m - 1)
            terms = [self._filled(match[1], row, k) for row in rows]
            if m > SHOWN:
                terms.insert(2, "...")
            return f"({' + '.join(terms)})"

        text = self._filled(re.sub(r"\[(.*)\]", summed, self.worked), i, k)
        value = self.value[i, k] if self.value.ndim == 2 else self.value[k]
        text = re.sub(r"^\((-[^()]*)\)(?= [+-] )", r"\1", _without_outer(text))
        return "" if text == number(value) else f"{text} = {number(value)}"

    def _filled(self, text: str, i: int, k: int) -> str:
        def one(match: re.Match[str]) -> str:
            letter = self.letters[match[1]]
            value = letter if np.ndim(letter) == 0 else letter[i, k] if np.ndim(letter) == 2 else letter[k]
            shown = number(value)
            return f"({shown})" if shown.startswith("-") else shown

        return re.sub(r"\{(\w+)\}", one, text)


def number(value: Any) -> str:
    """Return a number in four digits; what is only rounding as 0."""
    return "0" if abs(value) < 1e-12 else f"{value:.4g}".replace("e-0", "e-")


def scientific(value: float) -> str:
    """Return a deviation in two digits."""
    return f"{value:.1e}" if value else "0"


def _without_outer(text: str) -> str:
    """Leave out parentheses around all of it."""
    inner = text[1:-1]
    return inner if re.fullmatch(r"\([^()]*(\([^()]*\)[^()]*)*\)", text) else text


def steps_of(
    rows: Array, dy: Array, saved: BatchNormSaved, gamma: Array | None, beta: Array | None, epsilon: float
) -> list[Step]:
    """Return all steps.

    Parameters
    ----------
    rows, dy : (m, c)
        Input and upstream gradient.
    saved : BatchNormSaved
        What the layer normalizes by.
    gamma, beta : (c,) or None
        None where the layer has none.
    epsilon : float
        Of the layer.
    """
    mean, var, s, m = saved.mean, saved.var, saved.s, saved.m
    ones = np.ones_like(mean)
    derive = REFERENCE.batch_norm_backward_constant if saved.constant else REFERENCE.batch_norm_backward
    dx, dgamma, dbeta = derive(dy, rows, mean, s, gamma)
    scale = ones if gamma is None else gamma
    letters: dict[str, Any] = {
        "x": rows, "mean": mean, "centred": REFERENCE.batch_norm(rows, mean, ones, None, None),
        "var": var, "epsilon": epsilon, "s": s, "m": m,
        "xhat": REFERENCE.batch_norm(rows, mean, s, None, None), "gamma": gamma, "beta": beta,
        "scaled": REFERENCE.batch_norm(rows, mean, s, gamma, None),
        "y": REFERENCE.batch_norm(rows, mean, s, gamma, beta),
        "dy": dy, "dbeta": dbeta, "dgamma": dgamma, "g": scale * dy,
        "direct": REFERENCE.batch_norm_backward_constant(dy, rows, mean, s, gamma)[0],
        "dvar": -0.5 * s**2 * scale * dgamma, "dmean": -s * scale * dbeta, "dx": dx,
    }  # fmt: skip
    letters["through_var"] = letters["dvar"] * 2 * letters["centred"] / m
    letters["through_mean"] = letters["dmean"] / m
    writer = _Writer(letters, has_gamma=gamma is not None, has_beta=beta is not None)
    writer.forward(constant=saved.constant)
    writer.backward(constant=saved.constant)
    return writer.steps


class _Writer:
    """Writes the steps, with gamma and beta where the layer has them."""

    def __init__(self, letters: dict[str, Any], *, has_gamma: bool, has_beta: bool) -> None:
        self.letters, self.has_gamma, self.has_beta = letters, has_gamma, has_beta
        self.steps: list[Step] = []
        self.part = "forward"

    def add(
        self,
        name: str,
        formula: str,
        uses: str,
        worked: str,
        says: str,
        *math: str,
        foot: tuple[str, ...] = (),
    ) -> None:
        """Add a step; of its foot, the names of what is taken over the rows."""
        value = self.letters[name]
        feet = tuple((label, getattr(np, label)(value, axis=0)) for label in foot)
        texts = (tuple(uses.split()), says, ml.math(*math))
        self.steps.append(Step(name, self.part, formula, value, *texts, feet, worked, self.letters))

    def forward(self, *, constant: bool) -> None:
        """Add the steps of forward."""
        m = self.letters["m"]
        self.add("x", "x", "", "", f"The input: {m} values in each channel, one channel a column.", ml.X)
        if constant:
            says = "The running mean: a constant, which does not depend on x."
            self.add(
                "mean", "mean = running_mean", "", "", says, "μ", "=", ml.sub("μ", "<mtext>running</mtext>")
            )
        else:
            says = "What the values of a channel have in common. It depends on each of them."
            self.add(
                "mean", "mean = sum(x)/m", "x", "[{x}]/{m}", says, "μ", "=", ml.frac("1", "m"), ml.total(ml.X)
            )
        self.add(
            "centred", "x - mean", "x mean", "{x} - {mean}",
            "What is left without it." + ("" if constant else " Each column adds up to 0."),
            ml.X, "−", "μ", foot=("sum",),
        )  # fmt: skip
        if constant:
            says = "The running variance: a constant, too."
            right = ml.sub(ml.VAR, "<mtext>running</mtext>")
            self.add("var", "var = running_var", "", "", says, ml.VAR, "=", right)
        else:
            self.add(
                "var", "var = sum((x - mean)^2)/m", "centred", "[{centred}^2]/{m}",
                "How far the values are apart: the mean of the squares, divided by m, not by m - 1.",
                ml.VAR, "=", ml.frac("1", "m"), ml.total(ml.power(ml.row("(", ml.X, "−μ)"), "2")),
            )  # fmt: skip
        self.add(
            "s", "s = 1/sqrt(var + epsilon)", "var", "1/sqrt({var} + {epsilon})",
            f"One over the standard deviation. epsilon, {number(self.letters['epsilon'])}, keeps a constant "
            "channel from a division by 0.",
            "s", "=", ml.frac("1", ml.root(ml.row(ml.VAR, "+ϵ"))),
        )  # fmt: skip
        self.add(
            "xhat", "xhat = (x - mean)*s", "centred s", "{centred}*{s}",
            "The input, normalized by the running statistics." if constant else
            "The input, normalized: mean 0, and a variance of var/(var + epsilon), almost 1.",
            ml.XHAT, "=(", ml.X, "−μ)", "s", foot=("mean", "var"),
        )  # fmt: skip
        gamma = "gamma*" if self.has_gamma else ""
        if self.has_gamma and self.has_beta:
            says = "Scaled by gamma, which is learned."
            self.add("scaled", "gamma*xhat", "gamma xhat", "{gamma}*{xhat}", says, "γ", ml.XHAT)
        self.add(
            "y", f"y = {gamma}xhat{' + beta' if self.has_beta else ''}",
            "scaled beta" if self.has_gamma and self.has_beta else "gamma xhat" if self.has_gamma else
            "xhat beta" if self.has_beta else "xhat",
            f"{'{gamma}*' if self.has_gamma else ''}{{xhat}}{' + {beta}' if self.has_beta else ''}",
            "The output" + (", shifted by beta, which is learned." if self.has_beta else "."),
            ml.Y, "=", *(["γ"] if self.has_gamma else []), ml.XHAT, *(["+β"] if self.has_beta else []),
        )  # fmt: skip

    def backward(self, *, constant: bool) -> None:
        """Add the steps of backward."""
        self.part = "backward"
        self.add(
            "dy", "dy", "", "",
            "The gradient of the loss by y, from the layers behind. A dot over a letter means this.", ml.DY,
        )  # fmt: skip
        if self.has_beta:
            says = "beta is added to every y of its channel, and collects the gradient of each."
            self.add("dbeta", "dbeta = sum(dy)", "dy", "[{dy}]", says, ml.DBETA, "=", ml.total(ml.DY))
        elif not constant:
            says = "There is no beta; the term through the mean needs the sum."
            self.add("dbeta", "sum(dy)", "dy", "[{dy}]", says, ml.total(ml.DY))
        if self.has_gamma or not constant:
            name = "dgamma = " if self.has_gamma else ""
            self.add(
                "dgamma", f"{name}sum(dy*xhat)", "dy xhat", "[{dy}*{xhat}]",
                "gamma multiplies every xhat of its channel, and collects the gradient of each."
                if self.has_gamma else "There is no gamma; the term through the variance needs the sum.",
                *((ml.DGAMMA, "=") if self.has_gamma else ()), ml.total(ml.DY, ml.XHAT),
            )  # fmt: skip
        if self.has_gamma:
            says = "The gradient of xhat. From here on there are three ways back to x."
            says = "The gradient of xhat." if constant else says
            self.add("g", "g = gamma*dy", "gamma dy", "{gamma}*{dy}", says, ml.DXHAT, "=", "γ", ml.DY)
        g, letter = ("g", ml.DXHAT) if self.has_gamma else ("dy", ml.DY)
        if constant:
            self.add(
                "dx", f"dx = {'gamma*' if self.has_gamma else ''}s*dy", f"{g} s", f"{{{g}}}*{{s}}",
                "Mean and variance are constants here: x reaches y directly, and in no other way. A frozen "
                "layer whose backward keeps the other two terms is wrong.",
                ml.DX, "=", *(["γ"] if self.has_gamma else []), "s", ml.DY,
            )  # fmt: skip
            return
        self.add(
            "direct", f"{g}*s", f"{g} s", f"{{{g}}}*{{s}}",
            "Directly: x is in its own xhat, with the derivative s.", "s", letter,
        )  # fmt: skip
        gamma, gamma_ml = ("gamma*", ["γ"]) if self.has_gamma else ("", [])
        self.add(
            "dvar", f"dvar = -1/2*s^2*{gamma}dgamma", "s gamma dgamma" if self.has_gamma else "s dgamma",
            f"-1/2*{{s}}^2*{'{gamma}*' if self.has_gamma else ''}{{dgamma}}",
            "The variance is in every xhat of its channel: sum(g*(x - mean))*(-1/2)*s^3, which is this.",
            ml.DVAR, "=−", ml.frac("1", "2"), ml.power("s", "2"), *gamma_ml, ml.DGAMMA,
        )  # fmt: skip
        self.add(
            "through_var", "dvar*2*(x - mean)/m", "dvar centred", "{dvar}*2*{centred}/{m}",
            "Through the variance: each x moves it by 2*(x - mean)/m.",
            ml.DVAR, ml.frac(ml.row("2(", ml.X, "−μ)"), "m"),
        )  # fmt: skip
        self.add(
            "dmean", f"dmean = -s*{gamma}dbeta", "s gamma dbeta" if self.has_gamma else "s dbeta",
            f"-{{s}}*{'{gamma}*' if self.has_gamma else ''}{{dbeta}}",
            "The mean is in every xhat of its channel, with the derivative -s. That it is in the variance, "
            "too, adds nothing: sum(x - mean) is 0.",
            ml.DMEAN, "=−", "s", *gamma_ml, ml.DBETA,
        )  # fmt: skip
        self.add(
            "through_mean", "dmean/m", "dmean", "{dmean}/{m}",
            "Through the mean: each x moves it by 1/m. The same for all values of a channel.",
            ml.frac(ml.DMEAN, "m"),
        )  # fmt: skip
        bracket = ml.row("(", ml.DY, "−", ml.frac(ml.row(ml.DBETA, "+", ml.XHAT, ml.DGAMMA), "m"), ")")
        of_var = ml.row(ml.DVAR, ml.frac(ml.row("2(", ml.X, "−μ)"), "m"))
        self.add(
            "dx", f"dx = {gamma}s*(dy - (dbeta + xhat*dgamma)/m)", "direct through_var through_mean",
            "{direct} + {through_var} + {through_mean}",
            "All three together. Each column adds up to 0: to move all values of a channel alike changes "
            "nothing.",
            ml.DX, "=s", letter, "+", of_var, "+", ml.frac(ml.DMEAN, "m"), "=", *gamma_ml, "s", bracket,
            foot=("sum",),
        )  # fmt: skip
