from __future__ import annotations

import errno
import os
import platform
import subprocess
import sys

import pytest

from handgrad.errors import CheckpointError
from handgrad.io import lock
from handgrad.io.lock import locked
from tests.process import environment


def refused(path):
    with pytest.raises(CheckpointError) as error, locked(path):
        raise AssertionError
    return str(error.value)


def test_a_lock_is_held_by_one_at_a_time_and_says_by_whom(tmp_path):
    path = tmp_path / ".lock"
    with locked(path):
        holder = f"process {os.getpid()} on {platform.node()}"
        assert refused(path) == (
            f"{tmp_path}: expected a folder that nothing else writes into, got one that {holder} is writing; "
            "wait until that has ended, or name another folder"
        )
        assert path.read_text() == holder
    assert not path.exists()
    with locked(path):
        assert path.exists()


def test_a_lock_is_given_back_by_an_error(tmp_path):
    with pytest.raises(RuntimeError), locked(tmp_path / ".lock"):
        raise RuntimeError
    with locked(tmp_path / ".lock"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL")
def test_the_lock_of_a_process_that_was_killed_is_free_at_once(tmp_path):
    path = tmp_path / ".lock"
    code = (
        "import sys\nfrom handgrad.io.lock import locked\n"
        "with locked(sys.argv[1]):\n    print('held', flush=True)\n    sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [sys.executable, "-c", code, path],
        env=environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert holder.stdout.readline() == "held\n"
    assert f"got one that process {holder.pid} on {platform.node()} is writing" in refused(path)
    holder.kill()
    holder.communicate()
    assert path.exists()
    with locked(path):
        assert path.read_text().startswith(f"process {os.getpid()} ")
    assert not path.exists()


def test_a_lock_whose_file_was_removed_by_its_holder_is_taken_of_the_new_file(tmp_path, monkeypatch):
    path, take, first = tmp_path / ".lock", lock._take, []

    def removed_before_it_is_locked(handle):
        if not first:
            first.append(handle)
            path.unlink()
        take(handle)

    monkeypatch.setattr(lock, "_take", removed_before_it_is_locked)
    with locked(path):
        assert path.read_text().startswith("process ")
        monkeypatch.undo()
        assert "is writing" in refused(path)


def test_where_a_file_system_has_no_locks_a_warning_says_so(tmp_path, monkeypatch):
    def fail(handle):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(lock, "_take", fail)
    with pytest.warns(UserWarning, match="has no locks") as said, locked(tmp_path / ".lock"):
        pass
    assert str(said[0].message) == (
        f"{tmp_path / '.lock'}: this file system has no locks ([Errno {errno.ENOLCK}] No locks available); "
        "see that nothing else writes there"
    )
