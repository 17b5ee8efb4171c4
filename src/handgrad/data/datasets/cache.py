"""Where downloaded sets are kept, and how they are verified: by their unpacked contents, at every read.

A set stands as plain, unpacked files in a folder of its own. Who put them there does not matter, and a file
whose checksum is wrong is never used.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

from handgrad.errors import DataError

Progress: TypeAlias = Callable[[str, int, int | None], None]
"""Called with a file's name, the bytes done and the bytes in all (None if not known)."""


@dataclass(frozen=True)
class File:
    """An unpacked file: its name, its size in bytes and its MD5."""

    name: str
    size: int
    md5: str


@dataclass(frozen=True)
class Archive:
    """A ``.gz`` of one file or a ``.tar.gz`` of several, and the addresses it can be had from."""

    name: str
    urls: tuple[str, ...]
    files: tuple[File, ...]

    @property
    def limit(self) -> int:
        """The most bytes that it may have, packed or unpacked: its files' and some around them."""
        return sum(file.size for file in self.files) * 9 // 8 + (1 << 20)


@dataclass(frozen=True)
class Source:
    """What a set consists of.

    Parameters
    ----------
    name : str
        As `handgrad.data.fetch` knows it.
    folder : str
        In the cache folder.
    archives : tuple of Archive
        Where its files come from.
    """

    name: str
    folder: str
    archives: tuple[Archive, ...]

    @property
    def files(self) -> tuple[File, ...]:
        """The unpacked files."""
        return tuple(file for archive in self.archives for file in archive.files)

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return sum(file.size for file in self.files)


def cache_folder() -> Path:
    """Return ``$HANDGRAD_DATA``, else ``handgrad`` in the user's cache folder (``~/.cache`` on Linux)."""
    if named := os.environ.get("HANDGRAD_DATA"):
        return Path(named).expanduser()
    from platformdirs import user_cache_path

    return user_cache_path("handgrad", appauthor=False)


def place(source: Source, folder: Path | None = None) -> Path:
    """Return the folder of a set; `folder` stands in for the cache folder."""
    return (cache_folder() if folder is None else folder) / source.folder


def stands(source: Source, folder: Path | None = None) -> bool:
    """Return whether every file is there with its size; contents are not read."""
    at = place(source, folder)
    paths = [(at / file.name, file.size) for file in source.files]
    return all(path.is_file() and path.stat().st_size == size for path, size in paths)


def matches(contents: bytes, file: File) -> bool:
    """Return whether `contents` are those of `file`."""
    return len(contents) == file.size and checksum(contents) == file.md5


def checksum(contents: bytes) -> str:
    """Return the MD5: a guard against damage, not against malice."""
    return hashlib.md5(contents, usedforsecurity=False).hexdigest()


def read(source: Source, folder: Path | None = None) -> dict[str, bytes]:
    """Return the contents of every file, verified; what is missing is fetched first.

    Raises
    ------
    DataError
        If a file has the wrong contents, or is missing and cannot be fetched.
    """
    at = complete(source, folder)
    return {file.name: _verified(at / file.name, file, source) for file in source.files}


def complete(
    source: Source, folder: Path | None = None, *, replace: bool = False, progress: Progress | None = None
) -> Path:
    """Fetch the files that are missing and, with `replace`, those with the wrong contents; return the folder.

    Raises
    ------
    DataError
        If they cannot be fetched or written.
    """
    at = place(source, folder)

    def wanted(file: File) -> bool:
        path = at / file.name
        return not path.exists() or (replace and not (path.is_file() and matches(path.read_bytes(), file)))

    try:
        for archive in source.archives:
            if files := tuple(file for file in archive.files if wanted(file)):
                from handgrad.data.datasets.download import fetch_archive

                at.mkdir(parents=True, exist_ok=True)
                fetch_archive(source, archive, files, at, progress)
    except OSError as error:
        raise DataError(
            str(at),
            expected="a folder that can be read and written",
            got=error.strerror or str(error),
            do="name another one in the environment variable HANDGRAD_DATA",
        ) from error
    return at


def write(path: Path, contents: bytes) -> None:
    """Write a file whole or not at all; through a link, the one that it leads to."""
    path = Path(os.path.realpath(path))
    new = path.with_name(path.name + ".new")
    new.write_bytes(contents)
    new.replace(path)


def _verified(path: Path, file: File, source: Source) -> bytes:
    do = f'delete it, or replace it with handgrad.data.fetch("{source.name}")'
    try:
        contents = path.read_bytes()
    except OSError as error:
        got = error.strerror or str(error)
        raise DataError(str(path), expected="a file that can be read", got=got, do=do) from error
    if not matches(contents, file):
        raise DataError(
            str(path),
            expected=f"{file.size:,} bytes with MD5 {file.md5}",
            got=f"{len(contents):,} bytes with MD5 {checksum(contents)}",
            do=do,
        )
    return contents
