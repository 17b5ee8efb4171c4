"""``handgrad explain``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Show every term of a batch normalization, step by step.")
@click.option(
    "--rows", type=click.IntRange(2, 64), default=6, show_default=True, help="Values in each channel."
)
@click.option("--channels", type=click.IntRange(1), default=3, show_default=True, help="Channels.")
@click.option("--inference", is_flag=True, help="Normalize by the running statistics, which are constants.")
@click.option("--seed", default=0, show_default=True, help="Of all numbers.")
@click.option("--step", is_flag=True, help="Show one term after the other, at each press of Enter.")
@click.option(
    "--html", "page", type=click.Path(dir_okay=False, path_type=Path), help="Write a page to this file."
)
def explain(rows: int, channels: int, inference: bool, seed: int, step: bool, page: Path | None) -> None:
    """Show every term of a batch normalization, forward and backward, next to its formula."""
    import numpy as np

    from handgrad import inspect, layers
    from handgrad.rng import Stream

    rng = Stream((seed,)).child("explain")

    def numbers(name: str, mean: float, std: float, *shape: int) -> np.ndarray:
        return (mean + std * rng.child(name).normal(shape, dtype=np.float64)).round(2)

    layer = layers.BatchNormalization(momentum=0.0)
    layer.build((channels,), layers.Init(dtype=np.float64))
    assert layer.gamma is not None
    assert layer.beta is not None
    layer.gamma.assign(numbers("gamma", 1.0, 0.5, channels))
    layer.beta.assign(numbers("beta", 0.0, 1.0, channels))
    before = numbers("before", 1.0, 2.0, 32, channels)
    _, saved = layer.forward(before, layers.Run(training=True))
    layer.commit(saved)  # so that inference has statistics
    x, dy = numbers("x", 1.0, 2.0, rows, channels), numbers("dy", 0.0, 1.0, rows, channels)
    explanation = inspect.explain(layer, x, dy, training=not inference)
    if page is not None:
        explanation.save(page)
        print(f"written: {page}")
    if step:
        explanation.step()
    elif page is None:
        print(explanation)
