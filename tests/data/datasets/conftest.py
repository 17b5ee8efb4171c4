"""A small HTTP server that can fail as servers and networks do, and tiny sets to fetch from it."""

from __future__ import annotations

import gzip
import hashlib
import http.server
import io
import re
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import pytest

from handgrad.data.datasets import download
from handgrad.data.datasets.cache import Archive, File, Source
from handgrad.rng import Stream


@dataclass
class Server:
    """What the server gives, how it fails, and what it was asked."""

    url: str = ""
    contents: dict[str, bytes] = field(default_factory=dict)
    break_after: list[int] = field(default_factory=list)  # bytes of the body, one entry per answer
    ranges: bool = True
    says_length: bool = True
    asked: list[tuple[str, str | None]] = field(default_factory=list)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(download, "CHUNK", 100)
    state = Server()

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *args: object) -> None:
            pass

        def do_GET(self) -> None:
            wanted = self.headers.get("Range")
            state.asked.append((self.path, wanted))
            body = state.contents.get(self.path)
            if body is None:
                self.send_error(404)
                return
            start = int(re.fullmatch(r"bytes=(\d+)-", wanted)[1]) if wanted and state.ranges else 0
            if start and start >= len(body):
                self.send_response(416)
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            self.send_response(206 if start else 200)
            if state.says_length:
                self.send_header("Content-Length", str(len(body) - start))
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(body) - 1}/{len(body)}")
            self.end_headers()
            end = start + state.break_after.pop(0) if state.break_after else None
            self.wfile.write(body[start:end])

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http_server:
        thread = threading.Thread(target=http_server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        state.url = f"http://127.0.0.1:{http_server.server_port}"
        yield state
        http_server.shutdown()
        thread.join()


def idx(array: np.ndarray) -> bytes:
    shape = b"".join(n.to_bytes(4, "big") for n in array.shape)
    return bytes([0, 0, 8, array.ndim]) + shape + array.tobytes()


def md5(contents: bytes) -> str:
    return hashlib.md5(contents).hexdigest()


@dataclass
class Tiny:
    """A set in the format of a real one: what it consists of, its files unpacked, and its archives."""

    source: Source
    files: dict[str, bytes]
    archives: dict[str, bytes]


@pytest.fixture
def tiny_idx(server: Server) -> Tiny:
    """Seven training and three test images of 20x30 pixels, in four IDX files, served at /a/ and at /b/."""
    rng = Stream(("tiny",))
    arrays = {
        "train-images-idx3-ubyte": rng.child(0).integers(0, 256, (7, 20, 30)).astype(np.uint8),
        "train-labels-idx1-ubyte": np.arange(7, dtype=np.uint8),
        "t10k-images-idx3-ubyte": rng.child(1).integers(0, 256, (3, 20, 30)).astype(np.uint8),
        "t10k-labels-idx1-ubyte": np.array([9, 0, 4], np.uint8),
    }
    files = {name: idx(array) for name, array in arrays.items()}
    archives = {f"{name}.gz": gzip.compress(contents, mtime=0) for name, contents in files.items()}
    server.contents |= {f"/{at}/{name}": contents for at in "ab" for name, contents in archives.items()}
    table = tuple(
        Archive(
            f"{name}.gz",
            (f"{server.url}/a/{name}.gz", f"{server.url}/b/{name}.gz"),
            (File(name, len(contents), md5(contents)),),
        )
        for name, contents in files.items()
    )
    return Tiny(Source("tiny", "tiny-folder", table), files, archives)


@pytest.fixture
def tiny_tar(server: Server) -> Tiny:
    """Two training batches of two records and a test batch of one, in CIFAR-10's format."""
    rng = Stream(("tiny tar",))
    files = {
        name: rng.child(name).integers(0, 256, (n, 3073)).astype(np.uint8).tobytes()
        for name, n in {"data_batch_1.bin": 2, "data_batch_2.bin": 2, "test_batch.bin": 1}.items()
    }
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, contents in files.items():
            member = tarfile.TarInfo(f"cifar-10-batches-bin/{name}")
            member.size = len(contents)
            tar.addfile(member, io.BytesIO(contents))
    archives = {"tiny.tar.gz": packed.getvalue()}
    server.contents["/tiny.tar.gz"] = archives["tiny.tar.gz"]
    table = tuple(File(name, len(contents), md5(contents)) for name, contents in files.items())
    source = Source("tar", "tar-folder", (Archive("tiny.tar.gz", (f"{server.url}/tiny.tar.gz",), table),))
    return Tiny(source, files, archives)
