"""Files that are replaced at once or not at all."""

from __future__ import annotations

import errno
import os
import secrets
import stat
from pathlib import Path
from typing import Any

from handgrad.errors import ArgumentError


def replace_file(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file beside `path` and rename it: a reader sees the old content or the new, never a part.

    Through a symbolic link the file that it leads to is replaced, and the link stays. The new file has the
    mode of the one that it replaces. File and folder are flushed to the disk.

    Parameters
    ----------
    path : path
        Of the file; folders that are missing are made.
    content : bytes or str
        Text is written as UTF-8.

    Raises
    ------
    ArgumentError
        If `path` names no file, or a folder, a device or a pipe.
    """
    target = _target(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    data = content.encode() if isinstance(content, str) else content
    # a name may have 255 bytes, and this one is longer than the target's
    temporary = target.with_name(f".{target.name[:60]}.{secrets.token_hex(4)}")
    try:
        with open(temporary, "xb", opener=_opener(0o666 if mode is None else mode)) as file:
            if mode is not None:
                temporary.chmod(mode)  # what the umask left out
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(target)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _flush_folder(target.parent)


def file_path(path: Any) -> Path:
    """Return `path` as a Path; raise ArgumentError if it names no file."""
    if not isinstance(path, str | os.PathLike) or not isinstance(os.fspath(path), str):
        raise ArgumentError("path", expected="the name of a file", got=f"{type(path).__name__}")
    if not os.fspath(path) or "\0" in os.fspath(path):
        raise ArgumentError("path", expected="the name of a file", got=repr(os.fspath(path)))
    return Path(path)


def _target(path: str | os.PathLike[str]) -> Path:
    """Return the file that `path` names or, as a link, leads to."""
    target = Path(os.path.realpath(file_path(path)))
    if target.is_symlink():  # of a circle
        raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
    if target.exists() and not target.is_file():
        got = "a folder" if target.is_dir() else "a device or a pipe"
        raise ArgumentError(os.fspath(path), expected="the name of a file", got=got)
    return target


def _opener(mode: int) -> Any:
    return lambda name, flags: os.open(name, flags, mode)


def _flush_folder(folder: Path) -> None:
    """Write the names in a folder to the disk: without, a crash can undo a renaming."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except OSError:  # it may be written, but not read; Windows opens none
        return
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EBADF):  # file systems that cannot
            raise
    finally:
        os.close(handle)
