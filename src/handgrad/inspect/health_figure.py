"""The health of batch normalizations as a figure."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.inspect.problems import GAP
from handgrad.viz.figure import new_figure, write_figure

if TYPE_CHECKING:
    from handgrad.inspect.health import BatchNormHealth, LayerHealth

GOOD, BAD, DEAD, DATA = "#4c72b0", "#dd8452", "#c44e52", "#c9c9c9"
FLOOR, CEILING = 1e-3, 1e2
REACH = 3.0
"""How many standard deviations of the data are shown."""


def write(health: BatchNormHealth, path: str | os.PathLike[str], details: int) -> None:
    """Write the figure."""
    shown = health.worst_layers(details) or list(health.layers[:details])
    height = 3.0 + 2.5 * len(shown)
    figure = new_figure(10.0, height)
    heights = [1.15] + [1.0] * len(shown)
    grid = figure.add_gridspec(len(heights), 2, width_ratios=(2.2, 1), height_ratios=heights)
    _overview(figure.add_subplot(grid[0, :]), health)
    for row, layer in enumerate(shown, 1):
        _intervals(figure.add_subplot(grid[row, 0]), layer, legend=row == 1)
        _parameters(figure.add_subplot(grid[row, 1]), layer)
    write_figure(figure, path)


def _most(layer: LayerHealth) -> float:
    return float(np.nan_to_num(layer.gap, nan=np.inf).max())


def _colours(layer: LayerHealth) -> list[str]:
    off = {k for p in layer.problems if p.kind in ("gap", "unfitted") for k in p.channels}
    return [DEAD if k in layer.dead else BAD if k in off else GOOD for k in range(len(layer))]


def _plain(axes: Any) -> None:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.grid(axis="y", alpha=0.3)
    axes.tick_params(labelsize=8)
    axes.set_axisbelow(True)


def _overview(axes: Any, health: BatchNormHealth) -> None:
    """Draw the gap of every channel, a column for each layer."""
    for at, layer in enumerate(health.layers):
        spread = np.linspace(-0.22, 0.22, len(layer)) if len(layer) > 1 else np.zeros(1)
        gaps = np.clip(np.nan_to_num(layer.gap, nan=CEILING, posinf=CEILING), FLOOR, CEILING)
        axes.scatter(at + spread, gaps, s=14, c=_colours(layer), alpha=0.85, linewidths=0, zorder=3)
        if layer.noise is not None:
            noise = max(float(np.median(layer.noise)), FLOOR)
            axes.plot([at - 0.34, at + 0.34], [noise, noise], color="#555555", linewidth=1.4)
    axes.axhline(GAP, color="#888888", linestyle="--", linewidth=1)
    axes.set_yscale("log")
    axes.set_ylim(FLOOR * 0.8, max(2.0, *(min(_most(layer), CEILING) * 1.5 for layer in health.layers)))
    axes.set_xlim(-0.6, len(health.layers) - 0.4)
    many = len(health.layers) > 6
    names = [layer.name for layer in health.layers]
    turned = {"rotation": 35, "ha": "right", "rotation_mode": "anchor"} if many else {}
    axes.set_xticks(range(len(names)), names, fontsize=8, **turned)
    axes.set_ylabel("gap", fontsize=8)
    title = "How far normalized values, whose standard deviation is 1, are off in inference: each channel"
    axes.set_title(title, fontsize=10, loc="left", pad=24)
    marks = [
        axes.scatter([], [], s=18, c=colour, linewidths=0, label=label)
        for colour, label in ((GOOD, "as in training"), (BAD, "off"), (DEAD, "dead channel"))
    ]
    if health.batches > 1:
        marks += axes.plot([], [], color="#555555", linewidth=1.4, label="between batches (median)")
    marks += axes.plot([], [], color="#888888", linestyle="--", linewidth=1, label="limit")
    place = {"loc": "lower left", "bbox_to_anchor": (0, 0.98)}
    axes.legend(handles=marks, frameon=False, fontsize=8, ncols=5, **place)
    _plain(axes)


def _intervals(axes: Any, layer: LayerHealth, *, legend: bool) -> None:
    """Draw mean and standard deviation that inference takes, in those of the data."""
    at = np.arange(len(layer))
    axes.axhspan(-1, 1, color=DATA, alpha=0.45, linewidth=0, label="mean ± standard deviation of the data")
    axes.axhline(0, color="#999999", linewidth=1)
    low = np.clip(np.nan_to_num(layer.shift - layer.ratio), -REACH, REACH)
    high = np.clip(np.nan_to_num(layer.shift + layer.ratio), -REACH, REACH)
    colours = _colours(layer)
    axes.vlines(at, low, high, colors=colours, linewidth=2.2 if len(layer) <= 64 else 1.0)
    middle = np.clip(np.nan_to_num(layer.shift), -REACH, REACH)
    axes.scatter(
        at,
        middle,
        s=16 if len(layer) <= 64 else 6,
        c=colours,
        zorder=3,
        label="running mean ± standard deviation",
    )
    axes.set_ylim(-REACH * 1.05, REACH * 1.05)
    axes.set_xlim(-0.8, len(layer) - 0.2)
    axes.xaxis.get_major_locator().set_params(integer=True)
    axes.set_title(f"{layer.name}: what inference normalizes by", fontsize=10, loc="left")
    axes.set_ylabel("standard deviations", fontsize=8)
    axes.set_xlabel("channel", fontsize=8)
    if legend:
        axes.legend(frameon=False, fontsize=8, loc="lower right", ncols=2)
    _plain(axes)


def _parameters(axes: Any, layer: LayerHealth) -> None:
    """Draw gamma and beta, and how many values a ReLU lets through."""
    c = len(layer)
    gamma = np.ones(c) if layer.gamma is None else layer.gamma
    beta = np.zeros(c) if layer.beta is None else layer.beta
    if layer.active is None:
        axes.scatter(gamma, beta, s=18, c=_colours(layer), linewidths=0)
    else:
        picture = axes.scatter(
            gamma, beta, s=22, c=layer.active, cmap="viridis", vmin=0, vmax=1, linewidths=0
        )
        bar = axes.figure.colorbar(picture, ax=axes)
        bar.set_label("share that ReLU lets through", fontsize=8)
        bar.ax.tick_params(labelsize=7)
        dead = list(layer.dead)
        axes.scatter(gamma[dead], beta[dead], s=60, facecolors="none", edgecolors=DEAD, linewidths=1.4)
    axes.set_title("gamma and beta", fontsize=10, loc="left")
    axes.set_xlabel("gamma", fontsize=8)
    axes.set_ylabel("beta", fontsize=8)
    axes.margins(0.15)
    axes.ticklabel_format(useOffset=False)
    axes.locator_params(axis="x", nbins=4)
    _plain(axes)
