"""Archives from the network: tried at each address, resumed where they broke, verified before use."""

from __future__ import annotations

import gzip
import io
import tarfile
from pathlib import Path, PurePosixPath

from handgrad.data.datasets.cache import Archive, File, Progress, Source, matches, write
from handgrad.errors import DataError

CHUNK = 1 << 14  # bytes; small, because a chunk that breaks off is lost
TIMEOUT = (10, 60)  # seconds to connect, and between two chunks


def fetch_archive(
    source: Source, archive: Archive, files: tuple[File, ...], folder: Path, progress: Progress | None
) -> None:
    """Write `files` of an archive, verified, into `folder`, from the first address that gives them.

    What came is kept in ``folder/ARCHIVE.part`` until the archive is whole, so that another attempt, in this
    process or a later one, goes on from there.

    Raises
    ------
    DataError
        If no address gives them; says how to get them by hand.
    """
    part = folder / f"{archive.name}.part"
    if _size(part) > archive.limit:
        part.unlink()
    failures = []
    for url in archive.urls:
        again = True
        while again:
            # What came earlier may be from elsewhere or damaged: then this address once more, from its start.
            again = _size(part) > 0
            failure = _download(url, part, archive, progress)
            if failure:
                break
            try:
                contents = _unpack(part, archive, files)
                for file, content in contents:
                    write(folder / file.name, content)
            finally:
                part.unlink()
            if contents:
                return
            failure = "contents with a wrong checksum"
        failures.append(f"{failure} from {url}")
    raise _cannot_fetch(source, archive, folder, failures)


def _download(url: str, part: Path, archive: Archive, progress: Progress | None) -> str:
    """Bring `url` into `part`; return "" or, in words, what came instead.

    A broken connection is made again as long as the file gets longer.
    """
    longest = _size(part)
    while (failure := _attempt(url, part, archive, progress)) and _size(part) > longest:
        longest = _size(part)
    return failure


def _attempt(url: str, part: Path, archive: Archive, progress: Progress | None) -> str:
    import requests

    done = _size(part)
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={done}-"} if done else {})
    begun = False
    try:
        with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT) as response:
            if done and response.status_code == requests.codes.requested_range_not_satisfiable:
                return ""  # nothing is left to come
            if not response.ok:
                return f"HTTP {response.status_code}"
            begun = True
            if response.status_code != requests.codes.partial_content:
                done = 0
            length = response.headers.get("Content-Length", "")
            total = done + int(length) if length.isdecimal() else None
            if total is not None and total > archive.limit:
                return _too_long(part, archive)
            with part.open("ab" if done else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if done > archive.limit:
                        return _too_long(part, archive)
                    if progress is not None:
                        progress(archive.name, done, total)
    except requests.Timeout:
        return "no answer"
    except requests.RequestException:
        return f"a connection that broke after {_size(part):,} bytes" if begun else "no connection"
    return f"only {done:,} of {total:,} bytes" if total is not None and done < total else ""


def _too_long(part: Path, archive: Archive) -> str:
    part.unlink(missing_ok=True)  # the next address, or attempt, is not to go on from it
    return f"more than {archive.limit:,} bytes"


def _unpack(part: Path, archive: Archive, files: tuple[File, ...]) -> list[tuple[File, bytes]]:
    """Return the contents of `files`, or nothing unless all are there and right."""
    try:
        if archive.name.endswith(".tar.gz"):
            found = _from_tar(part, archive, files)
        else:
            with gzip.open(part) as stream:
                found = {files[0].name: stream.read(files[0].size + 1)}
    except Exception as error:  # readers of archives raise all kinds of damaged ones
        if isinstance(error, OSError) and not isinstance(error, gzip.BadGzipFile):
            raise  # of the disk
        return []
    contents = [(file, found.get(file.name, b"")) for file in files]
    return contents if all(matches(c, file) for file, c in contents) else []


def _from_tar(part: Path, archive: Archive, files: tuple[File, ...]) -> dict[str, bytes]:
    """Return the contents of `files`, as much as they may have; of links and other members none."""
    sizes = {file.name: file.size for file in files}
    found = {}
    with gzip.open(part) as stream, tarfile.open(mode="r|", fileobj=_Capped(stream, archive.limit)) as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if name in sizes and member.isfile() and (contents := tar.extractfile(member)) is not None:
                found[name] = contents.read(sizes[name] + 1)
    return found


class _Capped(io.RawIOBase):
    """A stream that breaks off after so many bytes: a few kB can unpack without end."""

    def __init__(self, stream: gzip.GzipFile, limit: int) -> None:
        self._stream, self._left = stream, limit

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise tarfile.ReadError("longer than the files it is to hold")
        return data


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _cannot_fetch(source: Source, archive: Archive, folder: Path, failures: list[str]) -> DataError:
    missing = [a for a in source.archives if not all((folder / f.name).exists() for f in a.files)] or [
        archive
    ]
    addresses = " or ".join(dict.fromkeys(u.removesuffix(a.name) for a in missing for u in a.urls))
    archives = ", ".join(a.name for a in missing)
    names = ", ".join(file.name for a in missing for file in a.files)
    kept = _size(folder / f"{archive.name}.part")
    again = f"try again (the first {kept:,} bytes are kept)" if kept else "try again"
    return DataError(
        source.name,
        expected=f"{archive.name} from the network",
        got=", ".join(failures),
        do=f"{again}, or by hand: download {archives} from {addresses} and unpack into {folder} as {names}",
    )
