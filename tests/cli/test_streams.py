"""Output that fails ends nothing else, signals end a run as Ctrl-C does, and a folder has one writer."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import signal
import subprocess
import sys
import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad import viz
from handgrad.cli.main import main
from handgrad.io import load_checkpoint
from tests.cli.run import assert_same_run, call, process, start, write_digits
from tests.process import environment

SMALL = ("--epochs", 2, "--width", 2, "--batch-size", 256)
posix = pytest.mark.skipif(sys.platform == "win32", reason="there is no shell, and no signal to send")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return the folder of a run that nothing disturbs."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    assert call("train", "digits", *SMALL, "--out", folder).code == 0
    return folder


class TestOutputThatFails:
    @pytest.mark.parametrize("form", [("--json",), ()], ids=["json", "text"])
    def test_a_reader_that_goes_after_the_first_line(self, whole, tmp_path, form):
        with start("train", "digits", *SMALL, "--out", tmp_path / "run", *form) as begun:
            begun.stdout.readline()
            begun.stdout.close()
            err = begun.stderr.read()
        assert begun.returncode == 0, err
        assert "Traceback" not in err
        assert "Errno" not in err
        assert "Exception ignored" not in err
        assert_same_run(tmp_path / "run", whole)

    @posix
    def test_a_process_without_streams(self, whole, tmp_path):
        arguments = ["train", "digits", *map(str, SMALL), "--out", str(tmp_path / "run")]
        command = ["sh", "-c", 'exec "$@" >&- 2>&-', "sh", sys.executable, "-m", "handgrad", *arguments]
        assert subprocess.run(command, env=environment(), timeout=100).returncode == 0
        assert_same_run(tmp_path / "run", whole)

    @posix
    @pytest.mark.skipif(
        not hasattr(signal, "SIGHUP") or sys.platform != "linux", reason="there is no /dev/full"
    )
    def test_a_disk_that_is_full(self, whole, tmp_path):
        arguments = ["train", "digits", *map(str, SMALL), "--out", str(tmp_path / "run"), "--json"]
        with open("/dev/full", "w") as full:  # noqa: PTH123
            done = subprocess.run(
                [sys.executable, "-m", "handgrad", *arguments],
                env=environment(), stdout=full, stderr=subprocess.PIPE, text=True, timeout=100,
            )  # fmt: skip
        assert done.returncode == 0
        assert done.stderr == (
            "handgrad: warning: what is printed is lost from here on: [Errno 28] No space left on device\n"
        )
        assert_same_run(tmp_path / "run", whole)

    def test_another_command_ends_quietly_where_nobody_reads(self):
        with start("gradcheck") as begun:
            begun.stdout.close()
            err = begun.stderr.read()
        assert (begun.returncode, err) == (1, "")


class TestEncodings:
    @staticmethod
    def encoded(encoding, *arguments):
        """Run a command here, with streams of an encoding, and return what it wrote."""
        raw, argv = io.BytesIO(), sys.argv
        stream = io.TextIOWrapper(raw, encoding, newline="\n")
        sys.argv = ["handgrad", *map(str, arguments)]
        try:
            with (
                contextlib.redirect_stdout(stream),
                contextlib.redirect_stderr(stream),
                contextlib.suppress(SystemExit),
            ):
                main()
        finally:
            sys.argv = argv
            stream.flush()
        return raw.getvalue().decode(encoding)

    @pytest.fixture(autouse=True)
    def warnings_as_before(self):
        before = warnings.showwarning
        yield
        warnings.showwarning = before

    @pytest.mark.parametrize("encoding", ["cp1252", "latin-1", "ascii"])
    def test_every_command_can_be_read_in_every_encoding(self, encoding, whole, tmp_path, no_matplotlib):
        (path,) = write_digits(tmp_path, np.zeros((1, 8, 8, 1)), ["katze-猫.png"])
        run = tmp_path / encoding
        commands = {
            ("train", "digits", *SMALL, "--out", run): "test accuracy ",
            ("evaluate", run): "digits, 360 test images: ",
            ("predict", run, path): "katze-\\u732b.png",
            ("predict", run, tmp_path / "no-猫.png"): "no-\\u732b.png: expected an image file",
            ("gradcheck", "Dense"): "Dense",
            ("explain", "--rows", 2): "-- forward ---",
            ("info",): "handgrad ",
            ("datasets",): "digits",
        }
        for command, wanted in commands.items():
            assert wanted in self.encoded(encoding, *command), command
        drawn = viz.draw_history(json.loads((run / "history.json").read_text()))
        assert "┤" in drawn

    def test_a_process_whose_stream_is_ascii(self, tmp_path, monkeypatch):
        monkeypatch.setenv("PYTHONIOENCODING", "ascii")
        result = process("explain", "--rows", 2)
        assert (result.code, result.err) == (0, "")
        assert result.out.isascii()
        assert "\n-- forward ---" in result.out


@posix
class TestSignals:
    def begun(self, folder):
        """Begin a run without end; return it when its second epoch has been trained."""
        run = start("train", "digits", "--epochs", 99_999, "--width", 2, "--batch-size", 256, "--out", folder)
        for line in run.stderr:
            if line.startswith("epoch     2/99999"):
                return run
        raise AssertionError(run.communicate())

    @pytest.mark.parametrize("number", [signal.SIGTERM, getattr(signal, "SIGHUP", signal.SIGTERM)])
    def test_that_end_a_process_save_and_say_how_to_go_on(self, tmp_path, number):
        folder = tmp_path / "run"
        with self.begun(folder) as run:
            try:
                self.look_at(run, folder, number)
            finally:
                run.kill()

    def look_at(self, run, folder, number):
        before = {p.name for p in folder.iterdir()}
        refused = call("train", "--resume", folder)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err.startswith(
            f"handgrad: {folder}: expected a folder that nothing else writes into, got one that process "
            f"{run.pid} on "
        )
        assert before <= {p.name for p in folder.iterdir()}
        taken = call("train", "digits", *SMALL, "--out", folder)
        assert taken.err == (
            f"handgrad: {folder}: expected a new folder, got one that holds a run; resume it, or name "
            "another\n"
        )
        run.send_signal(number)
        out, err = run.communicate(timeout=100)
        assert run.returncode == 128 + number, err
        assert out.endswith(f"\nstopped; the run is saved. Go on with: handgrad train --resume {folder}\n")
        assert "Traceback" not in err
        assert not (folder / ".lock").exists()
        where = load_checkpoint(folder / "last.safetensors").progress["where"]
        assert 2 <= where["epoch"] < 99_999

    def test_outside_of_training_end_at_once_and_quietly(self):
        run = start("gradcheck")
        run.stdout.readline()
        run.send_signal(signal.SIGTERM)
        _, err = run.communicate(timeout=100)
        assert (run.returncode, err) == (128 + signal.SIGTERM, "")


@pytest.mark.slow
class TestSeveralAtOnce:
    def test_each_has_a_folder_and_its_own_seed(self, tmp_path):
        runs = [start("train", "digits", *SMALL, "--seed", seed, folder=tmp_path) for seed in range(3)]
        for run in runs:
            _, err = run.communicate(timeout=100)
            assert run.returncode == 0, err
        folders = sorted((tmp_path / "runs").iterdir())
        seeds = []
        for folder in folders:
            seed = json.loads((folder / "config.json").read_text())["recipe"]["seed"]
            assert hg.load(folder / "model.safetensors").seed == seed
            assert load_checkpoint(folder / "last.safetensors").progress["rng"][0] == seed
            seeds.append(seed)
        assert sorted(seeds) == [0, 1, 2]

    def test_one_folder_goes_to_one_of_them(self, tmp_path):
        runs = [start("train", "digits", *SMALL, "--seed", s, "--out", tmp_path / "run") for s in range(2)]
        ended = [(run.communicate(timeout=100)[1], run.returncode) for run in runs]
        assert sorted(code for _, code in ended) == [0, 1]
        seed = json.loads((tmp_path / "run/config.json").read_text())["recipe"]["seed"]
        assert ended[seed][1] == 0
        assert hg.load(tmp_path / "run/model.safetensors").seed == seed
        for err, code in ended:
            assert code == 0 or "expected a folder that nothing else" in err or "holds a run" in err


class TestWhatIsSaidAtTheEnd:
    def test_a_test_image_that_cannot_be_read_loses_nothing(self, whole, tmp_path, monkeypatch):
        def unreadable(*_, **__):
            raise hg.errors.DataError("a.png", expected="an image that can be read", got="text")

        with monkeypatch.context() as patched:
            patched.setattr(hg.Trainer, "evaluate", unreadable)
            result = call("train", "digits", *SMALL, "--out", tmp_path / "run")
        assert result.code == 1
        assert result.err.splitlines() == [
            f"handgrad: what was trained is saved. Go on with: handgrad train --resume {tmp_path / 'run'}",
            "handgrad: a.png: expected an image that can be read, got text",
        ]
        resumed = call("train", "--resume", tmp_path / "run")
        assert resumed.code == 0, resumed.err
        assert "\ngoing on at epoch 1, its validation\n" in resumed.out
        assert_same_run(tmp_path / "run", whole)

    def test_curves_that_cannot_be_drawn_do_not_hide_the_result(self, whole, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")

        def full(*_, **__):
            raise OSError(28, "No space left on device")

        monkeypatch.setattr(viz, "plot_history", full)
        with warnings.catch_warnings():
            warnings.simplefilter("default")
            result = call("train", "--resume", shutil.copytree(whole, tmp_path / "run"))
        assert result.code == 0
        assert "\ntest accuracy " in result.out
        assert result.err == (
            "handgrad: warning: there is no curves.png: [Errno 28] No space left on device\n"
        )

    def test_ctrl_c_while_curves_are_drawn_comes_after_the_result(self, whole, tmp_path, monkeypatch):
        pytest.importorskip("matplotlib")

        def interrupted(*_, **__):
            raise KeyboardInterrupt

        monkeypatch.setattr(viz, "plot_history", interrupted)
        result = call("train", "--resume", shutil.copytree(whole, tmp_path / "run"))
        assert (result.code, result.err) == (130, "")
        assert "\ntest accuracy " in result.out

    def test_a_run_is_extended(self, whole, tmp_path, no_matplotlib):
        folder = shutil.copytree(whole, tmp_path / "run")
        result = call("train", "--resume", folder, "--epochs", 3)
        assert result.code == 0, result.err
        assert (
            "\n3 epochs in place of 2: from step 13 on, the learning rate is that of a run of 3 epochs\n"
            "going on at epoch 3, batch 1\n"
        ) in result.out
        assert [line.split()[1] for line in result.err.splitlines()] == ["3/3"]
        refused = call("train", "--resume", folder, "--epochs", 2)
        assert (refused.code, refused.out) == (1, "")
        assert refused.err == f"handgrad: epochs: expected at least the 3 that {folder} has begun, got 2\n"
