"""Files of tensors: whole or refused, replaced at once or not at all."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import stat
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, CheckpointError, DataError, HandgradError
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


def small_model():
    return hg.Sequential([layers.Dense(2)], input_shape=(3,))


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


def unchecked(content, path):
    """Write a file as it was before there were checksums; return its bytes."""
    path.write_bytes(content)
    with safetensors.safe_open(path, framework="numpy") as file:
        header = json.loads(file.metadata()["handgrad"])
    assert header.pop("checksum").startswith("crc32:")
    tensors = safetensors.numpy.load_file(path)
    safetensors.numpy.save_file(tensors, path, {"handgrad": json.dumps(header)})
    return path.read_bytes()


class TestChecksum:
    """Of all that a file holds: a flipped bit is found wherever it is."""

    @pytest.mark.slow
    def test_every_flipped_bit_of_a_tensor_is_found(self, tmp_path):
        model = small_model()
        hg.save(model, tmp_path / "m")
        whole = (tmp_path / "m").read_bytes()
        size = sum(v.nbytes for v in model.state().values())
        for at in range(len(whole) - size, len(whole)):
            for bit in range(8):
                changed = bytearray(whole)
                changed[at] ^= 1 << bit
                (tmp_path / "m").write_bytes(changed)
                with pytest.raises(CheckpointError, match="expected contents with the checksum crc32:"):
                    hg.load(tmp_path / "m")

    @pytest.mark.slow
    def test_no_changed_byte_of_the_header_changes_the_model(self, saved, tmp_path):
        """Most are refused; what loads, as a blank that became another one, is the model that was saved."""
        whole, path = saved["m"], tmp_path / "m"
        path.write_bytes(whole)
        (original := hg.load(path)).summary()
        length = 8 + int.from_bytes(whole[:8], "little")
        loaded = 0
        for at in range(0, length, 3):
            changed = bytearray(whole)
            changed[at] ^= 1 << at % 7
            path.write_bytes(changed)
            try:
                model = hg.load(path)
            except CheckpointError:
                continue
            loaded += 1
            assert hg.io.model_config(model) == hg.io.model_config(original), at
            for name, value in original.state().items():
                np.testing.assert_array_equal(model.state()[name], value)
        assert loaded < 20

    def test_the_message_says_what_to_do(self, tmp_path):
        write_tensors(tmp_path / "t", {"a": A}, {"x": 1})
        whole = bytearray((tmp_path / "t").read_bytes())
        whole[-1] ^= 1
        (tmp_path / "t").write_bytes(whole)
        with pytest.raises(CheckpointError) as error:
            read_tensors(tmp_path / "t")
        text = str(error.value)
        assert text.startswith(f"{tmp_path / 't'}: expected contents with the checksum crc32:")
        assert text.endswith("; it is damaged or was altered: take another copy")

    @pytest.mark.parametrize(
        "change",
        [
            {"b": np.ones(4, np.float32)},
            {"a": np.ones((2, 2), np.float32)},
            {"a": np.ones(4, np.int32)},
            {"a": np.float32([1, 1, 1, 2])},
            {},
        ],
        ids=["name", "shape", "dtype", "value", "missing"],
    )
    def test_is_of_names_shapes_dtypes_and_values(self, change, tmp_path):
        write_tensors(tmp_path / "t", {"a": np.ones(4, np.float32)}, {"x": 1})
        with safetensors.safe_open(tmp_path / "t", framework="numpy") as file:
            metadata = file.metadata()
        safetensors.numpy.save_file(change, tmp_path / "t", metadata)
        with pytest.raises(CheckpointError, match="checksum"):
            read_tensors(tmp_path / "t")

    @pytest.mark.parametrize("kind", ["m", "c"])
    def test_a_file_without_one_is_read(self, saved, kind, tmp_path):
        (tmp_path / "m").write_bytes(saved[kind])
        model = hg.load(tmp_path / "m")
        assert b"crc32:" not in unchecked(saved[kind], tmp_path / "m")
        again = hg.load(tmp_path / "m")
        for name, value in model.state().items():
            np.testing.assert_array_equal(again.state()[name], value)
        if kind == "c":
            small_trainer().load(tmp_path / "m")

    def test_numbers_as_keys_and_nan_in_a_header_are_no_hindrance(self, tmp_path):
        write_tensors(tmp_path / "t", {}, {"x": {1: float("nan"), "ü\ud800": [1e400, -0.0]}})
        header = read_tensors(tmp_path / "t")[1]
        assert str(header) == str({"x": {"1": float("nan"), "ü\ud800": [float("inf"), -0.0]}})

    def test_a_masked_array_is_not_written(self, tmp_path):
        with pytest.raises(
            DataError, match="expected an array without a mask, got one with 1 masked element;"
        ):
            write_tensors(tmp_path / "t", {"a": np.ma.masked_equal([1.0, 2.0], 2)}, {})
        assert list(tmp_path.iterdir()) == []


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
        got = "a folder" if what == "a folder" else "no file there"
        assert str(error.value) == f"{path}: expected a safetensors file, got {got}"

    @pytest.mark.parametrize(
        ("content", "reason"),
        [
            (b"\x02\0\0\0", "header too small"),
            (struct.pack("<Q", 5) + b"hello", "invalid JSON in header"),
            (struct.pack("<Q", 2**40) + b"{}", "header too large"),
        ],
    )
    def test_a_damaged_beginning(self, content, reason, tmp_path):
        (tmp_path / "t").write_bytes(content)
        message = self.message(tmp_path / "t")
        assert message.startswith(f"{tmp_path / 't'}: expected a whole safetensors file, got a damaged one (")
        assert reason in message

    def test_a_file_of_someone_else(self, tmp_path):
        wanted = (
            f"{tmp_path / 't'}: expected a file written by handgrad, got a safetensors file of {{}}; "
            "safetensors.numpy.load_file reads its arrays: build the model here and assign them"
        )
        safetensors.numpy.save_file({"a": A}, tmp_path / "t")
        assert self.message(tmp_path / "t") == wanted.format("another program")
        safetensors.numpy.save_file({"a": A}, tmp_path / "t", {"format": "pt"})
        assert self.message(tmp_path / "t") == wanted.format("PyTorch")
        safetensors.numpy.save_file({"a": A}, tmp_path / "t", {"handgrad": "5"})
        assert self.message(tmp_path / "t") == wanted.format("another program")

    def test_a_file_of_someone_else_with_a_dtype_that_numpy_has_not(self, tmp_path):
        header = b'{"a":{"dtype":"BF16","shape":[2],"data_offsets":[0,4]}}'
        (tmp_path / "t").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
        assert "expected a file written by handgrad, got a safetensors file of" in self.message(
            tmp_path / "t"
        )
        header = {
            "__metadata__": {"handgrad": "{}"},
            "a": {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]},
        }
        text = json.dumps(header).encode()
        (tmp_path / "t").write_bytes(struct.pack("<Q", len(text)) + text + bytes(4))
        assert self.message(tmp_path / "t") == (
            f"{tmp_path / 't'}: expected tensors of NumPy's dtypes, got a of BF16"
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
        for length in [*range(2, len(whole), 97), len(whole) - 1]:
            (tmp_path / "t").write_bytes(whole[:length])
            with pytest.raises(CheckpointError, match="expected a whole safetensors file, got a damaged one"):
                hg.load(tmp_path / "t")

    @pytest.mark.slow
    @pytest.mark.filterwarnings("ignore")
    @pytest.mark.parametrize("kind", ["m", "c"])
    def test_a_file_with_a_changed_byte_is_an_error_of_ours_if_one(self, saved, kind, tmp_path):
        """Whatever is read from it, without a checksum, it is not another kind of exception."""
        whole, refused = unchecked(saved[kind], tmp_path / "u"), 0
        for at in range(0, len(whole), 7):
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
        assert calls == ["fsync", ("replace", b"content", True), "fsync"]

    @pytest.mark.skipif(sys.platform == "win32", reason="folders are not flushed")
    def test_the_folder_is_flushed_after_the_renaming(self, tmp_path, monkeypatch):
        flushed, fsync = [], os.fsync
        monkeypatch.setattr(
            os, "fsync", lambda h: (flushed.append(stat.S_ISDIR(os.fstat(h).st_mode)), fsync(h))
        )
        replace_file(tmp_path / "t", b"content")
        assert flushed == [False, True]

    @pytest.mark.skipif(sys.platform == "win32", reason="folders are not flushed")
    @pytest.mark.parametrize(("code", "raised"), [(errno.EINVAL, False), (errno.EIO, True)])
    def test_a_folder_that_cannot_be_flushed_is_an_error_where_it_should_be(
        self, code, raised, tmp_path, monkeypatch
    ):
        def fail(handle):
            if stat.S_ISDIR(os.fstat(handle).st_mode):
                raise OSError(code, os.strerror(code))

        monkeypatch.setattr(os, "fsync", fail)
        with pytest.raises(OSError, match="Input/output") if raised else contextlib.nullcontext():
            replace_file(tmp_path / "t", b"content")
        assert (tmp_path / "t").read_bytes() == b"content"

    @pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there, or are none")
    @pytest.mark.parametrize("what", ["a folder", "a device or a pipe"])
    def test_what_is_no_file_is_not_replaced(self, what, tmp_path):
        path = tmp_path / "t"
        path.mkdir() if what == "a folder" else os.mkfifo(path)
        before = path.stat().st_mode
        with pytest.raises(ArgumentError) as error:
            replace_file(path, "x")
        assert str(error.value) == f"{path}: expected the name of a file, got {what}"
        assert path.stat().st_mode == before
        assert [p.name for p in tmp_path.iterdir()] == ["t"]

    @pytest.mark.parametrize("path", ["", "a\0b", None, 5, b"t", ["t"]])
    @pytest.mark.parametrize("write", [lambda p: replace_file(p, "x"), lambda p: hg.save(small_model(), p)])
    def test_a_path_that_names_no_file_is_refused(self, write, path):
        got = repr(path) if isinstance(path, str) else type(path).__name__
        with pytest.raises(ArgumentError) as error:
            write(path)
        assert str(error.value) == f"path: expected the name of a file, got {got}"

    @pytest.mark.parametrize("path", [".", "..", "/", "a/"])
    def test_a_path_of_a_folder_is_refused(self, path, tmp_path, monkeypatch):
        monkeypatch.chdir(tmp_path)
        (tmp_path / "a").mkdir()
        with pytest.raises(ArgumentError) as error:
            hg.save(small_model(), path)
        assert str(error.value) == f"{Path(path)}: expected the name of a file, got a folder"
        assert [p.name for p in tmp_path.iterdir()] == ["a"]
        with pytest.raises(CheckpointError) as error:
            hg.load(path)
        assert str(error.value) == f"{Path(path)}: expected a safetensors file, got a folder"

    @pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there, or are none")
    @pytest.mark.parametrize("relative", [True, False])
    def test_a_link_stays_and_what_it_leads_to_is_replaced(self, relative, tmp_path):
        (tmp_path / "a").mkdir()
        target, link = tmp_path / "a" / "target", tmp_path / "link"
        target.write_text("old")
        link.symlink_to("a/target" if relative else target)
        (tmp_path / "second").symlink_to(link)
        replace_file(tmp_path / "second", "new")
        assert target.read_text() == "new"
        assert link.is_symlink()
        assert (tmp_path / "second").is_symlink()
        assert not target.is_symlink()
        assert [p.name for p in (tmp_path / "a").iterdir()] == ["target"]

    @pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there, or are none")
    def test_a_model_saved_through_a_link_is_found_by_both_names(self, tmp_path):
        hg.save(small_model(), tmp_path / "target")
        (tmp_path / "link").symlink_to("target")
        model = small_model()
        model["dense"].bias.assign(np.float32([5, 6]))
        hg.save(model, tmp_path / "link")
        for name in ("target", "link"):
            np.testing.assert_array_equal(hg.load(tmp_path / name)["dense"].bias.value, [5, 6])

    @pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there, or are none")
    def test_a_link_to_nothing_makes_its_target(self, tmp_path):
        (tmp_path / "link").symlink_to("later/target")
        replace_file(tmp_path / "link", "new")
        assert (tmp_path / "later" / "target").read_text() == "new"

    @pytest.mark.skipif(sys.platform == "win32", reason="links and pipes need rights there, or are none")
    def test_a_circle_of_links_is_an_error(self, tmp_path):
        (tmp_path / "a").symlink_to("b")
        (tmp_path / "b").symlink_to("a")
        with pytest.raises(OSError, match="symbolic links"):
            replace_file(tmp_path / "a", "x")
        assert (tmp_path / "a").is_symlink()

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
    @pytest.mark.parametrize("mode", [0o600, 0o640, 0o444, 0o666])
    def test_the_new_file_has_the_mode_of_the_old_one(self, mode, tmp_path):
        (tmp_path / "t").write_text("old")
        (tmp_path / "t").chmod(mode)
        replace_file(tmp_path / "t", "new")
        assert (tmp_path / "t").stat().st_mode & 0o777 == mode
        assert (tmp_path / "t").read_text() == "new"

    @pytest.mark.skipif(sys.platform == "win32", reason="there are no modes")
    def test_what_is_private_is_so_while_it_is_written(self, tmp_path, monkeypatch):
        (tmp_path / "t").write_text("old")
        (tmp_path / "t").chmod(0o600)
        modes, fsync = [], os.fsync
        monkeypatch.setattr(os, "fsync", lambda h: (modes.append(os.fstat(h).st_mode & 0o777), fsync(h)))
        replace_file(tmp_path / "t", "new")
        assert modes[0] == 0o600

    def test_a_name_may_be_as_long_as_file_systems_allow(self, tmp_path):
        replace_file(tmp_path / ("n" * 255), "x")
        assert (tmp_path / ("n" * 255)).read_text() == "x"


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
