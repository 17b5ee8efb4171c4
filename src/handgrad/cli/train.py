"""``handgrad train``."""

from __future__ import annotations

import importlib.util
import shlex
import signal
import time
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import click

from handgrad.errors import ArgumentError
from handgrad.terminal import Output

if TYPE_CHECKING:
    from handgrad.train import Experiment, JsonLines


@click.command(short_help="Train a convolutional network on images.")
@click.argument(
    "dataset",
    required=False,
    help="digits, mnist, fashion-mnist, cifar10, or a folder with train/CLASS/ and test/CLASS/.",
)
@click.option("--recipe", help="A named recipe for the data set, such as fast94 for cifar10.")
@click.option("--epochs", type=int, help="How often through the training images; also of a RUN resumed.")
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
    the configuration that makes the same model again. Ctrl-C, SIGTERM and a
    closed terminal save a checkpoint and end; --resume goes on, and ends bit
    for bit where an unbroken run ends: with the same images, versions,
    kernels and number of threads, on a machine of that kind. Where one of
    them differs, a warning says so. Seconds, also of the CPUs, are of all
    parts of a run.

    --resume RUN --epochs N gives a run another number of epochs, also one
    that has ended. The learning rate then follows, from the next step on, the
    schedule of a run of N epochs: it may rise again, and the model is not
    the one that N epochs make from the beginning.

    With --json, standard output has nothing but objects with "event":
    "begin"; "epoch" after each; and at last "end", or "stopped".
    """
    from handgrad.train import Experiment, Recipe, recipe_for

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
            got="several" if any(source is not None for source in (dataset, config, resume)) else "none",
            do="for a first try: handgrad train digits",
        )
    if resume is not None:
        given = [name for name, value in changes.items() if value is not None and name != "epochs"]
        given += [name for name, value in (("recipe", recipe), ("out", out)) if value is not None]
        if given:
            raise ArgumentError(
                "train --resume",
                expected="no other option than --epochs",
                got=", ".join(given),
                do="a run goes on by its own recipe; for another one: handgrad train --config "
                + shlex.quote(str(resume / "config.json")),
            )
        experiment = Experiment(resume, epochs=epochs)
    else:
        if config is not None and recipe is not None:
            raise ArgumentError("train --config", expected="no --recipe besides", got=recipe)
        chosen = (
            recipe_for(dataset, recipe, **changes)
            if dataset is not None
            else Recipe.read(config or "").changed(**changes)
        )
        folder = out or _new_folder(Path(chosen.dataset).resolve().name)
        experiment = Experiment(folder, chosen, numbered=out is None)
    with experiment.claimed():
        _run(experiment, as_json=as_json)


def _run(experiment: Experiment, *, as_json: bool) -> None:
    """Train, and say what comes of it; what is said may fail, and what is saved comes before it."""
    from handgrad.train import JsonLines, Progress, StopOnInterrupt

    say, lines = Output(name="stdout").print, JsonLines()
    folder, resume = experiment.folder, f"handgrad train --resume {shlex.quote(str(experiment.folder))}"
    if as_json:
        _begin_lines(experiment, lines)
    else:
        say(_beginning(experiment))
    stop = StopOnInterrupt()
    try:
        result = experiment.run([lines if as_json else Progress(), stop])
    except BaseException:
        if experiment.checkpoint.last_path.is_file():
            Output().print(f"handgrad: what was trained is saved. Go on with: {resume}")
        raise
    if result is None:
        if as_json:
            lines.write("stopped", folder=str(folder), resume=resume)
        else:
            say(f"\nstopped; the run is saved. Go on with: {resume}")
        raise click.exceptions.Exit(128 + (stop.signal or signal.SIGINT))
    if as_json:
        lines.write("end", folder=str(folder), **result, **experiment.spent._asdict())
    else:
        say(_ending(experiment, result))
    curves, drawn = _curves(folder, experiment.trainer.history)
    if not as_json:
        say(f"{drawn}{folder}: model.safetensors, history.csv, history.json, config.json{curves}")


def _begin_lines(experiment: Experiment, lines: JsonLines) -> None:
    used, at = experiment.recipe, experiment.trainer.progress
    lines.write(
        "begin",
        folder=str(experiment.folder),
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


def _beginning(experiment: Experiment) -> str:
    """Return what is said before training."""
    used, at = experiment.recipe, experiment.trainer.progress
    text = (
        f"{experiment.trainer.model.summary()}\n\n{len(experiment.train_data):,} training and "
        f"{len(experiment.test_data):,} {_kind(experiment)} images of {used.dataset}; "
        f"{used.epochs} epochs of {used.batch_size}; seed {used.seed}"
    )
    if experiment.epochs_before != used.epochs:
        text += (
            f"\n{used.epochs} epochs in place of {experiment.epochs_before}: from step {at.step + 1} on, the "
            f"learning rate is that of a run of {used.epochs} epochs"
        )
    if experiment.ended:
        return f"{text}\nthis run has ended"
    if not at.epoch and not at.batch:
        return text
    where = "its validation" if at.batch and at.batch == at.batches else f"batch {at.batch + 1}"
    return f"{text}\ngoing on at epoch {at.epoch + 1}, {where}"


def _ending(experiment: Experiment, result: dict[str, float]) -> str:
    """Return what is said of a run that has ended."""
    spent = experiment.spent
    return (
        f"\n{_kind(experiment)} accuracy {result['test_accuracy']:.2%}, loss {result['test_loss']:.4f}\n"
        f"trained and tested in {spent.seconds:,.1f} s, {spent.cpu_seconds:,.1f} s of CPU time; "
        f"waited for data {spent.waited / max(spent.seconds, 1e-9):.1%} of it"
    )


def _kind(experiment: Experiment) -> str:
    return "held-out" if experiment.recipe.holdout else "test"


def _new_folder(name: str) -> Path:
    """Return a folder of the date and time."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%d-%H%M%S')}"


def _curves(folder: Path, history: dict[str, list[float]]) -> tuple[str, str]:
    """Write learning curves; return what to add to the list of files, and without matplotlib a drawing."""
    from handgrad.viz import draw_history, plot_history

    if not importlib.util.find_spec("matplotlib"):
        return "", f"\n{draw_history(history)}\n\n"
    try:
        plot_history(history, folder / "curves.png", title=folder.name)
    except (OSError, ImportError, ValueError, RuntimeError) as error:  # all else is saved
        warnings.warn(f"there is no curves.png: {error}", stacklevel=2)
        return "", ""
    return ", curves.png", ""
