"""``handgrad gradcheck``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from handgrad.cli.printable import one_line, printable

CASES: dict[str, tuple[dict[str, Any], Any]] = {
    "Conv2D": ({"filters": 4, "kernel_size": 3, "strides": 2, "padding": "same"}, (7, 6, 3)),
    "Dense": ({"units": 4}, (5,)),
    "WeightStandardizedConv2D": ({"filters": 4, "kernel_size": 3, "padding": 1, "groups": 2}, (5, 4, 6)),
    "WeightStandardizedDense": ({"units": 4}, (5,)),
    "BatchNormalization": ({}, (5, 4, 3)),
    "LayerNormalization": ({}, (5, 3)),
    "GroupNormalization": ({"groups": 2}, (5, 3, 6)),
    "InstanceNormalization": ({}, (5, 4, 3)),
    "RMSNormalization": ({}, (5, 3)),
    "ReLU": ({}, (5, 3)),
    "LeakyReLU": ({}, (5, 3)),
    "ELU": ({}, (5, 3)),
    "SELU": ({}, (5, 3)),
    "Softplus": ({}, (5, 3)),
    "Sigmoid": ({}, (5, 3)),
    "Tanh": ({}, (5, 3)),
    "Softmax": ({}, (5,)),
    "GELU": ({}, (5, 3)),
    "SiLU": ({}, (5, 3)),
    "MaxPooling2D": ({"pool_size": 3, "strides": 2, "padding": 1}, (7, 6, 2)),
    "AveragePooling2D": ({"pool_size": 3, "strides": 2, "padding": "same"}, (7, 6, 2)),
    "GlobalAveragePooling2D": ({}, (5, 4, 3)),
    "Flatten": ({}, (3, 4, 2)),
    "Reshape": ({"target_shape": (4, -1)}, (3, 4, 2)),
    "ZeroPadding2D": ({"padding": ((1, 2), (0, 3))}, (3, 4, 2)),
    "ConstantPadding2D": ({"padding": 1, "value": 0.5}, (3, 4, 2)),
    "UpSampling2D": ({"size": (2, 3)}, (3, 4, 2)),
    "Dropout": ({"rate": 0.3}, (5, 4, 3)),
    "SimpleRNN": ({"units": 4}, (6, 3)),
    "Add": ({}, ((3, 4, 2), (3, 4, 2))),
    "Concatenate": ({}, ((3, 4, 2), (3, 4, 1))),
}
"""For every layer arguments and an input shape, odd where that matters."""


@click.command(short_help="Check gradients against complex-step derivatives.")
@click.argument("what", nargs=-1, help="Layers (Conv2D ...), runs or model files (default: every layer).")
@click.option("--batch", type=click.IntRange(2), default=3, show_default=True, help="Inputs in the batch.")
@click.option("--seed", default=0, show_default=True, help="Of inputs, parameters and directions.")
def gradcheck(what: tuple[str, ...], batch: int, seed: int) -> None:
    """Check gradients against complex-step derivatives in float64, with a random upstream gradient."""
    subjects = [_subject(name) for name in what or CASES]
    wrong = False
    for name, subject, shape in subjects:
        for training in (True, False):
            wrong |= _check(name, subject, shape, training=training, batch=batch, seed=seed)
    if wrong:
        raise click.exceptions.Exit(1)


def _subject(name: str) -> tuple[str, Any, Any]:
    from handgrad import layers
    from handgrad.errors import ArgumentError
    from handgrad.train import open_model

    if name in CASES:
        arguments, shape = CASES[name]
        return name, getattr(layers, name)(**arguments), shape
    if Path(name).exists():
        model, _ = open_model(name)
        return name, model, model.input_shape
    raise ArgumentError(
        "gradcheck", expected=f"a layer ({', '.join(CASES)}), a run or a model file", got=repr(name)
    )


def _check(name: str, subject: Any, shape: Any, *, training: bool, batch: int, seed: int) -> bool:
    """Print a line; return whether a gradient is wrong."""
    from handgrad.layers import Merge
    from handgrad.rng import Stream
    from handgrad.testing import GradientError
    from handgrad.testing import gradcheck as check

    rng = Stream((seed,)).child("inputs")
    shapes = shape if isinstance(subject, Merge) else (shape,)
    x = tuple(rng.child(i).normal((batch, *s), dtype="float64") for i, s in enumerate(shapes))
    mode = "training" if training else "inference"
    try:
        report = check(subject, x if isinstance(subject, Merge) else x[0], training=training, seed=seed)
    except GradientError as error:
        print(f"{name:24} {mode:10} WRONG  {printable(error)}")
        return True
    errors = list(report.errors.items())
    if len(errors) > 6:  # of a model those that are least right
        errors = sorted(errors, key=lambda item: -item[1])[:6]
    shown = "  ".join(f"{one_line(array)} {error:.0e}" for array, error in errors)
    print(f"{name:24} {mode:10} ok     {shown}")
    return False
