"""What a run is trained on, as far as it can be told without reading every sample."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.data import Dataset
from handgrad.errors import CheckpointError
from handgrad.train.callbacks import Callback
from handgrad.typing import Config


def describe(train: Dataset, test: Dataset, classes: Sequence[str]) -> Config:
    """Return the classes' names and for each part how many images it has, and a fingerprint of their list.

    The list is that of labels, and of image files their names and sizes.
    """
    parts = {"training": train, "test": test}
    return {
        "classes": list(classes),
        **{
            name: {"images": len(part), "fingerprint": hashlib.sha256(b"\0".join(_list(part))).hexdigest()}
            for name, part in parts.items()
        },
    }


def _list(dataset: Any) -> Iterator[bytes]:
    """Yield what the samples of a data set are told by, through the sets that it is a part of."""
    yield str(tuple(dataset.shape)).encode()
    if (inner := getattr(dataset, "dataset", None)) is not None:
        indices = getattr(dataset, "indices", None)
        yield b"" if indices is None else np.asarray(indices, "<i8").tobytes()
        yield from _list(inner)
        return
    if (labels := getattr(dataset, "labels", None)) is not None:
        labels = np.asarray(labels)
        yield labels.astype("<i8" if labels.dtype.kind in "biu" else "<f8").tobytes()
    if paths := [Path(path) for path in getattr(dataset, "paths", ())]:
        root = os.path.commonpath([path.parent for path in paths])
        for path in paths:
            yield path.relative_to(root).as_posix().encode(errors="surrogateescape")
            yield str(path.stat().st_size).encode()


def check_same(where: str, before: Any, now: Config) -> list[str]:
    """Say which images are others than those of a saved description.

    Raises
    ------
    CheckpointError
        If the classes have other names: labels would mean something else than what was learned.
    """
    if not isinstance(before, dict):
        return []
    classes = before.get("classes", now["classes"])
    if classes != now["classes"]:
        raise CheckpointError(
            where,
            expected=f"the classes that it was trained on, {_joined(classes)}",
            got=_joined(now["classes"]),
            do="give them the names that they had, or begin a new run",
        )
    said = []
    for part in ("training", "test"):
        then, is_now = before.get(part), now[part]
        if not isinstance(then, dict) or then == is_now:
            continue
        n, m = then.get("images"), is_now["images"]
        said.append(
            f"{n:,} {part} images, now {m:,}" if isinstance(n, int) and n != m else f"other {part} images"
        )
    return said


def _joined(names: Any) -> str:
    return ", ".join(map(str, names)) if isinstance(names, list) else repr(names)


class TrainedOn(Callback):
    """Keeps in each checkpoint what `describe` returned."""

    def __init__(self, description: Config) -> None:
        self.description = description

    def state(self) -> Config:
        """Return it."""
        return self.description
