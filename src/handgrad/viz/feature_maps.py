"""What the layers of a model see."""

from __future__ import annotations

import os

from handgrad.errors import ArgumentError
from handgrad.graph import Graph
from handgrad.typing import Array
from handgrad.viz.figure import new_figure, write_figure


def plot_feature_maps(
    model: Graph,
    image: Array,
    path: str | os.PathLike[str],
    *,
    layers: tuple[str, ...] = (),
    channels: int = 8,
) -> None:
    """Write a figure with the output of each layer for one image: a row for a layer, a column for a channel.

    Parameters
    ----------
    model : Graph
        Is run in inference mode.
    image : (h, w, c)
        One input of the model.
    path : path
        Of the PNG file.
    layers : tuple of str, optional
        Names of nodes; by default all that give images.
    channels : int, default 8
        How many of each to show, the first ones.

    Raises
    ------
    ArgumentError
        If a layer is unknown, or none gives images.
    MissingExtraError
        Without matplotlib.
    """
    outputs = model.intermediates(image[None])
    images = {name: y[0] for name, y in outputs.items() if y.ndim == 4}
    if unknown := [name for name in layers if name not in images]:
        raise ArgumentError("layers", expected=f"some of {', '.join(images)}", got=", ".join(unknown))
    shown = {name: images[name] for name in layers or images}
    if not shown:
        raise ArgumentError("plot_feature_maps", expected="a model with layers that give images", got="none")
    figure = new_figure(1.1 * channels + 1.6, 1.15 * len(shown))
    grid = figure.subplots(len(shown), channels, squeeze=False)
    for row, (name, maps) in zip(grid, shown.items(), strict=True):
        for k, axes in enumerate(row):
            axes.set_axis_off()
            if k < maps.shape[-1]:
                axes.imshow(maps[..., k], cmap="viridis", interpolation="nearest")
        row[0].set_title(f"{name}  {'x'.join(map(str, maps.shape))}", fontsize=8, loc="left")
    write_figure(figure, path)
