from __future__ import annotations

import dataclasses
import gzip
import io
import random
import socket
import tarfile
import tracemalloc
from pathlib import Path

import pytest

from handgrad.data.datasets import download
from handgrad.data.datasets.cache import complete, read
from handgrad.errors import DataError

FIRST = "train-images-idx3-ubyte"


def only_first(source):
    return dataclasses.replace(source, archives=source.archives[:1])


def test_a_set_is_fetched_unpacked_and_left_without_archives(tiny_idx, tmp_path):
    assert read(tiny_idx.source, tmp_path) == tiny_idx.files
    folder = tmp_path / "tiny-folder"
    assert {p.name: p.read_bytes() for p in folder.iterdir()} == tiny_idx.files


def test_an_archive_of_several_files_is_unpacked(tiny_tar, tmp_path):
    assert read(tiny_tar.source, tmp_path) == tiny_tar.files
    assert sorted(p.name for p in (tmp_path / "tar-folder").iterdir()) == sorted(tiny_tar.files)


def test_what_is_there_is_not_fetched_again(tiny_idx, tmp_path, server):
    read(tiny_idx.source, tmp_path)
    asked = len(server.asked)
    read(tiny_idx.source, tmp_path)
    complete(tiny_idx.source, tmp_path, replace=True)
    assert len(server.asked) == asked == 4


def test_only_the_missing_file_of_an_archive_is_written(tiny_tar, tmp_path):
    folder = complete(tiny_tar.source, tmp_path)
    (folder / "data_batch_1.bin").write_bytes(b"altered")
    (folder / "data_batch_2.bin").unlink()
    complete(tiny_tar.source, tmp_path)
    assert (folder / "data_batch_1.bin").read_bytes() == b"altered"
    assert (folder / "data_batch_2.bin").read_bytes() == tiny_tar.files["data_batch_2.bin"]


def test_a_broken_connection_goes_on_where_it_ended(tiny_idx, tmp_path, server):
    server.break_after = [1000, 500]
    contents = read(only_first(tiny_idx.source), tmp_path)
    assert contents[FIRST] == tiny_idx.files[FIRST]
    assert server.asked == [
        (f"/a/{FIRST}.gz", None),
        (f"/a/{FIRST}.gz", "bytes=1000-"),
        (f"/a/{FIRST}.gz", "bytes=1500-"),
    ]


def test_the_next_address_goes_on_where_the_first_ended(tiny_idx, tmp_path, server):
    server.break_after = [1000, 0]
    read(only_first(tiny_idx.source), tmp_path)
    assert server.asked[-1] == (f"/b/{FIRST}.gz", "bytes=1000-")


def test_an_interrupted_download_is_resumed_by_the_next_call(tiny_idx, tmp_path, server):
    def interrupt(name, done, total):
        if done >= 1400:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        complete(only_first(tiny_idx.source), tmp_path, progress=interrupt)
    part = tmp_path / "tiny-folder" / f"{FIRST}.gz.part"
    assert part.read_bytes() == tiny_idx.archives[f"{FIRST}.gz"][:1400]
    assert not (tmp_path / "tiny-folder" / FIRST).exists()
    read(only_first(tiny_idx.source), tmp_path)
    assert server.asked[-1] == (f"/a/{FIRST}.gz", "bytes=1400-")
    assert not part.exists()


def test_a_whole_archive_left_by_an_interruption_is_used(tiny_idx, tmp_path, server):
    folder = tmp_path / "tiny-folder"
    folder.mkdir()
    (folder / f"{FIRST}.gz.part").write_bytes(tiny_idx.archives[f"{FIRST}.gz"])
    read(only_first(tiny_idx.source), tmp_path)
    assert len(server.asked) == 1


@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize("length", [100, 10**6])
def test_a_beginning_of_something_else_is_thrown_away(tiny_idx, tmp_path, server, ranges, length):
    server.ranges = ranges
    folder = tmp_path / "tiny-folder"
    folder.mkdir()
    (folder / f"{FIRST}.gz.part").write_bytes(b"x" * length)
    assert read(only_first(tiny_idx.source), tmp_path)[FIRST] == tiny_idx.files[FIRST]
    attempts = [f"bytes={length}-", None] if ranges else [f"bytes={length}-"]
    assert server.asked == [(f"/a/{FIRST}.gz", wanted) for wanted in attempts]


def test_a_server_without_ranges_starts_over(tiny_idx, tmp_path, server):
    server.ranges = False
    server.break_after = [1000]
    assert read(only_first(tiny_idx.source), tmp_path)[FIRST] == tiny_idx.files[FIRST]
    assert server.asked == [(f"/a/{FIRST}.gz", None), (f"/a/{FIRST}.gz", "bytes=1000-")]


def test_progress_counts_bytes_also_when_resumed(tiny_idx, tmp_path, server):
    server.break_after = [1000]
    calls = []
    complete(only_first(tiny_idx.source), tmp_path, progress=lambda *call: calls.append(call))
    total = len(tiny_idx.archives[f"{FIRST}.gz"])
    assert calls == [(f"{FIRST}.gz", done, total) for done in (*range(100, total, 100), total)]


@pytest.mark.parametrize("damage", ["altered", "truncated", "other", "empty"])
def test_a_damaged_archive_is_replaced_by_the_next_address(tiny_idx, tmp_path, server, damage):
    good = server.contents[f"/a/{FIRST}.gz"]
    middle = len(good) // 2
    server.contents[f"/a/{FIRST}.gz"] = {
        "altered": good[:middle] + bytes([good[middle] ^ 1]) + good[middle + 1 :],
        "truncated": good[:middle],
        "other": tiny_idx.archives["t10k-images-idx3-ubyte.gz"],
        "empty": b"",
    }[damage]
    assert read(only_first(tiny_idx.source), tmp_path)[FIRST] == tiny_idx.files[FIRST]
    assert server.asked[-1] == (f"/b/{FIRST}.gz", None)


def test_a_damaged_tar_is_never_used(tiny_tar, tmp_path, server):
    server.contents["/tiny.tar.gz"] = server.contents["/tiny.tar.gz"][:-3000]
    with pytest.raises(DataError, match="contents with a wrong checksum from http"):
        read(tiny_tar.source, tmp_path)
    assert list((tmp_path / "tar-folder").iterdir()) == []


def test_wrong_contents_at_every_address_say_so_and_leave_nothing(tiny_idx, tmp_path, server):
    for at in "ab":
        server.contents[f"/{at}/{FIRST}.gz"] = tiny_idx.archives["t10k-images-idx3-ubyte.gz"]
    with pytest.raises(DataError) as error:
        read(only_first(tiny_idx.source), tmp_path)
    folder = tmp_path / "tiny-folder"
    assert str(error.value) == (
        f"tiny: expected {FIRST}.gz from the network, "
        f"got contents with a wrong checksum from {server.url}/a/{FIRST}.gz, "
        f"contents with a wrong checksum from {server.url}/b/{FIRST}.gz; "
        f"try again, or by hand: download {FIRST}.gz from {server.url}/a/ or {server.url}/b/ "
        f"and unpack into {folder} as {FIRST}"
    )
    assert list(folder.iterdir()) == []


def test_a_file_that_is_not_there_says_so(tiny_tar, tmp_path, server):
    server.contents.clear()
    with pytest.raises(
        DataError, match=r"got HTTP 404 from http://127\.0\.0\.1:\d+/tiny\.tar\.gz; try again, or"
    ):
        read(tiny_tar.source, tmp_path)


def test_a_connection_that_stays_broken_keeps_what_came(tiny_tar, tmp_path, server):
    server.break_after = [1000, 0]
    with pytest.raises(DataError) as error:
        read(tiny_tar.source, tmp_path)
    assert str(error.value) == (
        "tar: expected tiny.tar.gz from the network, "
        f"got a connection that broke after 1,000 bytes from {server.url}/tiny.tar.gz; "
        f"try again (the first 1,000 bytes are kept), or by hand: download tiny.tar.gz from {server.url}/ "
        f"and unpack into {tmp_path / 'tar-folder'} as data_batch_1.bin, data_batch_2.bin, test_batch.bin"
    )
    assert read(tiny_tar.source, tmp_path) == tiny_tar.files
    assert server.asked[-1] == ("/tiny.tar.gz", "bytes=1000-")


def test_without_network_the_error_says_how_to_get_the_set_by_hand(tiny_idx, tmp_path):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}/"
        archives = tuple(dataclasses.replace(a, urls=(url + a.name,)) for a in tiny_idx.source.archives)
        source = dataclasses.replace(tiny_idx.source, archives=archives)
        with pytest.raises(DataError) as error:
            read(source, tmp_path)
    names = list(tiny_idx.files)
    assert str(error.value) == (
        f"tiny: expected {FIRST}.gz from the network, got no connection from {url}{FIRST}.gz; "
        f"try again, or by hand: download {', '.join(f'{n}.gz' for n in names)} from {url} "
        f"and unpack into {tmp_path / 'tiny-folder'} as {', '.join(names)}"
    )


def test_a_server_that_does_not_answer_is_given_up(tiny_tar, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "TIMEOUT", (1, 0.05))
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/tiny.tar.gz"
        archive = dataclasses.replace(tiny_tar.source.archives[0], urls=(url,))
        with pytest.raises(DataError, match="got no answer from http"):
            read(dataclasses.replace(tiny_tar.source, archives=(archive,)), tmp_path)


def test_a_folder_that_cannot_be_made_is_named(tiny_idx, tmp_path):
    blocked = Path(tmp_path / "file")
    blocked.write_text("")
    with pytest.raises(DataError) as error:
        read(tiny_idx.source, blocked)
    assert str(error.value) == (
        f"{blocked / 'tiny-folder'}: expected a folder that can be read and written, got Not a directory; "
        "name another one in the environment variable HANDGRAD_DATA"
    )


def tar_of(files, changes=()):
    """Return a .tar.gz of files and of members that are something else."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=1) as tar:
        for name, contents in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
        for name, kind, target in changes:
            member = tarfile.TarInfo(name)
            member.type, member.linkname = kind, target
            tar.addfile(member)
    return packed.getvalue()


def refused(source, folder, server, message):
    with pytest.raises(DataError) as error:
        read(source, folder)
    assert str(error.value).startswith(
        f"{source.name}: expected {source.archives[0].name} from the network, got {message} from {server.url}"
    )
    assert list((folder / source.folder).iterdir()) == []


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE, tarfile.DIRTYPE])
@pytest.mark.parametrize("target", ["/etc/passwd", "elsewhere", "test_batch.bin", "a/test_batch.bin"])
def test_a_link_in_an_archive_is_not_followed(tiny_tar, tmp_path, server, kind, target):
    files = {name: c for name, c in tiny_tar.files.items() if name != "test_batch.bin"}
    server.contents["/tiny.tar.gz"] = tar_of(files, [("a/test_batch.bin", kind, target)])
    refused(tiny_tar.source, tmp_path, server, "contents with a wrong checksum")


def test_a_link_beside_the_files_is_passed_over(tiny_tar, tmp_path, server):
    links = [("readme", tarfile.SYMTYPE, "/etc/passwd"), ("more", tarfile.LNKTYPE, "nothing")]
    server.contents["/tiny.tar.gz"] = tar_of(tiny_tar.files, links)
    assert read(tiny_tar.source, tmp_path) == tiny_tar.files


@pytest.mark.parametrize("says_length", [True, False])
def test_a_mirror_that_sends_without_end_is_left(tiny_tar, tmp_path, server, says_length, monkeypatch):
    monkeypatch.setattr(download, "CHUNK", 1 << 14)
    server.says_length = says_length
    server.contents["/tiny.tar.gz"] = bytes(3 << 20)
    limit = tiny_tar.source.archives[0].limit
    assert limit < 2 << 20
    refused(tiny_tar.source, tmp_path, server, f"more than {limit:,} bytes")


def test_what_is_too_long_at_one_address_is_fetched_from_the_next(tiny_idx, tmp_path, server):
    server.contents[f"/a/{FIRST}.gz"] = bytes(3 << 20)
    assert read(only_first(tiny_idx.source), tmp_path)[FIRST] == tiny_idx.files[FIRST]
    assert server.asked == [(f"/a/{FIRST}.gz", None), (f"/b/{FIRST}.gz", None)]


def test_a_part_that_is_too_long_is_thrown_away(tiny_idx, tmp_path, server):
    folder = tmp_path / "tiny-folder"
    folder.mkdir()
    (folder / f"{FIRST}.gz.part").write_bytes(bytes(3 << 20))
    assert read(only_first(tiny_idx.source), tmp_path)[FIRST] == tiny_idx.files[FIRST]
    assert server.asked == [(f"/a/{FIRST}.gz", None)]


@pytest.mark.parametrize("where", ["a file of the set", "another member", "the header of a member"])
def test_an_archive_that_unpacks_without_end_is_refused_in_little_memory(tiny_tar, tmp_path, server, where):
    size, name = 1 << 32, {"a file of the set": "test_batch.bin", "another member": "x"}.get(where, "x")
    member = tarfile.TarInfo(name)
    member.size = size
    member.type = tarfile.XHDTYPE if where == "the header of a member" else tarfile.REGTYPE
    server.contents["/tiny.tar.gz"] = gzip.compress(member.tobuf() + bytes(64 << 20), 1)
    assert len(server.contents["/tiny.tar.gz"]) < tiny_tar.source.archives[0].limit
    tracemalloc.start()
    try:
        refused(tiny_tar.source, tmp_path, server, "contents with a wrong checksum")
        assert tracemalloc.get_traced_memory()[1] < 20 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.slow
def test_damaged_archives_end_in_errors_of_ours(tiny_tar, tmp_path):
    """Bits flipped in the unpacked tar, then packed again, so that gzip does not see them."""
    archive, (whole,) = tiny_tar.source.archives[0], tiny_tar.archives.values()
    plain, rng, part = gzip.decompress(whole), random.Random(0), tmp_path / "t.tar.gz.part"
    refused = 0
    for _ in range(300):
        damaged = bytearray(plain)
        for _ in range(rng.choice([1, 1, 4])):
            at = rng.choice([rng.randrange(len(plain)), rng.randrange(512)])
            damaged[at] = rng.randrange(256)
        part.write_bytes(gzip.compress(bytes(damaged), 1))
        found = download._unpack(part, archive, archive.files)
        refused += not found
        assert found == [] or dict(found) == {f: tiny_tar.files[f.name] for f in archive.files}
    assert refused > 200
