"""Files of tensors: whole or refused, replaced at once or not at all."""

from __future__ import annotations

import errno
import os
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import handgrad as hg
from handgrad import layers
from handgrad.errors import CheckpointError, HandgradError
from handgrad.io import (
    Checkpoint,
    load_checkpoint,
    read_tensors,
    replace_file,
    save_checkpoint,
    write_tensors,
)

A = np.arange(24, dtype=np.float32).reshape(2, 3, 4)


class TestTensors:
    @pytest.mark.parametrize(
        "array",
        [
            A,
            A.T,
            np.asfortranarray(A),
            A[:, ::2],
            A[::-1, :, ::-1],
            A.transpose(1, 0, 2),
            np.broadcast_to(A[0], (5, 3, 4)),
            np.array(3.5),
            np.zeros((0, 3)),
            np.array([], np.int64),
            np.array([True, False]),
            np.arange(5, dtype=np.int64)[::-1],
            np.arange(5, dtype=">f4"),
            np.float32(2).reshape(()),
            np.array([1, np.nan, np.inf, -0.0]),
        ],
        ids=lambda a: f"{a.shape} {a.strides} {a.dtype.str}",
    )
    def test_come_back_whatever_their_memory_order(self, array, tmp_path):
        write_tensors(tmp_path / "t", {"a": array, "b": A}, {"x": [1, None]})
        tensors, header = read_tensors(tmp_path / "t")
        assert header == {"x": [1, None]}
        assert tensors["a"].shape == array.shape
        np.testing.assert_array_equal(tensors["a"], array)
        np.testing.assert_array_equal(
            np.signbit(tensors["a"]), np.signbit(array)
        ) if array.dtype.kind == "f" else None
        np.testing.assert_array_equal(tensors["b"], A)
        np.testing.assert_array_equal(safetensors.numpy.load_file(tmp_path / "t")["a"], array)

    def test_are_ours_to_write(self, tmp_path):
        write_tensors(tmp_path / "t", {"a": A}, {})
        tensors, _ = read_tensors(tmp_path / "t")
        tensors["a"][...] = 0
        np.testing.assert_array_equal(read_tensors(tmp_path / "t")[0]["a"], A)

    def test_that_are_given_are_not_changed(self, tmp_path):
        a = A.copy()
        a.flags.writeable = False
        write_tensors(tmp_path / "t", {"a": a}, {})
        np.testing.assert_array_equal(a, A)


def small_trainer():
    chain = [layers.Conv2D(1, 2), layers.BatchNormalization(), layers.Flatten(), layers.Dense(2)]
    return hg.Trainer(hg.Sequential(chain, input_shape=(3, 3, 1)), "cross_entropy", "sgd")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """Return the bytes of a model and of a checkpoint."""
    folder, trainer = tmp_path_factory.mktemp("saved"), small_trainer()
    trainer.fit(np.zeros((4, 3, 3, 1)), np.zeros(4, int), batch_size=2)
    hg.save(trainer.model, folder / "m")
    trainer.save(folder / "c")
    return {"m": (folder / "m").read_bytes(), "c": (folder / "c").read_bytes()}


class TestRefused:
    @staticmethod
    def message(path):
        with pytest.raises(CheckpointError) as error:
            read_tensors(path)
        return str(error.value)

    @pytest.mark.parametrize("load", [read_tensors, hg.load, load_checkpoint, hg.io.load_about])
    @pytest.mark.parametrize("what", ["missing", "a folder"])
    def test_no_file(self, load, what, tmp_path):
        path = tmp_path if what == "a folder" else tmp_path / "no"
        with pytest.raises(CheckpointError) as error:
            load(path)
        assert str(error.value) == f"{path}: expected a safetensors file, got no file there"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"", "header too small"),
            (b"import handgrad\n" * 10, "header too large"),
            (struct.pack("<Q", 5) + b"hello", "invalid JSON in header"),
        ],
    )
    def test_another_kind_of_file(self, content, reason, tmp_path):
        (tmp_path / "t").write_bytes(content)
        message = self.message(tmp_path / "t")
        assert message.startswith(f"{tmp_path / 't'}: expected a whole safetensors file, got a damaged one (")
        assert reason in message

    def test_a_file_of_someone_else(self, tmp_path):
        safetensors.numpy.save_file({"a": A}, tmp_path / "t")
        wanted = (
            f"{tmp_path / 't'}: expected a file written by handgrad, got one without its header; use "
            "hg.save(model, path)"
        )
        assert self.message(tmp_path / "t") == wanted
        safetensors.numpy.save_file({"a": A}, tmp_path / "t", {"format": "pt"})
        assert self.message(tmp_path / "t") == wanted
        safetensors.numpy.save_file({"a": A}, tmp_path / "t", {"handgrad": "5"})
        assert self.message(tmp_path / "t") == wanted

    def test_a_file_of_someone_else_with_a_dtype_that_numpy_has_not(self, tmp_path):
        header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
        (tmp_path / "t").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        assert "expected a file written by handgrad, got one without its header" in self.message(
            tmp_path / "t"
        )

    def test_a_header_that_is_no_json(self, tmp_path):
        safetensors.numpy.save_file({"a": A}, tmp_path / "t", {"handgrad": "{"})
        assert self.message(tmp_path / "t") == (
            f"{tmp_path / 't'}: expected a whole safetensors file, got a damaged one (Expecting "
            "property name enclosed "
            "in double quotes: line 1 column 2 (char 1))"
        )

    @pytest.mark.parametrize("kind", ["m", "c"])
    def test_a_part_of_a_file(self, saved, kind, tmp_path):
        whole = saved[kind]
        for length in [*range(0, len(whole), 97), len(whole) - 1]:
            (tmp_path / "t").write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match="expected a whole safetensors file, got a damaged one"):
                hg.load(tmp_path / "t")

    @pytest.mark.parametrize("kind", ["m", "c"])
    def test_a_file_with_a_changed_byte_is_an_error_of_ours_if_one(self, saved, kind, tmp_path):
        """Whatever is read from it, it is not another kind of exception."""
        whole, refused = saved[kind], 0
        for at in range(0, len(whole), 5):
            changed = bytearray(whole)
            changed[at] ^= 1 << at % 7
            (tmp_path / "t").write_bytes(changed)
            try:
                hg.load(tmp_path / "t") if kind == "m" else small_trainer().load(tmp_path / "t")
            except HandgradError:
                refused += 1
        assert refused > 100


class TestReplaceFile:
    def test_writes_text_and_bytes_into_new_folders(self, tmp_path):
        replace_file(tmp_path / "a/b/t", "ü\n")
        assert (tmp_path / "a/b/t").read_bytes() == "ü\n".encode()
        replace_file(str(tmp_path / "a/b/t"), b"\x00")
        assert (tmp_path / "a/b/t").read_bytes() == b"\x00"

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
    def test_others_may_read_what_they_may_read_otherwise(self, tmp_path):
        before = os.umask(0o027)
        try:
            replace_file(tmp_path / "t", "x")
            assert os.umask(0o027) == 0o027
        finally:
            os.umask(before)
        assert (tmp_path / "t").stat().st_mode & 0o777 == 0o640

    @pytest.mark.parametrize("error", [OSError(errno.ENOSPC, "no space left"), KeyboardInterrupt()])
    @pytest.mark.parametrize("step", ["fsync", "replace"])
    def test_the_old_file_stays_when_writing_fails(self, error, step, tmp_path, monkeypatch):
        model = hg.Sequential([layers.Dense(2)], input_shape=(3,))
        hg.save(model, tmp_path / "m")
        before = (tmp_path / "m").read_bytes()

        def fail(*_):
            raise error

        monkeypatch.setattr(*((os, "fsync") if step == "fsync" else (Path, "replace")), fail)
        model["dense"].weight.value[...] = 5
        with pytest.raises(type(error)):
            hg.save(model, tmp_path / "m")
        assert (tmp_path / "m").read_bytes() == before
        assert [p.name for p in tmp_path.iterdir()] == ["m"]

    def test_it_is_renamed_when_it_is_whole_on_disk(self, tmp_path, monkeypatch):
        calls = []
        fsync, replace = os.fsync, Path.replace
        monkeypatch.setattr(os, "fsync", lambda handle: (calls.append("fsync"), fsync(handle)))

        def spy(path, target):
            calls.append(("replace", path.read_bytes(), path.parent == target.parent))
            return replace(path, target)

        monkeypatch.setattr(Path, "replace", spy)
        replace_file(tmp_path / "t", b"content")
        assert calls == ["fsync", ("replace", b"content", True)]

    def test_a_folder_of_that_name_is_not_replaced(self, tmp_path):
        (tmp_path / "t").mkdir()
        with pytest.raises(OSError, match="t"):
            replace_file(tmp_path / "t", "x")
        assert [p.name for p in tmp_path.iterdir()] == ["t"]


class TestCheckpoint:
    @staticmethod
    def checkpoint():
        model = hg.Sequential([layers.Dense(2)], input_shape=(3,))
        optimizer = {"step": 5, "step/dense.weight": 5, "m/dense.weight": np.ones((3, 2), np.float32)}
        return Checkpoint(
            hg.io.model_config(model),
            model.state(),
            optimizer,
            {"E.0/a": A},
            {"where": 3, "loss": [0.1, float("nan")]},
        )

    def test_comes_back(self, tmp_path):
        saved = self.checkpoint()
        save_checkpoint(tmp_path / "c", saved)
        again = load_checkpoint(tmp_path / "c")
        assert again.model == saved.model
        assert again.progress["where"] == 3
        np.testing.assert_array_equal(again.progress["loss"], saved.progress["loss"])
        for part in ("state", "optimizer", "callbacks"):
            a, b = getattr(again, part), getattr(saved, part)
            assert a.keys() == b.keys()
            for name in a:
                np.testing.assert_array_equal(a[name], b[name])

    def test_says_in_its_names_what_is_what(self, tmp_path):
        save_checkpoint(tmp_path / "c", self.checkpoint())
        assert sorted(safetensors.numpy.load_file(tmp_path / "c")) == [
            "callbacks/E.0/a",
            "model/dense.bias",
            "model/dense.weight",
            "optimizer/m/dense.weight",
            "optimizer/step",
            "optimizer/step/dense.weight",
        ]

    def test_is_a_model_to_load(self, tmp_path):
        saved = self.checkpoint()
        saved.state["dense.bias"][...] = 7
        save_checkpoint(tmp_path / "c", saved)
        model = hg.load(tmp_path / "c")
        np.testing.assert_array_equal(model["dense"].bias.value, [7, 7])

    def test_without_a_model_is_none(self, tmp_path):
        write_tensors(tmp_path / "c", {}, {"progress": {}})
        with pytest.raises(CheckpointError, match="expected a checkpoint, got a model without"):
            load_checkpoint(tmp_path / "c")
