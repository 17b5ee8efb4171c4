"""Whether training here follows training in PyTorch: ResNet-20 on CIFAR-10, losses of 200 steps.

    python -m pip install torch==2.13.0 matplotlib
    handgrad datasets fetch cifar10
    python -m benchmarks.curve

The same weights, the same batches of 128, SGD with momentum. Training is chaotic: what rounding changes grows
from step to step, and no two programs agree for long. How far apart two curves may be PyTorch says itself, in
runs that differ in rounding alone: in its other memory layout, in float64, and from weights that were changed
by 1e-7 of themselves.

Losses go into a JSON file and, with matplotlib, a picture.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from handgrad import data
from handgrad.bench import machine, pytorch, quick
from handgrad.bench.workloads import MOMENTUM, WORKLOADS
from handgrad.data.datasets import cifar10
from handgrad.data.datasets.cache import stands
from handgrad.errors import MissingExtraError
from handgrad.graph import Graph
from handgrad.kernels import Kernels
from handgrad.losses import CrossEntropy
from handgrad.optim import SGD
from handgrad.rng import Stream
from handgrad.train import Trainer
from handgrad.typing import Array
from handgrad.viz.figure import new_figure, write_figure

RATE = 0.1
BATCH = 128
CHANGE = 1e-7

Batches = Sequence[tuple[Array, Array]]
Run = Callable[[Batches], list[float]]

OURS, THEIRS = "handgrad", "torch contiguous"


def handgrad_losses(
    build: Callable[[], Graph], rate: float, batches: Batches, kernels: Kernels | None = None
) -> list[float]:
    """Return the loss of each step."""
    trainer = Trainer(build(), CrossEntropy(), SGD(rate, MOMENTUM), kernels=kernels)
    return [trainer.train_step(x, y) for x, y in batches]


def torch_losses(
    build: Callable[[], Graph],
    rate: float,
    batches: Batches,
    layout: str = "contiguous",
    precision: str = "float32",
    *,
    change: float = 0.0,
) -> list[float]:
    """Return the loss of each step, perhaps from weights that are changed by so much of themselves."""
    import torch

    model = build()
    for name, p in model.parameters().items():
        noise = Stream((name,)).normal(p.shape, dtype=np.float64)
        p.value[...] = p.value * (1 + change * noise)
    step = pytorch.training(model, rate, layout, precision)
    dtype = getattr(torch, precision)
    return [step(pytorch.images(x, layout).to(dtype), torch.from_numpy(y)) for x, y in batches]


def runs(build: Callable[[], Graph], rate: float) -> dict[str, Run]:
    """Return who trains, by name: the first two are those that are compared."""
    return {
        OURS: partial(handgrad_losses, build, rate),
        THEIRS: partial(torch_losses, build, rate),
        "torch channels_last": partial(torch_losses, build, rate, layout="channels_last"),
        "torch float64": partial(torch_losses, build, rate, precision="float64"),
        "torch weights changed by 1e-7": partial(torch_losses, build, rate, change=CHANGE),
    }


def differences(losses: dict[str, list[float]]) -> dict[str, Array]:
    """Return for every run but one how far its losses are from `THEIRS`, relative to them."""
    theirs = np.array(losses[THEIRS])
    return {name: np.abs(of - theirs) / theirs for name, of in losses.items() if name != THEIRS}


def cifar_batches(steps: int, batch: int) -> Batches:
    """Return batches of CIFAR-10, its images normalized and in an order that is the same each time."""
    if not stands(cifar10.SOURCE):
        raise SystemExit("CIFAR-10 is missing; fetch it with: handgrad datasets fetch cifar10")
    images = data.cifar10()
    order = Stream((7,)).permutation(len(images.x_train))
    normalize = data.Normalize.fit(images.x_train)
    parts = (order[k * batch % len(order) :][:batch] for k in range(steps))
    return [(normalize(images.x_train[part], Stream()), images.y_train[part]) for part in parts]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--batch", type=int, default=BATCH)
    parser.add_argument("--rate", type=float, default=RATE, help="of learning")
    parser.add_argument("--threads", type=int, default=machine.usable_threads(), help="for both")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()
    batches = cifar_batches(options.steps, options.batch)
    machine.use_threads(options.threads)
    losses = {}
    for name, run in runs(WORKLOADS["resnet20-b128"].build, options.rate).items():
        machine.use_threads(options.threads)  # PyTorch's, too, once it is imported
        losses[name] = run(batches)
        print(f"{name:30} {losses[name][0]:.4f} ... {losses[name][-1]:.4f}", flush=True)
    print(f"\nrelative differences from {THEIRS}, root mean squares over steps")
    print(*table(losses), sep="\n")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "curve.json"
    about = {
        "torch": quick.torch_version(),
        "steps": options.steps,
        "batch": options.batch,
        "rate": options.rate,
    }
    path.write_text(json.dumps({"about": about, "losses": losses}, indent=1) + "\n")
    print(path, *draw(losses, options.out / "curve.png"), sep="\n")


def table(losses: dict[str, list[float]]) -> Iterator[str]:
    """Yield lines: a column for each stretch of steps, each as long as all before it."""
    steps = len(losses[THEIRS])
    ends = [1, *(e for e in (2, 5, 10, 20, 50, 100, 200) if 1 < e < steps), steps]
    stretches = list(zip([0, *ends], ends, strict=False))
    yield f"{'':30}" + "".join(f"{f'{a + 1}-{b}':>10}" for a, b in stretches)
    for name, of in differences(losses).items():
        yield f"{name:30}" + "".join(f"{np.sqrt(np.mean(of[a:b] ** 2)):10.1e}" for a, b in stretches)


COLOURS = {
    OURS: "#c1121f",
    THEIRS: "#2a6f97",
    "torch channels_last": "#61a5c2",
    "torch float64": "#e09f3e",
    "torch weights changed by 1e-7": "#999999",
}


def draw(losses: dict[str, list[float]], path: Path) -> list[Path]:
    """Draw the losses and, below, how far apart they are; nothing without matplotlib."""
    try:
        figure = new_figure(8, 6)
    except MissingExtraError:
        return []
    above, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 2))
    steps = range(1, len(losses[THEIRS]) + 1)
    above.plot(steps, losses[THEIRS], color=COLOURS[THEIRS], linewidth=2.5, alpha=0.6, label=THEIRS)
    above.plot(steps, losses[OURS], color=COLOURS[OURS], linewidth=1, label=OURS)
    above.set_ylabel("training loss")
    for name, of in reversed(differences(losses).items()):
        shown = {"linewidth": 1.6, "zorder": 3} if name == OURS else {"linewidth": 1}
        below.semilogy(steps, of, color=COLOURS[name], label=name, **shown)
    below.set_ylabel(f"relative difference\nfrom {THEIRS}")
    below.set_xlabel("step")
    for axes in (above, below):
        axes.grid(alpha=0.3)
        axes.spines[["top", "right"]].set_visible(False)
        axes.legend(frameon=False, fontsize=8)
    write_figure(figure, path)
    return [path]


if __name__ == "__main__":
    main()
