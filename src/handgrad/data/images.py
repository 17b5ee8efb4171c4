"""Image files to arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from handgrad.errors import ArgumentError, DataError, MissingExtraError
from handgrad.geometry import Pair
from handgrad.pixels import to_float
from handgrad.typing import Array

if TYPE_CHECKING:
    from PIL.Image import Image

CHANNELS = {"L": 1, "RGB": 3, "RGBA": 4}


def read_image(path: str | Path, size: Pair | None = None, *, mode: str = "RGB") -> Array:
    """Return an image file as an array.

    Parameters
    ----------
    path : str or Path
        An image of any format that Pillow reads, of 8 or 16 bits per channel.
    size : (height, width), optional
        The largest centred part of that aspect ratio is cut out and resized to it (bilinear, smoothed where
        it shrinks). By default the image's own size.
    mode : "L", "RGB" or "RGBA", default "RGB"
        Channels: grey (1), colour (3), colour with opacity (4).

    Returns
    -------
    (height, width, channels) float32 array
        In [0, 1], turned upright where the file says how the camera was held.

    Raises
    ------
    DataError
        If the file is missing, no image, damaged or of another kind of pixels.
    ArgumentError
        If `mode` is none of the three.
    MissingExtraError
        Without Pillow, which the extra ``images`` installs.
    """
    check_mode(mode)
    try:
        from PIL import Image, ImageOps, UnidentifiedImageError
    except ImportError:
        raise MissingExtraError(
            str(path),
            expected="Pillow, to read image files",
            got="an installation without it",
            do="python -m pip install 'handgrad[images]'",
        ) from None

    try:
        with Image.open(path) as file:
            image = _eight_bits(ImageOps.exif_transpose(file), path).convert(mode)
    except FileNotFoundError:
        raise DataError(str(path), expected="an image file", got="no such file") from None
    except DataError:
        raise
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        reason = "something else" if isinstance(error, UnidentifiedImageError) else str(error)
        raise DataError(str(path), expected="an image that can be read", got=reason) from error
    if size is not None:
        image = ImageOps.fit(image, (size[1], size[0]), Image.Resampling.BILINEAR)
    pixels = np.asarray(image)
    return to_float(pixels.reshape(*pixels.shape[:2], CHANNELS[mode]), np.float32)


def check_mode(mode: str) -> None:
    """Raise ArgumentError unless `mode` is one of those of `read_image`."""
    if mode not in CHANNELS:
        raise ArgumentError("mode", expected=f"one of {', '.join(CHANNELS)}", got=repr(mode))


def _eight_bits(image: Image, path: str | Path) -> Image:
    """Return 16-bit grey as 8-bit: Pillow's own conversion makes everything above 255 white."""
    if image.mode[0] not in "IF":
        return image
    pixels = np.asarray(image)
    if image.mode[0] == "F" or pixels.min() < 0 or pixels.max() > 65535:
        raise DataError(str(path), expected="pixels of 8 or 16 bits", got=f"pixels of mode {image.mode}")
    from PIL import Image as ImageModule

    return ImageModule.fromarray(np.rint(pixels / 257).astype(np.uint8))
