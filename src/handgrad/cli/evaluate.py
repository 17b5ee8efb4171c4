"""``handgrad evaluate``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Measure a model on the test images.")
@click.argument("run", type=Path, help="A run's folder, or a model file.")
@click.option("--dataset", help="Another set, or a folder with test/CLASS/ (default: the run's).")
@click.option("--batch-size", type=click.IntRange(1), default=256, show_default=True, help="Images at once.")
def evaluate(run: Path, dataset: str | None, batch_size: int) -> None:
    """Measure loss, accuracy and the accuracy of each class on the test images.

    Of a run whose recipe held out training images it is on these, and where it
    averages over views of an image, over the same.
    """
    import numpy as np

    from handgrad import losses
    from handgrad.cli.printable import printable
    from handgrad.errors import DataError
    from handgrad.train import Views, open_model, recipe_for
    from handgrad.train import evaluate as measure
    from handgrad.train.metrics import Accuracy

    model, about = open_model(run)
    name = dataset or about.get("dataset")
    if not name:
        raise DataError(
            str(run), expected="a model that knows its data set", got="one that does not", do="use --dataset"
        )
    if len(model.input_shape) != 3:
        raise DataError(str(run), expected="a model of images", got=f"one of inputs {model.input_shape}")
    height, width, _ = model.input_shape
    size = (height, width) if Path(name).is_dir() else None
    own = {} if dataset else about  # another set has no part that was held out
    holdout = own.get("holdout") or None
    _, test, classes = recipe_for(name, image_size=size, holdout=holdout).data()
    views = None if about.get("views") is None else Views.from_config(about["views"])
    outputs: list[np.ndarray] = []
    labels: list[np.ndarray] = []

    def right(z: np.ndarray, y: np.ndarray) -> np.ndarray:
        outputs.append(np.argmax(z, axis=-1))
        labels.append(y)
        return Accuracy()(z, y)

    loss = losses.get(about.get("loss", "cross_entropy"))
    result = measure(model, loss, {"accuracy": right}, test, None, batch_size, views=views)
    images = f"{len(test):,} {'held-out' if holdout else 'test'} images"
    print(f"{name}, {images}: loss {result['loss']:.4f}, accuracy {result['accuracy']:.2%}")
    predicted, wanted = np.concatenate(outputs), np.concatenate(labels)
    classes = tuple(map(printable, classes))
    wide = max(map(len, classes))
    for k, label in enumerate(classes):
        of = wanted == k
        confused = np.bincount(predicted[of & (predicted != k)], minlength=len(classes))
        most = f"  mostly as {classes[int(confused.argmax())]}" if confused.any() else ""
        share = float((predicted[of] == k).mean()) if of.any() else float("nan")
        print(f"  {label.ljust(wide)}  {share:7.2%} of {int(of.sum()):,}{most}")
