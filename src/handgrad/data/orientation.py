"""How the camera was held: images turned upright.

EXIF and TIFF keep it under the same tag. A file beside whose orientation other tags are damaged is common,
and no reason to refuse its picture: only this one tag is looked at.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image

TAG = 0x0112
WIDTH = 0x0100


def upright(image: Image) -> Image:
    """Return the decoded image, turned as its file says."""
    from PIL import Image as ImageModule
    from PIL.Image import Transpose

    if _is_tiff(image):
        value = orientation(image)
        # Pillow turns TIFFs while it decodes them, and fails where another tag is damaged
        setattr(image, "getexif", ImageModule.Exif)  # noqa: B010
        image.load()
    else:
        image.load()  # what comes after the pixels of a PNG as well
        value = orientation(image)
    how = {
        2: Transpose.FLIP_LEFT_RIGHT,
        3: Transpose.ROTATE_180,
        4: Transpose.FLIP_TOP_BOTTOM,
        5: Transpose.TRANSPOSE,
        6: Transpose.ROTATE_270,
        7: Transpose.TRANSVERSE,
        8: Transpose.ROTATE_90,
    }.get(value)
    return image if how is None else image.transpose(how)


def turns(image: Image) -> bool:
    """Whether `upright` exchanges the height and width that an image has before it is decoded."""
    turned = orientation(image) >= 5
    # Pillow 11 and newer give a TIFF's as they will be
    return turned and (not _is_tiff(image) or image.width == getattr(image, "tag_v2").get(WIDTH))  # noqa: B009


def orientation(image: Image) -> int:
    """Return where the pixels' first row and column are: 2, ..., 8, or 1, upright, where nothing is said."""
    tags: Any = getattr(image, "tag_v2", None)
    # Pillow reads no further than the first damaged tag
    value: Any = None if tags is not None else _in_exif(image.info.get("exif"))
    if value is None:
        try:
            value = image.getexif().get(TAG) if tags is None else tags.get(TAG)  # also from XMP
        except Exception:  # of damaged tags: TypeError, struct.error, AttributeError, ...
            return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _is_tiff(image: Image) -> bool:
    return hasattr(image, "tag_v2")


def _in_exif(exif: Any) -> int | None:
    """Return the orientation in the first directory of EXIF data, where that much is whole.

    A directory is a number of entries, each tag, type, count (1) and value; all else is passed over.
    """
    data = exif.removeprefix(b"Exif\0\0") if isinstance(exif, bytes) else b""
    order = {b"II": "<", b"MM": ">"}.get(data[:2])
    if order is None or len(data) < 8:
        return None
    (start,) = struct.unpack_from(f"{order}I", data, 4)
    if start + 2 > len(data):
        return None
    (entries,) = struct.unpack_from(f"{order}H", data, start)
    for at in range(start + 2, min(start + 2 + 12 * entries, len(data) - 11), 12):
        tag, kind, count, value = struct.unpack_from(f"{order}HHIH", data, at)
        if (tag, kind, count) == (TAG, 3, 1):
            return int(value)
    return None
