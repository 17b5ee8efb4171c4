"""What a file is, by its first bytes: for the errors of whatever expected another one."""

from __future__ import annotations

import codecs
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

HEAD = 4096  # bytes that are looked at


class FileType(NamedTuple):
    """What a file is.

    Attributes
    ----------
    name : str
        With its article, as an error says it: ``"a PNG image"``.
    reader : str
        What reads it, as advice; may be empty.
    """

    name: str
    reader: str = ""


_IMAGE = "handgrad.data.read_image reads it"
_KERAS = "keras.models.load_model reads it"
_TORCH = "torch.load(path, weights_only=True) reads it: build the model here and assign its arrays"
_UNPACK = "unpack it first"
_AGAIN = "download it again"

_MAGIC = (
    (0, b"\x89PNG\r\n\x1a\n", FileType("a PNG image", _IMAGE)),
    (0, b"\xff\xd8\xff", FileType("a JPEG image", _IMAGE)),
    (0, b"GIF8", FileType("a GIF image", _IMAGE)),
    (0, b"II*\0", FileType("a TIFF image", _IMAGE)),
    (0, b"MM\0*", FileType("a TIFF image", _IMAGE)),
    (0, b"II+\0", FileType("a TIFF image", _IMAGE)),
    (0, b"MM\0+", FileType("a TIFF image", _IMAGE)),
    (8, b"WEBPVP8", FileType("a WebP image", _IMAGE)),
    (0, b"%!PS", FileType("a PostScript (EPS) file")),
    (0, b"\xc5\xd0\xd3\xc6", FileType("a PostScript (EPS) file")),
    (0, b"%PDF", FileType("a PDF document")),
    (0, b"DDS ", FileType("a DDS image")),
    (0, b"8BPS", FileType("a Photoshop image")),
    (0, b"\0\0\1\0", FileType("an ICO image")),
    (0, b"\0\0\0\x0cjP  ", FileType("a JPEG 2000 image")),
    (0, b"\xff\x4f\xff\x51", FileType("a JPEG 2000 image")),
    (4, b"ftypavif", FileType("an AVIF image")),
    (4, b"ftyphei", FileType("a HEIC image")),
    (4, b"ftypmif1", FileType("a HEIC image")),
    (4, b"ftyp", FileType("a video")),
    (0, b"\x89HDF\r\n\x1a\n", FileType("an HDF5 file, as Keras writes them", f"h5py or {_KERAS}")),
    (0, b"\x93NUMPY", FileType("a NumPy .npy file", "numpy.load reads it")),
    (0, b"GGUF", FileType("a GGUF model", "llama.cpp reads it")),
    (4, b"TFL3", FileType("a TensorFlow Lite model", "tensorflow.lite.Interpreter reads it")),
    (0, b"\x1f\x8b", FileType("a gzip archive", _UNPACK)),
    (0, b"BZh", FileType("a bzip2 archive", _UNPACK)),
    (0, b"\xfd7zXZ\0", FileType("an xz archive", _UNPACK)),
    (0, b"7z\xbc\xaf\x27\x1c", FileType("a 7z archive", _UNPACK)),
    (0, b"\x28\xb5\x2f\xfd", FileType("a zstd archive", _UNPACK)),
    (257, b"ustar", FileType("a tar archive", _UNPACK)),
    (0, b"version https://git-lfs", FileType("a Git LFS pointer", "git lfs pull fetches the file itself")),
)

_FRAMEWORKS = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Flax", "np": "NumPy", "mlx": "MLX"}


def file_type(path: Path) -> FileType | None:
    """Return what the file at `path` is, None where its first bytes do not say or cannot be read."""
    try:
        with path.open("rb") as file:
            head = file.read(HEAD)
    except OSError:
        return None
    if not head:
        return FileType("an empty file")
    if not head.strip(b"\0"):
        return FileType("a file of zeros", "its writing broke off; take another copy")
    if ours := _safetensors(head):  # its first bytes, a length, may be those of anything
        return ours
    for at, magic, kind in _MAGIC:
        if head[at:].startswith(magic):
            return kind
    if head.startswith(b"PK\3\4"):
        return _zip(path)
    return _bitmap(head) or _pickle(head) or _protobuf(head) or _text(head)


def _bitmap(head: bytes) -> FileType | None:
    if head[:1] == b"P" and head[1:2] in b"123456" and head[2:3].isspace():
        return FileType("a PNM image", _IMAGE)
    return FileType("a BMP image", _IMAGE) if head[:2] == b"BM" and head[6:10] == bytes(4) else None


def _zip(path: Path) -> FileType:
    try:
        with zipfile.ZipFile(path) as archive:
            names = archive.namelist()
    except Exception:  # whatever a damaged one raises
        names = []
    ends = {name.rpartition("/")[2] for name in names}
    if "data.pkl" in ends:
        name = "a TorchScript file" if "constants.pkl" in ends else "a PyTorch file"
        return FileType(name, _TORCH)
    if "model.weights.h5" in ends:
        return FileType("a Keras file", _KERAS)
    if names and all(name.endswith(".npy") for name in names):
        return FileType("a NumPy .npz file", "numpy.load reads it")
    return FileType("a zip archive", _UNPACK)


def _pickle(head: bytes) -> FileType | None:
    if head[:1] != b"\x80" or head[1:2] not in b"\2\3\4\5" or len(head) < 2:
        return None
    if head[2:].startswith(b"\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19"):
        return FileType("a PyTorch file", _TORCH)
    return FileType("a pickle", "a pickle can run code when it is opened: what wrote it reads it")


def _safetensors(head: bytes) -> FileType | None:
    length = int.from_bytes(head[:8], "little")
    if head[8:9] != b"{" or not 2 <= length <= 100_000_000:
        return None
    try:
        metadata: Any = json.JSONDecoder().raw_decode(head[8:].decode(errors="replace"), 0)[0]
        framework = _FRAMEWORKS[metadata["__metadata__"]["format"]]
    except (ValueError, LookupError, TypeError, RecursionError):
        framework = ""
    return FileType(
        f"a safetensors file of {framework or 'another program'}",
        "safetensors.numpy.load_file reads its arrays: build the model here and assign them",
    )


def _protobuf(head: bytes) -> FileType | None:
    """Return the kinds of model that begin with a version: field 1, a number, then another field."""
    if len(head) < 3 or head[0] != 0x08 or head[2] not in (0x12, 0x1A, 0x22, 0x2A, 0x32, 0x3A, 0x42):
        return None
    if head[1] == 1:
        return FileType("a TensorFlow SavedModel", "tf.saved_model.load reads its folder")
    return FileType("an ONNX model", "onnxruntime reads it") if 2 < head[1] < 20 else None


def _text(head: bytes) -> FileType | None:
    begin = head.removeprefix(codecs.BOM_UTF8).lstrip()[:20].lower()  # a page may be in any encoding
    if begin.startswith((b"<!doctype html", b"<html", b"<head")):
        return FileType("an HTML page, as servers send in place of a file", _AGAIN)
    try:
        # a head may end within a letter, a file may not
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(head, len(head) < HEAD).lstrip()
    except UnicodeDecodeError:
        return None
    if any(ord(c) < 32 and c not in "\t\n\r\f\x1b" for c in text):
        return None
    lower = text[:1000].lower()
    if lower.startswith("<svg") or (lower.startswith("<?xml") and "<svg" in lower):
        return FileType("an SVG drawing")
    return FileType("JSON text" if lower.startswith(("{", "[")) else "text")
