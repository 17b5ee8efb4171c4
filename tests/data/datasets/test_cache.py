from __future__ import annotations

import hashlib
import sys
from pathlib import Path

import pytest

from handgrad.data.datasets.cache import cache_folder, complete, place, read, stands, write
from handgrad.errors import DataError


@pytest.fixture
def filled(tiny_idx, tmp_path):
    """The folder of the tiny set, filled by other means, with no server to ask."""
    folder = tmp_path / "tiny-folder"
    folder.mkdir()
    for name, contents in tiny_idx.files.items():
        (folder / name).write_bytes(contents)
    return folder


def test_the_environment_names_the_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))
    assert cache_folder() == tmp_path
    monkeypatch.setenv("HANDGRAD_DATA", "~/sets")
    assert cache_folder() == Path.home() / "sets"


@pytest.mark.skipif(sys.platform != "linux", reason="each platform has its own folder")
def test_the_default_is_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.delenv("HANDGRAD_DATA", raising=False)
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    assert cache_folder() == Path.home() / ".cache" / "handgrad"
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "handgrad"


def test_the_cache_folder_is_where_sets_stand(monkeypatch, tmp_path, tiny_idx):
    monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))
    assert place(tiny_idx.source) == tmp_path / "tiny-folder"
    assert read(tiny_idx.source) == tiny_idx.files
    assert stands(tiny_idx.source)


def test_a_cache_filled_by_other_means_is_used(tiny_idx, filled, tmp_path, server):
    assert read(tiny_idx.source, tmp_path) == tiny_idx.files
    assert server.asked == []


def test_an_altered_file_is_never_used(tiny_idx, filled, tmp_path, server):
    path = filled / "t10k-labels-idx1-ubyte"
    altered = path.read_bytes()[:-1] + b"\x07"
    path.write_bytes(altered)
    with pytest.raises(DataError) as error:
        read(tiny_idx.source, tmp_path)
    expected = tiny_idx.source.archives[3].files[0]
    assert str(error.value) == (
        f"{path}: expected 11 bytes with MD5 {expected.md5}, "
        f"got 11 bytes with MD5 {hashlib.md5(altered).hexdigest()}; "
        'delete it, or replace it with handgrad.data.fetch("tiny")'
    )
    assert server.asked == []


def test_a_truncated_file_is_never_used(tiny_idx, filled, tmp_path):
    path = filled / "train-images-idx3-ubyte"
    path.write_bytes(path.read_bytes()[:1000])
    assert not stands(tiny_idx.source, tmp_path)
    with pytest.raises(
        DataError, match=r"expected 4,216 bytes with MD5 \w{32}, got 1,000 bytes with MD5 \w{32}; "
    ):
        read(tiny_idx.source, tmp_path)


def test_the_contents_are_verified_at_every_read(tiny_idx, filled, tmp_path):
    read(tiny_idx.source, tmp_path)
    (filled / "train-labels-idx1-ubyte").write_bytes(b"")
    with pytest.raises(DataError):
        read(tiny_idx.source, tmp_path)


def test_a_directory_in_place_of_a_file_is_named(tiny_idx, filled, tmp_path):
    path = filled / "train-labels-idx1-ubyte"
    path.unlink()
    path.mkdir()
    with pytest.raises(
        DataError, match=r"train-labels-idx1-ubyte: expected a file that can be read, got Is a directory"
    ):
        read(tiny_idx.source, tmp_path)


def test_fetching_replaces_what_is_wrong_and_nothing_else(tiny_idx, filled, tmp_path, server):
    (filled / "train-labels-idx1-ubyte").write_bytes(b"altered")
    assert complete(tiny_idx.source, tmp_path, replace=True) == filled
    assert server.asked == [("/a/train-labels-idx1-ubyte.gz", None)]
    assert read(tiny_idx.source, tmp_path) == tiny_idx.files


def test_a_set_stands_when_every_file_has_its_size(tiny_idx, filled, tmp_path):
    assert stands(tiny_idx.source, tmp_path)
    (filled / "t10k-images-idx3-ubyte").unlink()
    assert not stands(tiny_idx.source, tmp_path)


def test_a_write_that_fails_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "file"
    path.write_bytes(b"old")

    def full(self, contents):
        with self.open("wb") as file:
            file.write(contents[:1])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    with pytest.raises(OSError, match="No space left"):
        write(path, b"new contents")
    assert path.read_bytes() == b"old"


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_a_file_that_stands_elsewhere_is_written_there(tmp_path):
    (tmp_path / "store").write_bytes(b"old")
    (tmp_path / "link").symlink_to("store")
    write(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "store").read_bytes() == b"new"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["link", "store"]
