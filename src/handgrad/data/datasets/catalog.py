"""The known sets by name: what there is, where it stands, and how to get it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from handgrad.data.datasets import cifar10, digits, fashion_mnist, mnist
from handgrad.data.datasets.cache import Progress, Source, complete, place, stands
from handgrad.data.datasets.image_set import ImageSet
from handgrad.errors import ArgumentError
from handgrad.typing import Shape


@dataclass(frozen=True)
class Entry:
    """A known set; without a source it is embedded."""

    load: Callable[[], ImageSet]
    images: int
    classes: int
    shape: Shape
    source: Source | None = None


ENTRIES = {
    "digits": Entry(digits.digits, 1_797, 10, (8, 8, 1)),
    "mnist": Entry(mnist.mnist, 70_000, 10, (28, 28, 1), mnist.SOURCE),
    "fashion_mnist": Entry(fashion_mnist.fashion_mnist, 70_000, 10, (28, 28, 1), fashion_mnist.SOURCE),
    "cifar10": Entry(cifar10.cifar10, 60_000, 10, (32, 32, 3), cifar10.SOURCE),
}


@dataclass(frozen=True)
class DatasetInfo:
    """A known set and where it stands.

    Attributes
    ----------
    name : str
    images : int
        For training and testing together.
    classes : int
    shape : (height, width, channels)
    status : "embedded", "cached" or "not cached"
        Cached: every file is there and as long as it should be (contents are verified when they are loaded).
    path : Path or None
        The file or folder; None if not cached.
    size : int
        Bytes on disk, when it is there.
    """

    name: str
    images: int
    classes: int
    shape: Shape
    status: Literal["embedded", "cached", "not cached"]
    path: Path | None
    size: int


def available() -> list[DatasetInfo]:
    """Return what is known of every set, without the network."""
    return [_info(name, entry) for name, entry in ENTRIES.items()]


def load(name: str) -> ImageSet:
    """Return a set by its name; ``-`` may stand for ``_``.

    Raises
    ------
    ArgumentError
        If there is none of that name.
    DataError
        As from the function of that name.
    """
    return _entry(name).load()


def fetch(name: str, progress: Progress | None = None) -> Path:
    """Bring a set into the cache, or make it whole there.

    Files that stand there with the right contents are kept, others are replaced. A broken download goes on
    where it ended, in this call or the next.

    Parameters
    ----------
    name : str
        Of the set; ``-`` may stand for ``_``.
    progress : callable, optional
        Called as ``progress(file, done, total)`` while bytes come; `total` is None where the server does not
        say.

    Returns
    -------
    Path
        The folder, or of an embedded set the file.

    Raises
    ------
    ArgumentError
        If there is no set of that name.
    DataError
        If it cannot be fetched; says how to get it by hand.
    """
    source = _entry(name).source
    return Path(str(digits.RESOURCE)) if source is None else complete(source, replace=True, progress=progress)


def _entry(name: str) -> Entry:
    entry = ENTRIES.get(name.replace("-", "_"))
    if entry is None:
        raise ArgumentError("dataset", expected=f"one of {', '.join(ENTRIES)}", got=repr(name))
    return entry


def _info(name: str, entry: Entry) -> DatasetInfo:
    def info(
        status: Literal["embedded", "cached", "not cached"], path: Path | None, size: int
    ) -> DatasetInfo:
        return DatasetInfo(name, entry.images, entry.classes, entry.shape, status, path, size)

    if entry.source is None:
        path = Path(str(digits.RESOURCE))
        return info("embedded", path, path.stat().st_size)
    if stands(entry.source):
        return info("cached", place(entry.source), entry.source.size)
    return info("not cached", None, entry.source.size)
