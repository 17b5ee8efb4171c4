"""``handgrad evaluate``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from handgrad.data import Dataset
    from handgrad.graph import Graph, ModelInfo
    from handgrad.losses import Loss
    from handgrad.typing import Array


@click.command(short_help="Measure a model on the test images.")
@click.argument("run", type=Path, help="A run's folder, or a model file.")
@click.option("--dataset", help="Another set, or a folder with test/CLASS/ (default: the run's).")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Images at once.")
def evaluate(run: Path, dataset: str | None, batch_size: int) -> None:
    """Measure loss, accuracy and the accuracy of each class on the test images.

    Of a run whose recipe held out training images it is on these, and where it
    averages over views of an image, over the same. Images pass through what
    those of its training passed through. Classes of another set are found by
    their names. Images that cannot be read are named and left out.
    """
    import numpy as np

    from handgrad.cli.classes import Renumbered, class_numbers
    from handgrad.cli.outputs import known_info
    from handgrad.cli.printable import one_line
    from handgrad.data import preprocess
    from handgrad.errors import DataError
    from handgrad.losses import MeanSquaredError
    from handgrad.train import Views, open_model
    from handgrad.train import evaluate as measure

    model, about = open_model(run)
    name = dataset or about.get("dataset")
    if not name:
        raise DataError(
            str(run), expected="a model that knows its data set", got="one that does not", do="use --dataset"
        )
    if len(model.input_shape) != 3:
        raise DataError(str(run), expected="a model of images", got=f"one of inputs {model.input_shape}")
    info = known_info(model, run)
    if info.kind not in ("classification", "binary") or len(model.output_shape) != 1:
        raise DataError(
            str(run),
            expected="a model that gives an image one class",
            got=f"one of kind {info.kind} with outputs {model.output_shape}",
            do="measure it in Python, by handgrad.Trainer(model, loss, metrics=[...]).evaluate(x, y)",
        )
    own = {} if dataset else about  # another set has no part that was held out
    holdout = own.get("holdout") or None
    test, names = _test_data(name, model, holdout)
    loss = _loss(info, about)
    outputs = 2 if info.kind == "binary" else model.output_shape[0]
    numbers = class_numbers(name, names, info.names(outputs), named=bool(info.classes))
    views = None if about.get("views") is None else Views.from_config(about["views"])
    predicted: list[np.ndarray] = []
    wanted: list[np.ndarray] = []

    def right(z: Array, y: Array) -> Array:
        wanted.append(y.reshape(-1) if y.size == len(z) else y.argmax(axis=-1))
        predicted.append(_chosen(info, z))
        found: Array = predicted[-1] == wanted[-1]
        return found

    one_hot = info.kind == "classification" and isinstance(loss, MeanSquaredError)
    samples = Renumbered(preprocess(test, info), numbers, outputs if one_hot else None)
    result = measure(model, loss, {"accuracy": right}, samples, None, batch_size, views=views)
    images = f"{len(test):,} {'held-out' if holdout else 'test'} images"
    print(f"{one_line(name)}, {images}: loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}")
    chosen, labels = np.concatenate(predicted), np.concatenate(wanted)
    known, wide = info.names(outputs), max(len(one_line(label)) for label in names)
    for k, label in zip(numbers, names, strict=True):
        of = labels == k
        confused = np.bincount(chosen[of & (chosen != k) & (chosen >= 0)], minlength=outputs)
        most = f"  mostly as {one_line(known[int(confused.argmax())])}" if confused.any() else ""
        share = float((chosen[of] == k).mean()) if of.any() else float("nan")
        print(f"  {one_line(label).ljust(wide)}  {share:7.2%} of {int(of.sum()):,}{most}")


def _test_data(name: str, model: Graph, holdout: int | None) -> tuple[Dataset, tuple[str, ...]]:
    """Return test images of a known set, or of a folder in the size and channels of the model's inputs."""
    from handgrad.cli.predict import MODES
    from handgrad.data import ImageFolder
    from handgrad.errors import DataError
    from handgrad.train import recipe_for

    height, width, channels = model.input_shape
    folder = Path(name).is_dir()
    if not folder or holdout:
        _, test, names = recipe_for(
            name, image_size=(height, width) if folder else None, holdout=holdout
        ).data()
        return test, names
    if channels not in MODES:
        raise DataError(name, expected="a model of grey or colour images", got=f"{channels} channels")
    images = ImageFolder(Path(name) / "test", (height, width), mode=MODES[channels], on_error="skip")
    return images, images.class_names


def _loss(info: ModelInfo, about: dict[str, object]) -> Loss:
    """Return the loss that the model was trained with, or that of its kind where that is unknown."""
    from handgrad import losses
    from handgrad.errors import ArgumentError

    usual = "binary_cross_entropy" if info.kind == "binary" else "cross_entropy"
    config = info.loss or about.get("loss") or usual
    try:
        return losses.get(config)  # type: ignore[arg-type]
    except ArgumentError:  # one of the user's own
        return losses.get(usual)


def _chosen(info: ModelInfo, z: Array) -> Array:
    """Return the number of the class that outputs say, -1 where one is NaN."""
    import numpy as np

    if info.kind == "binary":
        chosen = (z[:, 0] > (0.0 if info.from_logits else 0.5)).astype(np.int64)
    else:
        chosen = z.argmax(axis=-1)
    return np.where(np.isnan(z).any(axis=-1), -1, chosen)
