"""The health of the batch normalizations of a model, as numbers and as a table."""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

import numpy as np

from handgrad.errors import ArgumentError
from handgrad.typing import Array

WIDTH = 100
CHANNEL = (
    "mean", "running_mean", "var", "running_var", "shift", "ratio", "gap", "noise", "gamma", "beta", "active",
)  # fmt: skip
DETAILED = 3
"""How many layers with problems are shown in detail."""
WORST = 5
"""How many channels of a layer with problems are shown."""


@dataclass(frozen=True)
class Problem:
    """What is wrong with a layer.

    Attributes
    ----------
    kind : str
        ``"unfitted"``, ``"momentum"``, ``"gap"``, ``"gamma"``, ``"silent"``, ``"rare"``, ``"constant"`` or
        ``"not finite"``.
    channels : tuple of int
        Where; all of them where it concerns the layer.
    text, do : str
        What was seen, and what can be done about it.
    """

    kind: str
    channels: tuple[int, ...]
    text: str
    do: str

    def lines(self) -> list[str]:
        """Return it as it is printed."""
        return [*_wrapped(self.text, "  - "), *_wrapped(self.do, "    → ")]

    def same(self, other: Problem) -> bool:
        """Whether the other says the same, perhaps of another number of channels."""
        return (self.kind, self.text, self.do) == (other.kind, other.text, other.do)


@dataclass(frozen=True, eq=False)
class LayerHealth:
    """One batch normalization; print it to see every channel.

    Attributes
    ----------
    name : str
        Of its first node in the model.
    count : int
        How many values each channel had.
    momentum : float or None
        Of the layer; None where it averages all batches.
    epsilon : float
        Of the layer.
    updates : int or None
        How often the running statistics have been moved; None where the layer has none, and normalizes by the
        batch in inference, too.
    frozen : bool
        Whether the layer is frozen.
    mean, var : (c,) array
        Of these data, each batch being normalized as in training by the layers before.
    running_mean, running_var : (c,) array
        What inference normalizes by.
    shift, ratio : (c,) array
        How many standard deviations of the data the running mean is too high, and how many times the data's
        the running standard deviation is: 0 and 1 where they agree.
    gap : (c,) array
        The root mean square difference between the normalized values of inference and those by the data's own
        statistics, ``sqrt(var*(s_running - s)^2 + ((mean - running_mean)*s_running)^2)``. Normalized values
        have a standard deviation of 1.
    noise : (c,) array or None
        The same between the statistics of one batch and those of all: what training lives with. None where
        there was one batch.
    gamma, beta : (c,) array or None
    active : (c,) array or None
        The share of values that the ReLU after it lets through; None where no ReLU, or something else as
        well, follows.
    problems : tuple of Problem
    """

    name: str
    count: int
    momentum: float | None
    epsilon: float
    updates: int | None
    frozen: bool
    mean: Array
    var: Array
    running_mean: Array
    running_var: Array
    shift: Array
    ratio: Array
    gap: Array
    noise: Array | None
    gamma: Array | None
    beta: Array | None
    active: Array | None
    problems: tuple[Problem, ...] = field(default=())

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    @property
    def dead(self) -> tuple[int, ...]:
        """The channels that give the same whatever comes, in order."""
        kinds = ("gamma", "silent", "constant")
        return tuple(sorted({k for p in self.problems if p.kind in kinds for k in p.channels}))

    def __len__(self) -> int:
        """Return the number of channels."""
        return len(self.mean)

    def worst(self, count: int = WORST) -> list[int]:
        """Return the channels with most against them: dead ones first, then by gap."""
        against = np.where(np.isfinite(self.gap), self.gap, np.inf)
        dead = set(self.dead)
        return sorted(range(len(self)), key=lambda k: (k not in dead, -against[k]))[:count]

    def channel(self, k: int) -> dict[str, float | str]:
        """Return all there is of one channel, by name; ``"problems"`` are their kinds."""
        if not 0 <= k < len(self):
            raise ArgumentError(f"{self.name} channel", expected=f"0..{len(self) - 1}", got=repr(k))
        names = (
            "mean",
            "running_mean",
            "var",
            "running_var",
            "shift",
            "ratio",
            "gap",
            "noise",
            "gamma",
            "beta",
        )
        values: dict[str, float | str] = {}
        for name in (*names, "active"):
            array = getattr(self, name)
            if array is not None:
                values[name] = float(array[k])
        kinds = [p.kind for p in self.problems if k in p.channels and len(p.channels) < len(self)]
        return values | {"problems": ", ".join(kinds)}

    def table(self, channels: list[int] | None = None) -> str:
        """Return a line for each channel, or for some of them."""
        head = [
            "",
            "running mean",
            "data's",
            "running std",
            "data's",
            "gap",
            "noise",
            "gamma",
            "beta",
            "active",
            "",
        ]
        rows = []
        for k in range(len(self)) if channels is None else channels:
            cells = [f"c{k}", _short(self.running_mean[k]), _short(self.mean[k])]
            cells += [_short(np.sqrt(v[k])) for v in (self.running_var, self.var)]
            cells += [f"{self.gap[k]:.3f}", "" if self.noise is None else f"{self.noise[k]:.3f}"]
            cells += ["" if p is None else _short(p[k]) for p in (self.gamma, self.beta)]
            cells += [
                "" if self.active is None else f"{self.active[k]:.1%}",
                str(self.channel(k)["problems"]),
            ]
            rows.append(cells)
        return "\n".join(_table(head, rows, left=(10,)))

    def __str__(self) -> str:
        frozen = ", frozen" if self.frozen else ""
        head = (
            f"{self.name}: {len(self)} channels, {_updates(self)} updates, momentum {momentum(self)}{frozen}"
        )
        return "\n".join([head, self.table(), *(["", *self.explanation()] if self.problems else [])])

    def explanation(self) -> list[str]:
        """Return the lines that say what is wrong and what to do."""
        return [line for problem in self.problems for line in problem.lines()]


@dataclass(frozen=True, eq=False)
class BatchNormHealth(Mapping[str, LayerHealth]):
    """What `handgrad.inspect.batchnorm` found, a `LayerHealth` for each layer by name.

    Print it for a table with what to do about each problem; ``health["bn1"]`` is one layer, with every
    channel; `plot` draws it.

    Attributes
    ----------
    layers : tuple of LayerHealth
        In the order they run.
    samples, batches : int
        What was looked at.
    """

    layers: tuple[LayerHealth, ...]
    samples: int
    batches: int

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return all(layer.ok for layer in self.layers)

    def __getitem__(self, name: str) -> LayerHealth:
        for layer in self.layers:
            if layer.name == name:
                return layer
        names = ", ".join(layer.name for layer in self.layers)
        raise ArgumentError("layer", expected=f"one of {names}", got=repr(name))

    def __iter__(self) -> Iterator[str]:
        return (layer.name for layer in self.layers)

    def __contains__(self, name: object) -> bool:
        return any(layer.name == name for layer in self.layers)

    def __len__(self) -> int:
        return len(self.layers)

    def __str__(self) -> str:
        batches = f"{self.batches:,} batch{'es' * (self.batches > 1)}"
        lines = [f"batch normalization on {self.samples:,} samples, in {batches}", ""]
        lines += _table(HEAD, [_row(layer) for layer in self.layers], left=(0, 8))
        note = "gap: how far the normalized values of inference are from those by the data's own statistics, "
        note += "whose standard deviation is 1; noise: the same for the statistics of single batches."
        lines += textwrap.wrap(note, WIDTH)
        shared = self._shared()
        for problem in shared:
            lines += ["", f"all {len(self)} layers", *problem.lines()]
        shown = self.worst_layers(DETAILED)
        for layer in shown:
            own = [line for p in layer.problems if not any(p.same(q) for q in shared) for line in p.lines()]
            table = textwrap.indent(layer.table(layer.worst()), "    ")
            lines += ["", layer.name, *own, "", table]
        others = sum(not layer.ok for layer in self.layers) - len(shown)
        if others > 0:
            lines += ["", f"and {others} more with problems; a layer is printed by print(health[name])"]
        if self.ok:
            lines += ["", "Nothing is wrong."]
        return "\n".join(lines)

    def _shared(self) -> list[Problem]:
        """Return the problems that all layers have alike."""
        first, *others = self.layers
        return [
            p for p in first.problems if others and all(any(p.same(q) for q in o.problems) for o in others)
        ]

    def worst_layers(self, count: int) -> list[LayerHealth]:
        """Return the layers with problems, those with most dead channels and the largest gap, in order."""
        against = sorted(
            (layer for layer in self.layers if layer.problems),
            key=lambda layer: (-len(layer.dead), -float(np.nan_to_num(layer.gap, nan=np.inf).max())),
        )
        return [layer for layer in self.layers if layer in against[:count]]

    def plot(self, path: str | os.PathLike[str], *, layers: int = DETAILED) -> None:
        """Write a figure: the gap of every channel of every layer, and the worst layers in detail.

        Parameters
        ----------
        path : path
            Of the PNG file.
        layers : int, default 3
            How many layers to show in detail.

        Raises
        ------
        MissingExtraError
            Without matplotlib.
        """
        from handgrad.inspect.health_figure import write

        write(self, path, layers)


HEAD = ["layer", "channels", "updates", "momentum", "gap: median", "worst", "noise", "dead", ""]


def _row(layer: LayerHealth) -> list[str]:
    at = int(np.argmax(np.where(np.isfinite(layer.gap), layer.gap, np.inf)))
    kinds = list(dict.fromkeys(p.kind for p in layer.problems))
    return [
        layer.name,
        str(len(layer)),
        _updates(layer),
        momentum(layer),
        f"{np.median(layer.gap):.3f}",
        f"{layer.gap[at]:.3f} c{at}",
        "" if layer.noise is None else f"{np.median(layer.noise):.3f}",
        str(len(layer.dead)),
        ", ".join(kinds) or "ok",
    ]


def _updates(layer: LayerHealth) -> str:
    return "no" if layer.updates is None else f"{layer.updates:,}"


def momentum(layer: LayerHealth) -> str:
    """Return it as it is shown."""
    return "average" if layer.momentum is None else f"{layer.momentum:g}"


def _table(head: list[str], rows: list[list[str]], left: tuple[int, ...]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]

    def line(cells: list[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return "  ".join(c.ljust(w) if i in left else c.rjust(w) for i, (c, w) in pairs).rstrip()

    lines = [line(head), *map(line, rows)]
    rule = "─" * max(map(len, lines))
    return [lines[0], rule, *lines[1:], rule]


def _wrapped(text: str, head: str) -> list[str]:
    indent = " " * len(head)
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)


def _short(value: float) -> str:
    if abs(value) < 1e-12:
        return "0"
    return f"{value:.3f}" if 5e-4 <= abs(value) < 1e4 else f"{value:.1e}"
