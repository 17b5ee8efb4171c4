"""Training by a recipe here and in PyTorch: same network, weights, batches, optimizer; step against step.

    python -m pip install torch==2.13.0
    python -m benchmarks.recipe cifar10 fast94

The losses of the first steps must agree within `TOLERANCE`. Then steps take turns, on the batches of the
recipe, with PyTorch's faster memory layout; glibc's malloc is tuned to keep what was freed, from which
PyTorch gains. Recipes whose optimizers are SGD and Muon have a counterpart here. What PyTorch would take for
the whole training is its median step times their number, without data and evaluation.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from fnmatch import fnmatchcase
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.worker import environment
from handgrad.bench import machine, pytorch, quick
from handgrad.data import Loader
from handgrad.graph import Graph
from handgrad.kernels import reuse_memory
from handgrad.kernels.reference import muon
from handgrad.optim import SGD, MultiOptimizer, Muon, Optimizer, Schedule
from handgrad.optim.group import first_match
from handgrad.train import Recipe, recipe_for

STEPS = 4
TOLERANCE = 2e-3
"""Of the loss, relative: float32 rounds differently, and large learning rates make that grow step by step."""


def main() -> None:
    options = arguments()
    if "MALLOC_TOP_PAD_" not in os.environ:
        command = [sys.executable, "-m", "benchmarks.recipe", *sys.argv[1:]]
        os.execve(sys.executable, command, environment(options.threads, "tuned"))

    import torch

    machine.use_threads(options.threads)
    recipe = recipe_for(options.dataset, options.recipe, batch_size=options.batch_size)
    train, _, names = recipe.data()

    def batches() -> Iterator[tuple[Any, Any]]:
        rng = trainer.rng
        loader = Loader(train, recipe.batch_size, transform=recipe.transform(), rng=rng)
        for epoch in range(10**6):
            yield from loader.epoch(epoch)

    model = recipe.build(train.shape, len(names))
    recipe.prepare(model, train)
    trainer = recipe.trainer(model, len(train))
    total = recipe.epochs * len(Loader(train, recipe.batch_size))
    theirs = {layout: torch_step(recipe, model, trainer.optimizer, layout) for layout in pytorch.LAYOUTS}
    about = {"torch": metadata.version("torch"), **quick.about(options.threads)}
    print("\n".join(f"{name:8} {text}" for name, text in about.items()), flush=True)

    def timed(step: Callable[[Any, Any], float], x: Any, y: Any) -> tuple[float, float]:
        begun = time.perf_counter()
        loss = step(x, y)
        return loss, time.perf_counter() - begun

    seconds: dict[str, list[float]] = {"handgrad": [], **{layout: [] for layout in theirs}}
    losses: list[dict[str, float]] = []
    with reuse_memory():
        for i, (x, y) in enumerate(batches()):
            steps = {"handgrad": trainer.train_step, **theirs}
            if i >= STEPS:  # the faster layout alone
                best = min(theirs, key=lambda layout: min(seconds[layout][1:]))
                steps = {"handgrad": trainer.train_step, best: theirs[best]}
            loss = {}
            for name, step in steps.items():
                batch = (x, y) if name == "handgrad" else (pytorch.images(x, name), torch.from_numpy(y))
                loss[name], taken = timed(step, *batch)
                seconds[name].append(taken)
            shown = (f"{name} {loss[name]:.6f} {seconds[name][-1]:.3f} s" for name in steps)
            print(i + 1, *shown, flush=True)
            if i < STEPS:
                losses.append(loss)
                if (worst := difference(loss)) > TOLERANCE:
                    raise SystemExit(f"step {i + 1}: losses differ by {worst:.1e}")
            if i + 1 >= STEPS + options.steps:
                break
    ours, torchs = seconds["handgrad"][STEPS:], seconds[best][STEPS:]
    result = {
        "recipe": options.recipe,
        "about": about,
        "steps": total,
        "batch_size": recipe.batch_size,
        "layout": best,
        "median": {"handgrad": statistics.median(ours), "torch": statistics.median(torchs)},
        "least": {"handgrad": min(ours), "torch": min(torchs)},
        "ratio_of_medians": statistics.median(torchs) / statistics.median(ours),
        "ratio_of_minima": min(torchs) / min(ours),
        "median_of_ratios": statistics.median(b / a for a, b in zip(ours, torchs, strict=True)),
        "minutes_of_all_steps": {
            "handgrad": statistics.median(ours) * total / 60,
            "torch": statistics.median(torchs) * total / 60,
        },
        "first_losses": losses,
        "difference": max(map(difference, losses)),
        "seconds": seconds,
    }
    print(json.dumps({k: v for k, v in result.items() if k not in ("seconds", "first_losses")}, indent=1))
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / f"recipe_{options.recipe}.json"
    path.write_text(json.dumps(result, indent=1) + "\n")
    print(path)


def difference(losses: dict[str, float]) -> float:
    """Return how far PyTorch's losses are from ours, relative."""
    ours = losses["handgrad"]
    return max(abs(loss - ours) / abs(ours) for loss in losses.values())


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("dataset")
    parser.add_argument("recipe")
    parser.add_argument("--steps", type=int, default=12, help="that are compared (default 12)")
    parser.add_argument("--batch-size", type=int, help="other than the recipe's")
    parser.add_argument("--threads", type=int, default=machine.usable_threads(), help="for both")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the result")
    return parser.parse_args()


def torch_step(
    recipe: Recipe, model: Graph, optimizer: Optimizer, layout: str
) -> Callable[[Any, Any], float]:
    """Return a function that trains the model's twin on a batch as the recipe says, and returns the loss."""
    import torch

    network = pytorch.twin(model, layout=layout)
    parameters = dict(zip(_names(model), _trained(network), strict=True))
    update = rules(optimizer, parameters)

    def step(x: Any, y: Any) -> float:
        network.zero_grad()
        loss = torch.nn.functional.cross_entropy(network(x), y, label_smoothing=recipe.label_smoothing)
        loss.backward()
        update()
        return float(loss.detach())

    return step


def _names(model: Graph) -> list[str]:
    return list(model.parameters())


def _trained(network: Any) -> list[Any]:
    """Return PyTorch's parameters in our order; normalizations without scale have one that is not trained."""
    import torch

    found = []
    for module in network.modules():
        own = dict(module.named_parameters(recurse=False))
        if isinstance(module, torch.nn.BatchNorm2d):
            own.pop("weight").requires_grad_(requires_grad=False)  # type: ignore[no-untyped-call]
        found += own.values()
    return found


def rules(optimizer: Optimizer, parameters: dict[str, Any]) -> Callable[[], None]:
    """Return a function that moves PyTorch's parameters by one step of an optimizer of ours."""
    if isinstance(optimizer, MultiOptimizer):
        left, parts = dict(parameters), []
        for pattern, rule in optimizer.optimizers.items():
            share = {name: left.pop(name) for name in list(left) if fnmatchcase(name, pattern)}
            parts.append(rules(rule, share))
        return lambda: [part() for part in parts] and None
    import torch

    if isinstance(optimizer, Muon):
        return _muon(optimizer, list(parameters.values()))
    if not isinstance(optimizer, SGD):
        raise SystemExit(f"no counterpart of {type(optimizer).__name__} here")
    groups = []
    for name, p in parameters.items():
        group = first_match(optimizer.groups, name)
        scale = group.lr_scale if group else 1.0
        decay = optimizer.weight_decay if p.ndim > 1 else 0.0  # not on biases and normalizations
        decay = group.weight_decay if group and group.weight_decay is not None else decay
        p.requires_grad_(scale > 0)
        if scale > 0:
            groups.append({"params": [p], "weight_decay": decay, "scale": scale})
    sgd = torch.optim.SGD(
        groups, lr=0.0, momentum=optimizer.momentum, nesterov=optimizer.nesterov, fused=True
    )
    count = 0

    def step() -> None:
        nonlocal count
        for group in sgd.param_groups:
            group["lr"] = _rate(optimizer, count) * group["scale"]
        sgd.step()
        count += 1

    return step


def _rate(optimizer: Optimizer, step: int) -> float:
    return optimizer.lr(step) if isinstance(optimizer.lr, Schedule) else float(optimizer.lr)


def _muon(optimizer: Muon, parameters: list[Any]) -> Callable[[], None]:
    import torch

    if optimizer.adjust != "none" or optimizer.weight_decay:
        raise SystemExit("no counterpart of this Muon here: it has adjust='none' and no weight decay")
    velocities = [torch.zeros_like(p) for p in parameters]
    count = 0

    @torch.no_grad()
    def step() -> None:
        nonlocal count
        lr = _rate(optimizer, count)
        for p, b in zip(parameters, velocities, strict=True):
            b.mul_(optimizer.momentum).add_(p.grad)
            u = p.grad.add(b, alpha=optimizer.momentum) if optimizer.nesterov else b
            u = u.reshape(len(u), -1)
            wide = u.shape[0] <= u.shape[1]
            X = (u if wide else u.T) / u.norm()
            for _ in range(optimizer.ns_steps):
                gram = X @ X.T
                X = muon.A * X + (muon.B * gram + muon.C * (gram @ gram)) @ X
            if optimizer.keep_norm:
                p.mul_(len(p) ** 0.5 / p.norm())
            p.sub_((X if wide else X.T).reshape(p.shape), alpha=lr)
        count += 1

    return step


if __name__ == "__main__":
    np.seterr(all="raise", under="ignore")
    main()
