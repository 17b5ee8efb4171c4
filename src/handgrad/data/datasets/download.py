"""Archives from the network: tried at each address, resumed where they broke, verified before use."""

from __future__ import annotations

import gzip
import tarfile
import zlib
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
    failures = []
    for url in archive.urls:
        again = True
        while again:
            # What came earlier may be from elsewhere or damaged: then this address once more, from its start.
            again = _size(part) > 0
            failure = _download(url, part, archive.name, progress)
            if failure:
                break
            contents = _unpack(part, archive, files)
            for file, content in contents:
                write(folder / file.name, content)
            part.unlink()
            if contents:
                return
            failure = "contents with a wrong checksum"
        failures.append(f"{failure} from {url}")
    raise _cannot_fetch(source, archive, folder, failures)


def _download(url: str, part: Path, name: str, progress: Progress | None) -> str:
    """Bring `url` into `part`; return "" or, in words, what came instead.

    A broken connection is made again as long as the file gets longer.
    """
    longest = _size(part)
    while (failure := _attempt(url, part, name, progress)) and _size(part) > longest:
        longest = _size(part)
    return failure


def _attempt(url: str, part: Path, name: str, progress: Progress | None) -> str:
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
            length = response.headers.get("Content-Length")
            total = done + int(length) if length else None
            with part.open("ab" if done else "wb") as file:
                for chunk in response.iter_content(CHUNK):
                    file.write(chunk)
                    done += len(chunk)
                    if progress is not None:
                        progress(name, done, total)
    except requests.Timeout:
        return "no answer"
    except requests.RequestException:
        return f"a connection that broke after {_size(part):,} bytes" if begun else "no connection"
    return f"only {done:,} of {total:,} bytes" if total is not None and done < total else ""


def _unpack(part: Path, archive: Archive, files: tuple[File, ...]) -> list[tuple[File, bytes]]:
    """Return the contents of `files`, or nothing unless all are there and right."""
    try:
        if archive.name.endswith(".tar.gz"):
            found = _from_tar(part, files)
        else:
            with gzip.open(part) as stream:
                found = {files[0].name: stream.read(files[0].size + 1)}
    except (EOFError, gzip.BadGzipFile, tarfile.TarError, zlib.error):
        return []
    contents = [(file, found.get(file.name, b"")) for file in files]
    return contents if all(matches(c, file) for file, c in contents) else []


def _from_tar(part: Path, files: tuple[File, ...]) -> dict[str, bytes]:
    sizes = {file.name: file.size for file in files}
    found = {}
    with tarfile.open(part, "r:gz") as tar:
        for member in tar:
            name = PurePosixPath(member.name).name
            if name in sizes and (stream := tar.extractfile(member)) is not None:
                found[name] = stream.read(sizes[name] + 1)
    return found


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
