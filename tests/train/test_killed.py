"""A run's folder survives kill -9 at every rename and at any moment, and is resumed at once."""

from __future__ import annotations

import subprocess
import sys

import pytest

import handgrad as hg
from handgrad.train import Experiment
from tests.process import environment
from tests.train import killed
from tests.train.killed import RECIPE, RENAMES
from tests.train.parts import assert_same, everything

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGKILL"),
]


def outcome(folder):
    """Return what a folder holds when its run has ended, all but the seconds."""
    experiment = Experiment(folder)
    result = experiment.run()
    assert not [p.name for p in folder.iterdir() if p.name.startswith(".")]
    return {
        **everything(experiment.trainer),
        **{f"model/{name}": a for name, a in hg.load(experiment.model_path).state().items()},
    }, [result, *((folder / name).read_bytes() for name in ("config.json", "history.csv", "history.json"))]


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    """Compute with one thread, here and in the program: two are slower for so little."""
    before = hg.get_threads()
    hg.set_threads(1)
    yield
    hg.set_threads(before)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    folder = tmp_path_factory.mktemp("unbroken") / "run"
    Experiment(folder, RECIPE).run()
    return outcome(folder)


def program(*arguments):
    command = [sys.executable, killed.__file__, *map(str, arguments)]
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def begun(folder):
    """Return a folder whose run has begun; one that was killed before it begins now."""
    if not (folder / "config.json").is_file():
        Experiment(folder, RECIPE).run()
    return folder


def test_before_each_rename(unbroken, tmp_path):
    lines = program("renames", tmp_path)
    assert lines == [f"{number} {number < RENAMES}" for number in range(RENAMES + 1)]
    for number in range(RENAMES):
        folder = tmp_path / str(number)
        assert [p for p in folder.iterdir() if p.name.startswith(".") and p.name != ".lock"]
        arrays, files = outcome(begun(folder))
        assert_same(arrays, unbroken[0])
        assert files == unbroken[1]


def test_at_any_moment(unbroken, tmp_path):
    runs = 5
    program("moments", tmp_path, runs, 2)
    for number in range(runs):
        arrays, files = outcome(begun(tmp_path / str(number)))
        assert_same(arrays, unbroken[0])
        assert files == unbroken[1]
