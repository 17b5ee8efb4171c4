"""``handgrad predict``."""

from __future__ import annotations

from pathlib import Path

import click

from handgrad.cli.printable import complain, one_line

MODES = {1: "L", 3: "RGB", 4: "RGBA"}


@click.command(short_help="Say what image files show.")
@click.argument("run", type=Path, help="A run's folder, or a model file.")
@click.argument(
    "images", type=Path, nargs=-1, required=True, help="Image files, of the size the model was trained on."
)
@click.option("--resize", is_flag=True, help="Bring images to that size first.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes to show for each.")
def predict(run: Path, images: tuple[Path, ...], resize: bool, top: int) -> None:
    """Print what a model says of image files: a line for each.

    That is the most probable classes with their probabilities; of labels that
    exclude no other, all above 50 %; of a map, the share of each class; or
    numbers, as the model was trained. Images pass through what those of its
    training passed through. One that cannot be used is named on standard
    error, and the exit code is 1 then; the others are printed.
    """
    import numpy as np

    from handgrad.cli.outputs import known_info, line
    from handgrad.data import preprocess, read_image
    from handgrad.data.images import image_size
    from handgrad.errors import DataError
    from handgrad.train import open_model

    model, _ = open_model(run)
    if len(model.input_shape) != 3 or model.input_shape[2] not in MODES:
        raise DataError(
            str(run), expected="a model of grey or colour images", got=f"one of inputs {model.input_shape}"
        )
    info = known_info(model, run)
    height, width, channels = model.input_shape
    read: list[tuple[Path, np.ndarray]] = []
    failed = False
    for path in images:
        try:
            size = image_size(path)
            if not resize and size != (height, width):
                raise DataError(
                    str(path),
                    expected=f"an image of {height}x{width} pixels",
                    got=f"{size[0]}x{size[1]}",
                    do="use --resize to bring it to that size",
                )
            image = read_image(path, (height, width) if resize else None, mode=MODES[channels])
        except DataError as error:
            complain(error)
            failed = True
        else:
            read.append((path, image))
    if read:
        outputs = model.predict(preprocess(np.stack([image for _, image in read]), info, dtype=model.dtype))
        wide = max(len(one_line(path)) for path, _ in read)
        for (path, _), z in zip(read, outputs, strict=True):
            if np.isfinite(z).all():
                print(one_line(path).ljust(wide), line(info, z, top), sep="  ")
            else:
                complain(DataError(str(path), expected="finite outputs of the model", got="NaN or infinity"))
                failed = True
    if failed:
        raise click.exceptions.Exit(1)
