"""Locks that the operating system takes back when their holder ends, however it ends."""

from __future__ import annotations

import errno
import os
import platform
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from handgrad.errors import CheckpointError

_FAR = 1 << 30
"""The byte that Windows locks: far behind what the file says, which others may then read."""
_HELD = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK)


@contextmanager
def locked(path: str | os.PathLike[str]) -> Iterator[None]:
    """Hold a lock, which no other process can have meanwhile.

    It is `flock` of a file that says who holds it, and on Windows a locked byte of it. The file is removed in
    the end. That of a process that was killed stays, but its lock does not: the next one takes it.

    Parameters
    ----------
    path : path
        Of the file, in a folder that exists.

    Raises
    ------
    CheckpointError
        If another process, or another part of this one, holds it.

    Warns
    -----
    UserWarning
        If the file system has no locks. Then nothing is held, and nothing refused.
    """
    path = Path(path)
    handle = _acquire(path)
    try:
        yield
    finally:
        _release(path, handle)


def _acquire(path: Path) -> int:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        try:
            _lock(handle, path)
            if _still(path, handle):
                os.ftruncate(handle, 0)
                os.write(handle, f"process {os.getpid()} on {platform.node()}".encode())
                return handle
        except BaseException:
            os.close(handle)
            raise
        os.close(handle)  # whoever held it has removed it meanwhile: that of the name is another one


def _lock(handle: int, path: Path) -> None:
    try:
        _take(handle)
    except OSError as error:
        if error.errno not in _HELD:
            warnings.warn(
                f"{path}: this file system has no locks ({error}); see that nothing else writes there",
                stacklevel=5,
            )
            return
        holder = os.read(handle, 200).decode(errors="replace") or "another process"
        raise CheckpointError(
            str(path.parent),
            expected="a folder that nothing else writes into",
            got=f"one that {holder} is writing",
            do="wait until that has ended, or name another folder",
        ) from None


def _still(path: Path, handle: int) -> bool:
    """Return whether the file of this name is the one that is open."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


if sys.platform == "win32":
    import msvcrt

    def _take(handle: int) -> None:
        os.lseek(handle, _FAR, os.SEEK_SET)
        try:
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        finally:
            os.lseek(handle, 0, os.SEEK_SET)

    def _release(path: Path, handle: int) -> None:
        os.close(handle)
        with suppress(OSError):  # another process may have opened it
            path.unlink()

else:
    import fcntl

    def _take(handle: int) -> None:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)

    def _release(path: Path, handle: int) -> None:
        with suppress(OSError):  # the folder may be gone
            if _still(path, handle):
                path.unlink()
        os.close(handle)
