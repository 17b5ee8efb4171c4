"""What only a process of its own shows: exit codes, one line on standard error, no traceback, and signals."""

from __future__ import annotations

import re
import signal
import sys

import numpy as np
import pytest

import handgrad as hg
from handgrad.io import load_checkpoint
from tests.cli.run import assert_same_run, call, process, start, write_digits


def assert_one_line(result, beginning):
    assert result.code == 1
    assert "Traceback" not in result.err
    assert result.err.startswith(beginning), result.err
    assert result.err.count("\n") == 1


def test_the_version():
    assert process("--version") == (0, f"handgrad {hg.__version__}\n", "")


def test_a_wrong_set_name(tmp_path):
    result = process("train", "digit", folder=tmp_path)
    assert result.out == ""
    assert_one_line(
        result,
        "handgrad: dataset: expected one of digits, mnist, fashion_mnist, cifar10, or a folder with "
        "train and test in "
        "it, got 'digit'\n",
    )


def test_a_missing_file(trained, tmp_path):
    result = process("predict", trained, tmp_path / "no.png")
    assert_one_line(result, f"handgrad: {tmp_path / 'no.png'}: expected an image file, got no such file\n")


def test_an_image_of_the_wrong_size(trained, tmp_path):
    (path,) = write_digits(tmp_path, np.zeros((1, 9, 7, 1)), ["a.png"])
    result = process("predict", trained, path)
    assert_one_line(
        result,
        f"handgrad: {path}: expected an image of 8x8 pixels, got 9x7; use --resize to bring it to that "
        "size\n",
    )


def test_a_diverging_learning_rate(tmp_path):
    result = process(
        "train", "digits", "--lr", "1e6", "--width", 2, "--epochs", 3, "--out", "run", folder=tmp_path
    )
    lines = result.err.splitlines(keepends=True)
    for line in lines[:-1]:  # statistics overflow before the loss does
        assert re.fullmatch(
            r"handgrad: warning: \S+ \(BatchNormalization\): the batch's mean or variance is not finite in "
            r"channels? [\d, ]+; the running statistics stay as they were\n",
            line,
        )
    assert_one_line(result._replace(err=lines[-1]), "handgrad: epoch 1, step ")
    assert result.err.endswith(
        "; lower the learning rate, clip gradients with global_clipnorm, or look at the data\n"
    )
    assert re.search(
        ": expected finite values, got (infinity|NaN) first in the (gradient of the )?output of stage",
        result.err,
    )
    assert not (tmp_path / "run/model.safetensors").exists()


def test_resuming_nonsense(tmp_path):
    wanted = "expected a folder of a run, with config.json in it, got none there\n"
    assert_one_line(process("train", "--resume", "no", folder=tmp_path), f"handgrad: no: {wanted}")


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_saves_and_says_how_to_go_on(pictures, tmp_path, no_matplotlib):
    here = pictures.parent
    options = ("train", pictures.name, "--image-size", 8, 8, "--epochs", 25, "--width", 2, "--batch-size", 8)
    run, whole = tmp_path / "my run", tmp_path / "whole"
    begun = start(*options, "--out", run, folder=here)
    for line in begun.stderr:
        if line.startswith("epoch  2/25"):
            break
    begun.send_signal(signal.SIGINT)
    out, err = begun.communicate(timeout=60)
    assert begun.returncode == 130, err
    assert out.endswith(f"\nstopped; the run is saved. Go on with: handgrad train --resume '{run}'\n")
    assert "Traceback" not in err
    assert not (run / "model.safetensors").exists()
    where = load_checkpoint(run / "last.safetensors").progress["where"]
    assert 2 <= where["epoch"] < 25

    refused = call("predict", run, pictures / "test/round/0.png")
    assert refused.err == (
        f"handgrad: {run}: expected a run that has ended, got one without its model; go on with: "
        f"handgrad train --resume '{run}'\n"
    )
    resumed = call("train", "--resume", run, folder=here)
    assert resumed.code == 0, resumed.err
    assert f"\ngoing on at epoch {where['epoch'] + 1}, batch {where['batch'] + 1}\n" in resumed.out
    assert call(*options, "--out", whole, folder=here).code == 0
    assert_same_run(run, whole)
