"""The command line, called in this process for speed or in one of its own."""

from __future__ import annotations

import contextlib
import io
import subprocess
import sys
import warnings
from typing import NamedTuple

import numpy as np
from safetensors.numpy import load_file

from handgrad.cli.main import main
from tests.process import environment


class Result(NamedTuple):
    code: int
    out: str
    err: str


def call(*arguments, folder="."):
    """Run ``handgrad ARGUMENTS`` here, in a folder."""
    out, err, argv, showwarning = io.StringIO(), io.StringIO(), sys.argv, warnings.showwarning
    sys.argv = ["handgrad", *map(str, arguments)]
    try:
        with contextlib.chdir(folder), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            main()
    except SystemExit as end:
        code = 0 if end.code is None else int(end.code)
    else:
        code = 0
    finally:
        sys.argv, warnings.showwarning = argv, showwarning
    return Result(code, out.getvalue(), err.getvalue())


def start(*arguments, folder="."):
    """Begin ``python -m handgrad ARGUMENTS`` in a process of its own, in a folder."""
    return subprocess.Popen(
        [sys.executable, "-m", "handgrad", *map(str, arguments)],
        cwd=folder,
        env=environment(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def process(*arguments, folder="."):
    """Run ``python -m handgrad ARGUMENTS`` in a process of its own, in a folder."""
    begun = start(*arguments, folder=folder)
    out, err = begun.communicate(timeout=100)
    return Result(begun.returncode, out, err)


def assert_same_run(a, b):
    """Raise unless two runs' folders hold the same model and the same history, bit for bit."""
    x, y = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    assert x.keys() == y.keys()
    for name in x:
        assert x[name].dtype == y[name].dtype
        np.testing.assert_array_equal(x[name], y[name])
    for name in ("history.csv", "history.json"):
        assert (a / name).read_bytes() == (b / name).read_bytes()


def write_digits(folder, images, names, mode="L"):
    """Write digits as PNG files and return their paths."""
    from PIL import Image

    paths = []
    for image, name in zip(images, names, strict=True):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.rint(image[..., 0] * 255).astype(np.uint8)).convert(mode).save(path)
        paths.append(path)
    return paths
