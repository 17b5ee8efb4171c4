"""What can be wrong with a batch normalization, and what to do about it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from handgrad.inspect.health import LayerHealth, Problem
from handgrad.typing import Array

GAP = 0.1
"""What the normalized values of inference may be off, in standard deviations."""
NOISE = 2.0
"""How many times the difference between batches a gap may be."""
LEFT = 0.05
"""What share of the running statistics may be that they began with."""
RARE = 1e-3
SMALL = 1e-2
"""Of the median |gamma| of the layer."""

AGAIN = "hg.precise_statistics(model, x)"


def diagnosed(layer: LayerHealth, *, began_at_zero: bool) -> LayerHealth:
    """Return the layer with its problems.

    Parameters
    ----------
    layer : LayerHealth
        Without problems.
    began_at_zero : bool
        Whether the running statistics still hold some of the mean 0 and variance 1 that they began with.
    """
    problems = [*_not_finite(layer), *_running(layer, began_at_zero=began_at_zero), *_dead(layer)]
    return replace(layer, problems=tuple(problems))


def _not_finite(layer: LayerHealth) -> list[Problem]:
    values = {
        "gamma": layer.gamma,
        "beta": layer.beta,
        "running mean": layer.running_mean,
        "running variance": layer.running_var,
        "input": layer.mean + layer.var,
    }
    found = {name: np.flatnonzero(~np.isfinite(a)) for name, a in values.items() if a is not None}
    return [
        Problem(
            "not finite",
            tuple(map(int, at)),
            f"{name} is NaN or infinite: {_channels(at)}",
            "go back to a checkpoint before that; a Trainer stops at the first such step and names the layer",
        )
        for name, at in found.items()
        if len(at)
    ]


def _running(layer: LayerHealth, *, began_at_zero: bool) -> list[Problem]:
    every = tuple(range(len(layer)))
    if layer.updates is None:
        return []
    if layer.updates == 0 and not layer.running_mean.any() and (layer.running_var == 1).all():
        text = "the running statistics were never moved: inference takes a mean of 0 and a variance of 1"
        return [Problem("unfitted", every, text, f"train it; or fit them alone with {AGAIN}")]
    limit = np.full(len(layer), GAP) if layer.noise is None else np.maximum(GAP, NOISE * layer.noise)
    at = np.flatnonzero((layer.gap > limit) & ~_constant(layer))
    if not len(at):
        return []
    worst = int(at[np.argmax(layer.gap[at])])
    text = (
        f"inference normalizes otherwise than training does, in {len(at)} of {len(layer)} channels; the "
        f"worst is c{worst}, by {layer.gap[worst]:.2g}: {_difference(layer, worst)}"
    )
    slow = _slow(layer) if began_at_zero and layer.momentum is not None else []
    do = (
        f"if it was trained on data like these, its weights have moved since: {AGAIN} measures again; "
        "if not, the data have changed"
    )
    do = f"they have not had the time that this momentum needs: {AGAIN} measures again" if slow else do
    return [*slow, _problem("gap", at, text, do)]


def _slow(layer: LayerHealth) -> list[Problem]:
    """Return whether momentum is too long for the run."""
    momentum, updates = layer.momentum or 0.0, layer.updates or 0
    left = momentum**updates
    if not updates or left <= LEFT:  # loaded without a count of updates, nothing is known of what is left
        return []
    window = f"{1 / (1 - momentum):.0f}" if momentum < 1 else "all"
    fitting = math.floor(100 * 0.01 ** (1 / updates)) / 100
    text = (
        f"momentum {momentum:g} is too long for {updates:,} update{'s' * (updates > 1)}: it "
        f"averages over about 1/(1 - momentum) = {window}, and {left:.0%} of the running statistics are the "
        "mean 0 and variance 1 that they began with"
    )
    do = f"momentum={fitting:g} would leave 1% of that in a run of this length; debias=True takes it out"
    return [Problem("momentum", tuple(range(len(layer))), text, do)]


def _difference(layer: LayerHealth, k: int) -> str:
    """Say how the running statistics of a channel differ from the data's."""
    shift, ratio = float(layer.shift[k]), float(layer.ratio[k])
    parts = []
    if abs(shift) >= GAP / 2:
        side = "high" if shift > 0 else "low"
        parts.append(f"its running mean is {_plain(abs(shift))} standard deviations too {side}")
    if abs(ratio - 1) >= GAP / 2 or not parts:
        parts.append(f"its running standard deviation is {_plain(ratio)} times the data's")
    return ", and ".join(parts)


def _plain(value: float) -> str:
    return f"{value:.2g}" if value < 100 else f"{value:,.0f}"


def _constant(layer: LayerHealth) -> Array:
    constant: Array = layer.var <= layer.epsilon
    return constant


def _dead(layer: LayerHealth) -> list[Problem]:
    problems = []
    small, constant = np.zeros(len(layer), bool), _constant(layer)
    if layer.gamma is not None:
        size = np.abs(layer.gamma)
        small = size <= SMALL * np.median(size)
    if small.any():
        at = np.flatnonzero(small)
        text = f"gamma is about 0, and the output beta whatever comes: {_channels(at)}"
        do = "they can be pruned; if they are to learn, leave gamma out of weight decay, as by default"
        problems.append(_problem("gamma", at, text, do))
    if constant.any():
        at = np.flatnonzero(constant)
        most = _scientific(float(layer.var[at].max()))
        epsilon = _scientific(layer.epsilon)
        text = (
            f"the input hardly changes, its variance is at most {most} and epsilon {epsilon}: {_channels(at)}"
        )
        do = "look at the layer before, which gives the same there for all inputs"
        problems.append(_problem("constant", at, text, do))
    if layer.active is None:
        return problems
    silent = np.flatnonzero((layer.active == 0) & ~small & ~constant)
    rare = np.flatnonzero((layer.active > 0) & (layer.active < RARE))
    if len(silent):
        text = f"the ReLU after it is 0 for all {layer.count:,} values: {_channels(silent)}"
        do = "no gradient reaches them any more: begin again with a lower learning rate or a warm-up"
        problems.append(_problem("silent", silent, text + _why(layer, silent), do))
    if len(rare):
        text = f"the ReLU after it lets fewer than 1 in 1,000 values through: {_channels(rare)}"
        do = "they are about to die: lower the learning rate"
        problems.append(_problem("rare", rare, text + _why(layer, rare), do))
    return problems


def _scientific(value: float) -> str:
    return f"{value:.0e}".replace("e-0", "e-") if value else "0"


def _problem(kind: str, at: Array, text: str, do: str) -> Problem:
    return Problem(kind, tuple(map(int, at)), text, do)


def _why(layer: LayerHealth, at: Array) -> str:
    """Say of the first channel how far up its values would have to reach."""
    if layer.gamma is None or layer.beta is None:
        return ""
    k = int(at[0])
    needed = -layer.beta[k] / abs(layer.gamma[k])
    return (
        f"; of c{k} only values {needed:.1f} standard deviations above the mean would pass"
        if needed > 2
        else ""
    )


def _channels(at: Array, most: int = 6) -> str:
    names = ", ".join(f"c{k}" for k in at[:most])
    return names if len(at) <= most else f"{names} and {len(at) - most} more"
