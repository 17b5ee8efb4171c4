"""Image files to arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from handgrad.arguments import check_count
from handgrad.data.orientation import upright
from handgrad.errors import ArgumentError, DataError, HandgradError, MissingExtraError
from handgrad.filetypes import file_type
from handgrad.geometry import Pair, pair
from handgrad.pixels import to_float
from handgrad.typing import Array

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}

FORMATS = ("BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
"""What is opened. Pillow has more, and runs another program for some: Ghostscript for an EPS of any name."""

MAX_PIXELS = 89_478_485
"""Pillow's own: a quarter of a GiB of colour."""

BACKGROUND = (255, 255, 255, 255)
"""White, what browsers and paper show behind a picture."""


def read_image(
    path: Any, size: Pair | None = None, *, mode: str = "RGB", max_pixels: int = MAX_PIXELS
) -> Array:
    """Return an image file as an array.

    Parameters
    ----------
    path : str, Path, binary file or Pillow image
        A BMP, GIF, JPEG, PNG, PNM, TIFF or WebP image, of 8 or 16 bits per channel: of several the first. A
        Pillow image may come from anything that Pillow opens.
    size : (height, width), optional
        The largest centred part of that aspect ratio is cut out and resized to it (bilinear, smoothed where
        it shrinks). By default the image's own size.
    mode : "L", "RGB" or "RGBA", default "RGB"
        Channels: grey (1), colour (3), colour with opacity (4). In grey and colour, what is transparent
        shows a white background; for another one, read "RGBA" and lay it over that.
    max_pixels : int, default 89,478,485
        A file of more pixels is refused before it is decoded: a few kB can hold an image of many GB.

    Returns
    -------
    (height, width, channels) float32 array
        In [0, 1], turned upright where the file says how the camera was held.

    Raises
    ------
    DataError
        If the file is missing, no image, damaged, too large or of another kind of pixels.
    ArgumentError
        If an argument means nothing.
    MissingExtraError
        Without Pillow, which the extra ``images`` installs.
    """
    check_mode(mode)
    size = None if size is None else pair(size, "read_image size")
    check_count("read_image", "max_pixels", max_pixels)
    with _opened(path) as image:
        height, width = image.height, image.width
        if height * width > max_pixels:
            raise DataError(
                _name(path),
                expected=f"an image of at most {max_pixels:,} pixels",
                got=f"one of {height:,}x{width:,}",
                do="raise max_pixels where you trust it",
            )
        image = upright(image.copy() if image is path else image)  # what was passed in is not written
        image = _flat(_eight_bits(image, _name(path)), mode)
        if size is not None:
            from PIL import Image, ImageOps

            image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
        pixels = np.asarray(image)
    return to_float(pixels.reshape(*pixels.shape[:2], CHANNELS[mode]), np.float32)


def image_size(path: Any) -> Pair:
    """Return (height, width) of an image that `read_image` takes, upright, without decoding its pixels.

    Raises
    ------
    DataError
        If the file is missing or no image.
    MissingExtraError
        Without Pillow.
    """
    from handgrad.data.orientation import turns

    with _opened(path) as image:
        height, width = image.height, image.width
        return (width, height) if turns(image) else (height, width)


def check_mode(mode: str) -> None:
    """Raise ArgumentError unless `mode` is one of those of `read_image`."""
    if mode not in CHANNELS:
        raise ArgumentError("mode", expected=f"one of {', '.join(CHANNELS)}", got=repr(mode))


@contextmanager
def _opened(path: Any) -> Iterator[Image]:
    """Open an image; whatever goes wrong with it becomes DataError."""
    name = _name(path)
    try:
        from PIL import Image
    except ImportError:
        raise MissingExtraError(
            name,
            expected="Pillow, to read image files",
            got="an installation without it",
            do="python -m pip install 'handgrad[images]'",
        ) from None
    try:
        if isinstance(path, Image.Image) and not _is_mapped(path):
            yield path
        elif hasattr(path, "read"):
            with Image.open(path, formats=FORMATS) as image:
                yield image
        else:
            mapped: Any = path if isinstance(path, Image.Image) else None
            with (
                Path(os.fsdecode(path if mapped is None else mapped.filename)).open("rb") as file,
                Image.open(file, formats=FORMATS) as image,
            ):
                if mapped is not None:
                    image.seek(mapped.tell())
                yield image
    except HandgradError:
        raise
    except FileNotFoundError:
        raise DataError(name, expected="an image file", got="no such file") from None
    except Exception as error:  # decoders raise all kinds of damaged files
        raise _unreadable(path, name, error) from error


def _is_mapped(image: Any) -> bool:
    """Whether Pillow may map a file into memory as it decodes it: then it turns TIFFs wrongly."""
    return image.format == "TIFF" and bool(image.tile) and bool(image.filename)


def _name(path: Any) -> str:
    """Return how errors name an image, or raise ArgumentError if `path` is something else."""
    if isinstance(path, str | bytes | os.PathLike):
        return os.fsdecode(path) or "image"
    if hasattr(path, "read") or (hasattr(path, "convert") and hasattr(path, "size")):
        name = getattr(path, "name", None) or getattr(path, "filename", None)
        return name if isinstance(name, str) else "image"
    do = "an array is read already: divide bytes by 255" if isinstance(path, np.ndarray) else ""
    raise ArgumentError(
        "read_image", expected="a path, a binary file or a Pillow image", got=type(path).__name__, do=do
    )


def _unreadable(path: Any, name: str, error: Exception) -> DataError:
    from PIL import UnidentifiedImageError

    reads = "BMP, GIF, JPEG, PNG, PNM, TIFF and WebP can be read"
    got, do = str(error) or type(error).__name__, ""
    if isinstance(error, OSError) and error.errno is not None:
        got = error.strerror or got
    elif isinstance(error, UnidentifiedImageError):
        file = Path(os.fsdecode(path)) if isinstance(path, str | bytes | os.PathLike) else None
        kind = None if file is None else file_type(file)
        got = "something else" if kind is None else kind.name
        if got in _OPENED:
            got = f"{got} that is damaged"
        else:
            do = reads
    return DataError(name, expected="an image that can be read", got=got, do=do)


_OPENED = frozenset(f"a {kind} image" for kind in ("BMP", "GIF", "JPEG", "PNG", "PNM", "TIFF", "WebP"))


def _flat(image: Image, mode: str) -> Image:
    """Return the image in `mode`, on white where that has no opacity and the image has."""
    if mode == "RGBA" or not image.has_transparency_data:
        return image.convert(mode)
    from PIL import Image as ImageModule

    over = image.convert("RGBA")
    return ImageModule.alpha_composite(ImageModule.new("RGBA", over.size, BACKGROUND), over).convert(mode)


def _eight_bits(image: Image, name: str) -> Image:
    """Return 16-bit grey as 8-bit: Pillow's own conversion makes everything above 255 white."""
    if image.mode[0] not in "IF":
        return image
    pixels = np.asarray(image)
    if image.mode[0] == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(name, expected="pixels of 8 or 16 bits", got=f"pixels of mode {image.mode}")
    from PIL import Image as ImageModule

    grey = ImageModule.fromarray(np.rint(pixels / 257).astype(np.uint8))
    if (transparent := image.info.get("transparency")) is None:
        return grey
    opacity = ImageModule.fromarray(np.where(pixels == transparent, 0, 255).astype(np.uint8))
    return ImageModule.merge("LA", (grey, opacity))
