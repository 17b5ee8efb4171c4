"""A folder of images, one directory per class."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from handgrad.arguments import check_count
from handgrad.data.images import CHANNELS, MAX_PIXELS, check_mode, read_image
from handgrad.errors import DataError
from handgrad.geometry import Pair, pair
from handgrad.typing import Array, Shape

SUFFIXES = frozenset(
    {".bmp", ".gif", ".jpeg", ".jpg", ".pbm", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp"}
)


class ImageFolder:
    """Image files in one directory per class, read when asked for, as a `Dataset`.

    Parameters
    ----------
    path : str or Path
        ``path/CLASS/.../IMAGE``: each directory in it is a class, and every image below that one of its.
        Classes are numbered in the order of their names. Hidden files and directories (``.name``) are passed
        over, and so are files without the ending of an image.
    size : int or (height, width), default (32, 32)
        Of every image; see `read_image` for how it is brought to it.
    mode : "L", "RGB" or "RGBA", default "RGB"
        Channels: 1, 3 or 4.
    max_pixels : int, default 89,478,485
        A larger file is refused before it is decoded, as by `read_image`.

    Attributes
    ----------
    class_names : tuple of str
    paths : tuple of Path
        The files, in order.
    labels : (n,) int64 array

    Raises
    ------
    DataError
        If the folder is missing, has no classes, or a class has no images; from `batch`, if an image cannot
        be read.
    """

    def __init__(
        self,
        path: str | Path,
        size: int | Pair = (32, 32),
        *,
        mode: str = "RGB",
        max_pixels: int = MAX_PIXELS,
    ) -> None:
        check_mode(mode)
        check_count("ImageFolder", "max_pixels", max_pixels)
        self.max_pixels = max_pixels
        self.size, self.mode = pair(size, "ImageFolder size"), mode
        classes = _classes(Path(path))
        files = {c.name: _images(c) for c in classes}
        if empty := [name for name, found in files.items() if not found]:
            raise DataError(
                str(path),
                expected="images in every class directory",
                got=f"none in {', '.join(empty)}",
                do=f"remove the directory, or add files that end in {', '.join(sorted(SUFFIXES))}",
            )
        self.class_names = tuple(files)
        self.paths = tuple(p for found in files.values() for p in found)
        self.labels = np.repeat(np.arange(len(files)), [len(found) for found in files.values()])

    def __len__(self) -> int:
        """Return the number of images."""
        return len(self.paths)

    @property
    def shape(self) -> Shape:
        """(height, width, channels)."""
        return (*self.size, CHANNELS[self.mode])

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the images, in [0, 1], and the labels at `indices`."""
        x = np.empty((len(indices), *self.shape), np.float32)
        for i, index in enumerate(indices):
            x[i] = read_image(self.paths[index], self.size, mode=self.mode, max_pixels=self.max_pixels)
        return x, self.labels[indices]


def _classes(folder: Path) -> list[Path]:
    do = "make one directory per class, with its images in it"
    if not folder.is_dir():
        got = "a file" if folder.exists() else "no such folder"
        raise DataError(str(folder), expected="a folder with one directory per class", got=got, do=do)
    classes = sorted(p for p in folder.iterdir() if p.is_dir() and not p.name.startswith("."))
    if not classes:
        raise DataError(str(folder), expected="one directory per class", got="no directories", do=do)
    return classes


def _images(folder: Path) -> list[Path]:
    return sorted(
        p
        for p in folder.rglob("*")
        if p.suffix.lower() in SUFFIXES
        and not any(part.startswith(".") for part in p.relative_to(folder).parts)
        and p.is_file()
    )
