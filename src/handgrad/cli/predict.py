"""``handgrad predict``."""

from __future__ import annotations

from pathlib import Path

import click


@click.command(short_help="Name what image files show.")
@click.argument("run", type=Path, help="A run's folder, or a model file.")
@click.argument(
    "images", type=Path, nargs=-1, required=True, help="Image files, of the size the model was trained on."
)
@click.option("--resize", is_flag=True, help="Bring images to that size first.")
@click.option("--top", type=click.IntRange(1), default=3, show_default=True, help="Classes to show for each.")
def predict(run: Path, images: tuple[Path, ...], resize: bool, top: int) -> None:
    """Print the most probable classes of image files, with their probabilities."""
    import numpy as np

    from handgrad.cli.printable import printable
    from handgrad.data import read_image
    from handgrad.data.images import image_size
    from handgrad.errors import DataError
    from handgrad.kernels import default_kernels
    from handgrad.train import open_model

    model, about = open_model(run)
    if len(model.input_shape) != 3 or model.input_shape[2] not in (1, 3):
        raise DataError(
            str(run), expected="a model of grey or colour images", got=f"one of inputs {model.input_shape}"
        )
    height, width, channels = model.input_shape
    mode = "L" if channels == 1 else "RGB"
    batch = []
    for path in images:
        size = image_size(path)
        if not resize and size != (height, width):
            raise DataError(
                str(path),
                expected=f"an image of {height}x{width} pixels",
                got=f"{size[0]}x{size[1]}",
                do="use --resize to bring it to that size",
            )
        batch.append(read_image(path, (height, width) if resize else None, mode=mode))
    probabilities = default_kernels().softmax(model.predict(np.stack(batch)))
    classes = about.get("classes") or range(probabilities.shape[-1])
    classes = [printable(name) for name in classes]
    wide = max(len(str(path)) for path in images)
    for path, p in zip(images, probabilities, strict=True):
        best = np.argsort(-p, kind="stable")[:top]
        print(str(path).ljust(wide), "  ".join(f"{classes[k]} {p[k]:.1%}" for k in best), sep="  ")
