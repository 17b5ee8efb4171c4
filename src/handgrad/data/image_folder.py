"""A folder of images, one directory per class."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from handgrad.arguments import check_count
from handgrad.data.images import CHANNELS, MAX_PIXELS, check_mode, image_size, read_image
from handgrad.data.transform import Transform
from handgrad.errors import ArgumentError, DataError
from handgrad.geometry import Pair, pair
from handgrad.typing import Array, Shape

ON_ERROR = "raise", "skip"
DO = 'replace or remove it, or leave such files out with ImageFolder(..., on_error="skip")'
SHOWN = 5
"""How many files a warning names."""

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
    on_error : "raise" or "skip", default "raise"
        What becomes of files that cannot be read as images. "raise": nothing is read before it is asked for,
        and `batch` raises for such a file. "skip": every file is read once here, which takes as long as an
        epoch's reading, and those that cannot be are left out, with a warning.

    Attributes
    ----------
    class_names : tuple of str
    paths : tuple of Path
        The files, in order.
    labels : (n,) int64 array
    skipped : tuple of Path
        The files that were left out.

    Raises
    ------
    ArgumentError
        If an argument means nothing.
    DataError
        If the folder is missing, has no classes, or a class has no images; from `batch`, if an image cannot
        be read.

    Warns
    -----
    UserWarning
        If files are left out.
    """

    def __init__(
        self,
        path: str | Path,
        size: int | Pair = (32, 32),
        *,
        mode: str = "RGB",
        max_pixels: int = MAX_PIXELS,
        on_error: str = "raise",
    ) -> None:
        check_mode(mode)
        check_count("ImageFolder", "max_pixels", max_pixels)
        if on_error not in ON_ERROR:
            raise ArgumentError("on_error", expected=f"one of {', '.join(ON_ERROR)}", got=repr(on_error))
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
        self.skipped: tuple[Path, ...] = ()
        if on_error == "skip":
            files = self._readable(path, files)
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

    @property
    def preprocessing(self) -> tuple[Transform, ...]:
        """No transforms: images are as they are read."""
        return ()

    def batch(self, indices: Array) -> tuple[Array, Array]:
        """Return the images, in [0, 1], and the labels at `indices`."""
        x = np.empty((len(indices), *self.shape), np.float32)
        for i, index in enumerate(indices):
            try:
                x[i] = read_image(self.paths[index], self.size, mode=self.mode, max_pixels=self.max_pixels)
            except DataError as error:
                raise _with_advice(error) from error
        return x, self.labels[indices]

    def check(self) -> None:
        """Open every file, without reading its pixels, to find what is no image before training begins.

        Raises
        ------
        DataError
            If there are files that are no images; names the first of them.
        """
        problems = [error for path in self.paths if (error := _problem(path, image_size))]
        if problems:
            more = f" (and {len(problems) - 1} more such files)" if len(problems) > 1 else ""
            raise _with_advice(problems[0], more)

    def _readable(self, folder: str | Path, files: dict[str, list[Path]]) -> dict[str, list[Path]]:
        """Return the files that can be read; warn of the others."""
        read = partial(read_image, size=self.size, mode=self.mode, max_pixels=self.max_pixels)
        found = {path: error for of in files.values() for path in of if (error := _problem(path, read))}
        if not found:
            return files
        self.skipped = tuple(found)
        readable = {name: [path for path in of if path not in found] for name, of in files.items()}
        if empty := [name for name, of in readable.items() if not of]:
            raise DataError(
                str(folder),
                expected="images that can be read in every class directory",
                got=f"none in {', '.join(empty)}",
            )
        names = ", ".join(f"{path} ({error.got})" for path, error in list(found.items())[:SHOWN])
        more = f" and {len(found) - SHOWN} more" if len(found) > SHOWN else ""
        warnings.warn(f"left out, as they cannot be read: {names}{more}", stacklevel=3)
        return readable


def _with_advice(error: DataError, more: str = "") -> DataError:
    do = f"{error.do}; {DO}" if error.do else DO
    return DataError(error.where, expected=error.expected, got=f"{error.got}{more}", do=do)


def _problem(path: Path, read: Callable[[Path], object]) -> DataError | None:
    try:
        read(path)
    except DataError as error:
        return error
    return None


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
