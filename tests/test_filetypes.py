"""What a file is, by its first bytes."""

from __future__ import annotations

import io
import json
import pickle
import struct
import zipfile

import numpy as np
import pytest
import safetensors.numpy

import handgrad as hg
from handgrad.errors import CheckpointError, DataError
from handgrad.filetypes import file_type

TORCH = "torch.load(path, weights_only=True) reads it: build the model here and assign its arrays"
KERAS = "keras.models.load_model reads it"
ARRAYS = "safetensors.numpy.load_file reads its arrays: build the model here and assign them"


def zipped(*names):
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name in names:
            archive.writestr(name, b"x")
    return content.getvalue()


def saved(save):
    content = io.BytesIO()
    save(content)
    return content.getvalue()


KINDS = {
    "nothing": (b"", "an empty file", ""),
    "zeros": (bytes(100), "a file of zeros", "its writing broke off; take another copy"),
    "torch": (zipped("w/data.pkl", "w/data/0", "w/version"), "a PyTorch file", TORCH),
    "torchscript": (zipped("m/data.pkl", "m/code/a.py", "m/constants.pkl"), "a TorchScript file", TORCH),
    "old torch": (b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.\x80\x02", "a PyTorch file", TORCH),
    "pickle": (
        pickle.dumps({"a": [1]}),
        "a pickle",
        "a pickle can run code when it is opened: what wrote it reads it",
    ),
    "keras": (zipped("metadata.json", "config.json", "model.weights.h5"), "a Keras file", KERAS),
    "hdf5": (
        b"\x89HDF\r\n\x1a\n" + bytes(9),
        "an HDF5 file, as Keras writes them",
        f"h5py or {KERAS}",
    ),
    "npy": (saved(lambda f: np.save(f, np.zeros(3))), "a NumPy .npy file", "numpy.load reads it"),
    "npz": (saved(lambda f: np.savez(f, a=np.zeros(3))), "a NumPy .npz file", "numpy.load reads it"),
    "zip": (zipped("a.txt"), "a zip archive", "unpack it first"),
    "damaged zip": (zipped("a.txt")[:30], "a zip archive", "unpack it first"),
    "onnx": (b"\x08\x08\x12\x07pytorch\x1a\x052.0.0", "an ONNX model", "onnxruntime reads it"),
    "savedmodel": (
        b"\x08\x01\x12\xaa\x01\x12\x04abcd",
        "a TensorFlow SavedModel",
        "tf.saved_model.load reads its folder",
    ),
    "tflite": (
        b"\x1c\0\0\0TFL3" + bytes(20),
        "a TensorFlow Lite model",
        "tensorflow.lite.Interpreter reads it",
    ),
    "gguf": (b"GGUF\3\0\0\0", "a GGUF model", "llama.cpp reads it"),
    "safetensors": (
        saved(lambda f: f.write(safetensors.numpy.save({"a": np.zeros(3)}, {"format": "tf"}))),
        "a safetensors file of TensorFlow",
        ARRAYS,
    ),
    "gzip": (b"\x1f\x8b\x08\0", "a gzip archive", "unpack it first"),
    "lfs": (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n",
        "a Git LFS pointer",
        "git lfs pull fetches the file itself",
    ),
    "html": (
        b"\n<!DOCTYPE html><html>404</html>",
        "an HTML page, as servers send in place of a file",
        "download it again",
    ),
    "html in latin-1": (
        b"<HTML><title>\xfcber</title>",
        "an HTML page, as servers send in place of a file",
        "download it again",
    ),
    "json": (b'{"version": 1}', "JSON text", ""),
    "text": ("import handgrad  # ü\n".encode() * 300, "text", ""),
    "utf-8 with a mark": (
        b"\xef\xbb\xbf<html>",
        "an HTML page, as servers send in place of a file",
        "download it again",
    ),
    "png": (b"\x89PNG\r\n\x1a\n" + bytes(9), "a PNG image", "handgrad.data.read_image reads it"),
    "jpeg": (b"\xff\xd8\xff\xe0\0\x10JFIF", "a JPEG image", "handgrad.data.read_image reads it"),
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_is_named_by_its_first_bytes(kind, tmp_path):
    content, name, reader = KINDS[kind]
    (tmp_path / "f").write_bytes(content)
    assert file_type(tmp_path / "f") == (name, reader)


@pytest.mark.parametrize("content", [b"\xff\xfe\0\1garbage", b"\x08\x63\x12", b"MZ\x90\0", b"\xc8", b"\x80"])
def test_what_its_first_bytes_do_not_say_is_unknown(content, tmp_path):
    (tmp_path / "f").write_bytes(content)
    assert file_type(tmp_path / "f") is None


@pytest.mark.parametrize("header", ["[", "5", '{"__metadata__": 5}', '{"__metadata__": {"format": []}}'])
def test_a_safetensors_header_of_any_form_is_looked_at(header, tmp_path):
    text = b"{" + header.encode()[1:].ljust(20)
    (tmp_path / "f").write_bytes(struct.pack("<Q", len(text)) + text)
    assert file_type(tmp_path / "f") == ("a safetensors file of another program", ARRAYS)


@pytest.mark.parametrize("start", [b"\x80\x02", b"BM", b"\x1f\x8b", b"P1 ", b"\x08\x03\x12"])
def test_a_length_that_looks_like_another_file_is_a_length(start, tmp_path):
    (tmp_path / "f").write_bytes(start.ljust(8, b"\0") + b'{"a": ')
    assert file_type(tmp_path / "f").name == "a safetensors file of another program"
    with pytest.raises(CheckpointError, match="expected a whole safetensors file, got a damaged one"):
        hg.load(tmp_path / "f")


@pytest.mark.parametrize("load", [hg.load, hg.io.load_checkpoint, hg.io.load_about])
@pytest.mark.parametrize("kind", [k for k in KINDS if k != "safetensors"])
def test_a_loader_of_models_says_what_the_file_is_and_what_reads_it(load, kind, tmp_path):
    content, name, reader = KINDS[kind]
    path = tmp_path / "w.pth"
    path.write_bytes(content)
    with pytest.raises(CheckpointError) as error:
        load(path)
    do = f"; {reader}" if reader else ""
    assert str(error.value) == f"{path}: expected a file written by handgrad, got {name}{do}"


def test_a_folder_of_a_run_is_told_where_its_model_is(tmp_path):
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(CheckpointError) as error:
        hg.load(tmp_path)
    assert str(error.value) == (
        f"{tmp_path}: expected a safetensors file, got a folder; a run's model is "
        f"{tmp_path / 'model.safetensors'}"
    )


@pytest.mark.parametrize("kind", ["nothing", "html", "torch", "text", "pickle"])
def test_a_reader_of_images_says_what_the_file_is(kind, tmp_path):
    pytest.importorskip("PIL")
    content, name, _ = KINDS[kind]
    path = tmp_path / "cat.png"
    path.write_bytes(content)
    with pytest.raises(DataError) as error:
        hg.data.read_image(path)
    assert str(error.value) == (
        f"{path}: expected an image that can be read, got {name}; BMP, GIF, JPEG, PNG, PNM, TIFF and WebP "
        "can be read"
    )


def test_a_header_of_json_is_no_model_of_ours(tmp_path):
    (tmp_path / "config.json").write_text(json.dumps({"recipe": 1}))
    with pytest.raises(CheckpointError, match="got JSON text"):
        hg.load(tmp_path / "config.json")
