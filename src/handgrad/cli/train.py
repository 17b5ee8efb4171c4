"""``handgrad train``."""

from __future__ import annotations

import importlib.util
import shlex
import time
from pathlib import Path

import click

from handgrad.errors import ArgumentError


@click.command(short_help="Train a convolutional network on images.")
@click.argument(
    "dataset",
    required=False,
    help="digits, mnist, fashion-mnist, cifar10, or a folder with train/CLASS/ and test/CLASS/.",
)
@click.option("--recipe", help="A named recipe for the data set, such as fast94 for cifar10.")
@click.option("--epochs", type=int, help="How often through the training images.")
@click.option("--batch-size", type=int, help="Images in a step.")
@click.option("--lr", type=float, help="Highest learning rate of the one-cycle schedule.")
@click.option("--weight-decay", type=float, help="Decoupled weight decay.")
@click.option("--width", type=int, help="Channels of the first stage.")
@click.option("--image-size", type=(int, int), metavar="H W", help="Height and width, for a folder.")
@click.option("--holdout", type=int, help="Test on so many training images, not on the test images.")
@click.option("--seed", type=int, help="Of everything that is random.")
@click.option("--config", type=Path, help="A run's config.json, or a recipe of your own as JSON or TOML.")
@click.option("--out", type=Path, help="The run's folder (default: runs/DATASET-DATE-TIME).")
@click.option("--resume", type=Path, metavar="RUN", help="Go on with the run in this folder.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object a line, for programs to read.")
def train(
    dataset: str | None,
    recipe: str | None,
    epochs: int | None,
    batch_size: int | None,
    lr: float | None,
    weight_decay: float | None,
    width: int | None,
    image_size: tuple[int, int] | None,
    holdout: int | None,
    seed: int | None,
    config: Path | None,
    out: Path | None,
    resume: Path | None,
    as_json: bool,
) -> None:
    """Train a convolutional network on images.

    Writes into a folder: the model, its history and learning curves, and
    the configuration that makes the same model again. Ctrl-C saves a
    checkpoint and ends; --resume goes on, and ends bit for bit where an
    unbroken run ends. Seconds, also of the CPUs, are of all parts of a run.

    With --json, standard output has nothing but objects with "event":
    "begin"; "epoch" after each; and at last "end", or "stopped".
    """
    from handgrad.train import Experiment, JsonLines, Progress, Recipe, StopOnInterrupt, recipe_for

    changes = {
        "epochs": epochs,
        "batch_size": batch_size,
        "lr": lr,
        "weight_decay": weight_decay,
        "image_size": image_size,
        "holdout": holdout,
        "seed": seed,
        "model_options": None if width is None else {"width": width},
    }
    if sum(source is not None for source in (dataset, config, resume)) != 1:
        raise ArgumentError(
            "train",
            expected="one of a DATASET, --config FILE or --resume RUN",
            got="several" if dataset or config or resume else "none",
            do="for a first try: handgrad train digits",
        )
    if resume is not None:
        given = [name for name, value in changes.items() if value is not None]
        given += [name for name, value in (("recipe", recipe), ("out", out)) if value is not None]
        if given:
            raise ArgumentError(
                "train --resume",
                expected="no other option",
                got=", ".join(given),
                do="a run goes on by its own recipe",
            )
        experiment = Experiment(resume)
    else:
        if config is not None and recipe is not None:
            raise ArgumentError("train --config", expected="no --recipe besides", got=recipe)
        chosen = (
            recipe_for(dataset, recipe, **changes)
            if dataset
            else Recipe.read(config or "").changed(**changes)
        )
        name = Path(chosen.dataset).resolve().name
        experiment = Experiment(out or _new_folder(name), chosen)
    folder, used = experiment.folder, experiment.recipe
    trainer = experiment.trainer
    kind = "held-out" if used.holdout else "test"
    at, lines = trainer.progress, JsonLines()
    if as_json:
        lines.write(
            "begin",
            folder=str(folder),
            dataset=used.dataset,
            training_images=len(experiment.train_data),
            test_images=len(experiment.test_data),
            epochs=used.epochs,
            batch_size=used.batch_size,
            seed=used.seed,
            holdout=used.holdout,
            epoch=at.epoch + 1,
            batch=at.batch + 1,
        )
    else:
        print(trainer.model.summary())
        print(
            f"\n{len(experiment.train_data):,} training and {len(experiment.test_data):,} {kind} images of "
            f"{used.dataset}; {used.epochs} epochs of {used.batch_size}; seed {used.seed}"
        )
        if experiment.ended:
            print("this run has ended")
        elif at.epoch or at.batch:
            print(f"going on at epoch {at.epoch + 1}, batch {at.batch + 1}")
    result = experiment.run([lines if as_json else Progress(), StopOnInterrupt()])
    if result is None:
        go_on = f"handgrad train --resume {shlex.quote(str(folder))}"
        if as_json:
            lines.write("stopped", folder=str(folder), resume=go_on)
        else:
            print(f"\nstopped; the run is saved. Go on with: {go_on}")
        raise click.exceptions.Exit(130)
    curves, drawn = _curves(folder, trainer.history)
    spent = experiment.spent
    if as_json:
        lines.write("end", folder=str(folder), **result, **spent._asdict())
        return
    print(
        f"{drawn}\n{kind} accuracy {result['test_accuracy']:.2%}, loss {result['test_loss']:.4f}\n"
        f"trained and tested in {spent.seconds:,.1f} s, {spent.cpu_seconds:,.1f} s of CPU time; "
        f"waited for data {spent.waited / max(spent.seconds, 1e-9):.1%} of it\n"
        f"{folder}: model.safetensors, history.csv, history.json, config.json{curves}"
    )


def _new_folder(name: str) -> Path:
    """Return a folder of the date and time that does not exist yet."""
    base = Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"
    folder, number = base, 1
    while folder.exists():
        number += 1
        folder = base.with_name(f"{base.name}-{number}")
    return folder


def _curves(folder: Path, history: dict[str, list[float]]) -> tuple[str, str]:
    """Write learning curves; return what to add to the list of files, and without matplotlib a drawing."""
    from handgrad.viz import draw_history, plot_history

    if importlib.util.find_spec("matplotlib"):
        plot_history(history, folder / "curves.png", title=folder.name)
        return ", curves.png", ""
    return "", f"\n{draw_history(history)}\n"
