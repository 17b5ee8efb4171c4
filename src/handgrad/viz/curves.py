"""Learning curves, as a figure and in the terminal."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping, Sequence

from handgrad.errors import ArgumentError
from handgrad.viz.figure import new_figure, write_figure

COLOURS = {"train": "#4c72b0", "val": "#dd8452"}


def plot_history(
    history: Mapping[str, Sequence[float]], path: str | os.PathLike[str], *, title: str = ""
) -> None:
    """Write a figure with a panel for each quantity: training as a line, validation with dots.

    A value of training that no line reaches, as that of a single epoch, has a dot as well.

    Parameters
    ----------
    history : mapping of str to sequence of float
        As `Trainer.fit` returns it.
    path : path
        Of the PNG file.
    title : str, optional
        Above the panels.

    Raises
    ------
    ArgumentError
        If there is no epoch in it.
    MissingExtraError
        Without matplotlib.
    """
    names = _quantities(history)
    if not names:
        raise ArgumentError("history", expected="at least one epoch", got="none")
    figure = new_figure(4.8 * len(names), 3.6)
    for axes, name in zip(figure.subplots(1, len(names), squeeze=False)[0], names, strict=True):
        for key, label in ((name, "train"), (f"val_{name}", "val")):
            if values := history.get(key):
                epochs = range(1, len(values) + 1)
                dots = list(range(len(values))) if label == "val" else _alone(values)
                style = {"marker": "o", "markersize": 3, "markevery": dots} if dots else {}
                last = f"{'training' if label == 'train' else 'validation'} ({values[-1]:.4g})"
                axes.plot(epochs, values, color=COLOURS[label], label=last, **style)
        axes.set_xlabel("epoch")
        axes.set_ylabel(name.replace("_", " "))
        axes.xaxis.get_major_locator().set_params(integer=True)
        if len(history[name]) == 1:
            axes.set_xticks([1])
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
    if title:
        figure.suptitle(title)
    write_figure(figure, path)


def draw_history(history: Mapping[str, Sequence[float]], *, width: int = 64, height: int = 8) -> str:
    """Return the curves in characters: ``·`` for training, ``o`` for validation.

    Parameters
    ----------
    history : mapping of str to sequence of float
        As `Trainer.fit` returns it.
    width, height : int
        Of each panel, in characters.

    Examples
    --------
    >>> print(draw_history({"loss": [3, 2, 1], "val_loss": [3, 3, 2]}, width=9, height=3))
    loss  · training 1  o validation 2
          3 ┤o   o
          2 ┤    ·   o
          1 ┤        ·
            └─────────
             1       3  epoch
    """
    return "\n\n".join(_panel(history, name, width, height) for name in _quantities(history))


def _quantities(history: Mapping[str, Sequence[float]]) -> list[str]:
    return [name for name, values in history.items() if values and not name.startswith("val_")]


def _alone(values: Sequence[float]) -> list[int]:
    """Return which finite values have no finite one beside them."""
    finite = [False, *map(math.isfinite, values), False]
    return [i for i in range(len(values)) if finite[i + 1] and not (finite[i] or finite[i + 2])]


def _panel(history: Mapping[str, Sequence[float]], name: str, width: int, height: int) -> str:
    curves = {mark: history[key] for mark, key in (("·", name), ("o", f"val_{name}")) if history.get(key)}
    finite = [v for values in curves.values() for v in values if math.isfinite(v)]
    low, high = (min(finite), max(finite)) if finite else (0.0, 1.0)
    span = high - low or 1.0
    epochs = max(map(len, curves.values()))
    grid = [[" "] * width for _ in range(height)]
    for mark, values in curves.items():
        for i, v in enumerate(values):
            if math.isfinite(v):
                row = round((high - v) / span * (height - 1))
                grid[row][round(i * (width - 1) / max(epochs - 1, 1))] = mark
    label = {"·": "training", "o": "validation"}
    head = f"{name}  " + "  ".join(
        f"{mark} {label[mark]} {values[-1]:.4g}" for mark, values in curves.items()
    )
    rows = [
        f"{high - span * i / max(height - 1, 1):7.4g} ┤{''.join(row)}".rstrip() for i, row in enumerate(grid)
    ]
    axis = f"        └{'─' * width}"
    scale = f"         1{(str(epochs) if epochs > 1 else '').rjust(width - 1)}  epoch"
    return "\n".join([head, *rows, axis, scale])
