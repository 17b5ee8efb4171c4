"""What the experiments share: options, data, perceptrons, tables and figures."""

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import handgrad as hg
from handgrad import data, layers
from handgrad.viz.figure import new_figure, write_figure

WITH, WITHOUT = "#0072b2", "#d55e00"  # colours that colour-blind readers can tell apart
OTHERS = ("#009e73", "#cc79a7", "#7f7f7f")


def run(main: Callable[[argparse.Namespace], Any], amount: str, default: int, quick: int) -> None:
    """Read the options and run; what handgrad says went wrong is one line, and status 1."""
    description = sys.modules[main.__module__].__doc__
    parser = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(f"--{amount}", type=int, help=f"of each network (default: {default:,})")
    parser.add_argument("--seed", type=int, default=0, help="of everything that is random")
    parser.add_argument(
        "--out", type=Path, default=Path(__file__).parent / "results", help="folder to write to"
    )
    parser.add_argument(
        "--quick", action="store_true", help="seconds: embedded digits, and less of everything"
    )
    options = parser.parse_args()
    given = getattr(options, amount)
    if given is not None and given < 1:
        parser.error(f"--{amount}: expected 1 at least, got {given}")
    options = argparse.Namespace(**vars(options) | {amount: given or (quick if options.quick else default)})
    # in networks as small as these, threads wait for one another longer than they compute
    hg.kernels.set_threads(1)
    begin = time.perf_counter()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        main(options)
    except (hg.errors.HandgradError, OSError) as error:
        print(f"{Path(sys.argv[0]).name}: {error}", file=sys.stderr)
        sys.exit(1)
    seconds, computing = time.perf_counter() - begin, time.process_time()
    print(f"\n{seconds:.0f} s, of which the processor computed {computing:.0f} s; {options.out}")


def images(name: str, *, quick: bool) -> data.ImageSet:
    """Return a set; instead of it, for a quick look, the digits that come with handgrad."""
    return data.digits() if quick else data.load(name)


def perceptron(
    input_shape: Sequence[int],
    widths: Sequence[int],
    activation: type[layers.Layer],
    init: Any,
    *,
    normalize: bool,
    seed: int,
) -> hg.Sequential:
    """Return dense layers, each with a batch normalization or without, then the activation; ten outputs.

    A normalized layer needs no bias: the normalization takes it away, and its beta takes its place.
    """
    chain: list[layers.Layer] = [layers.Flatten()]
    for width in widths:
        chain.append(layers.Dense(width, kernel_initializer=init, use_bias=not normalize))
        if normalize:
            chain.append(layers.BatchNormalization(momentum=0.9, debias=True))
        chain.append(activation())
    chain.append(layers.Dense(10, kernel_initializer=init))
    return hg.Sequential(chain, input_shape=input_shape, seed=seed)


def subset(images: np.ndarray, labels: np.ndarray, count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return some of the samples, chosen by the seed."""
    chosen = hg.rng.Stream((seed,)).child("subset").permutation(len(images))[:count]
    return images[chosen], labels[chosen]


def show_table(path: Path, header: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table, and write it as Markdown."""
    widths = [max(len(row[i]) for row in (header, *rows)) for i in range(len(header))]
    lines = [
        "| " + " | ".join(c.rjust(w) for c, w in zip(row, widths, strict=True)) + " |"
        for row in (header, *rows)
    ]
    lines.insert(1, "|" + "|".join("-" * (w + 1) + ":" for w in widths) + "|")
    text = "\n".join(lines) + "\n"
    path.write_text(text, encoding="utf-8")
    print(text, end="")


def panels(width: float, height: float, *titles: str) -> tuple[Any, Sequence[Any]]:
    """Return a figure and its panels side by side."""
    figure = new_figure(width, height)
    axes = figure.subplots(1, len(titles), squeeze=False)[0]
    for panel, title in zip(axes, titles, strict=True):
        panel.set_title(title, fontsize=10, loc="left")
        panel.grid(alpha=0.3)
        for side in ("top", "right"):
            panel.spines[side].set_visible(False)
    return figure, axes


save_figure = write_figure
