"""The experiments on batch normalization run, write their files, and show what they are there to show."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[2] / "examples" / "batchnorm"
if not FOLDER.is_dir():
    pytest.skip("the examples are not installed", allow_module_level=True)


def run(name: str, *options: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-W", "error", str(FOLDER / f"{name}.py"), *options],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def table(name: str, out: Path, *options: str) -> tuple[list[dict[str, str]], str]:
    """Run a quick experiment; return the rows of its table and what it printed of it."""
    pytest.importorskip("matplotlib")
    done = run(name, "--quick", "--out", str(out), *options)
    assert (done.returncode, done.stderr) == (0, "")
    assert (out / f"{name}.png").read_bytes().startswith(b"\x89PNG")
    text = (out / f"{name}.md").read_text(encoding="utf-8")
    assert done.stdout.startswith(text)
    header, _, *rows = ([cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines())
    return [dict(zip(header, row, strict=True)) for row in rows], text


def share(cell: str) -> float:
    return float(cell.split()[-1].rstrip("%")) / 100


def test_sigmoids_learn_sooner_with_batch_normalization(tmp_path: Path) -> None:
    (without, normalized), text = table("mnist_sigmoid", tmp_path / "new" / "folder", "--steps", "300")
    last = "after 300 steps"
    assert share(normalized[last]) > 0.85 > 0.3 > share(without[last])
    assert table("mnist_sigmoid", tmp_path, "--steps", "300")[1] == text  # the same again


def test_the_deep_network_trains_with_batch_normalization_alone(tmp_path: Path) -> None:
    rows, _ = table("learning_rates", tmp_path)
    best = {name: max(share(row[name]) for row in rows if row[name] != "diverged") for name in rows[0]}
    assert best["batch normalization"] > 0.3
    assert best["plain, Glorot"] < 0.15
    assert best["plain, He"] < best["batch normalization"]


def test_every_normalization_learns_at_every_batch_size(tmp_path: Path) -> None:
    rows, _ = table("batch_sizes", tmp_path)
    assert [row["batch size"] for row in rows] == ["4", "64"]
    for row in rows:
        assert all(share(row[name]) < 0.3 for name in ("batch", "ghost, 16", "group, 4", "layer"))
    assert rows[0]["batch"] == rows[0]["ghost, 16"]  # four samples are one part
    assert rows[1]["batch"] != rows[1]["ghost, 16"]  # 64 are four


def test_small_initial_weights_need_batch_normalization(tmp_path: Path) -> None:
    rows, _ = table("initial_scales", tmp_path)
    small, medium, _ = rows
    for row in (small, medium):
        assert share(row["validation, with"]) > 0.5 > 0.2 > share(row["validation, without"])
        assert float(row["loss, with"]) < float(row["loss, without"])


@pytest.mark.parametrize("name", ["mnist_sigmoid", "learning_rates", "batch_sizes", "initial_scales"])
def test_a_damaged_set_is_one_line_and_status_1(name: str, tmp_path: Path) -> None:
    for folder in ("mnist", "fashion-mnist"):
        (tmp_path / folder).mkdir()
        for file in ("train-images-idx3", "train-labels-idx1", "t10k-images-idx3", "t10k-labels-idx1"):
            (tmp_path / folder / f"{file}-ubyte").write_bytes(b"not it")
    done = run(name, "--out", str(tmp_path / "out"), HANDGRAD_DATA=str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith(f"{name}.py: {tmp_path}")
    assert "handgrad.data.fetch(" in done.stderr
    assert done.stderr.count("\n") == 1
    assert done.stdout == ""
