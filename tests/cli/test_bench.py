from __future__ import annotations

import re

import pytest

from handgrad import models
from handgrad.bench import machine, quick
from handgrad.bench.workloads import WORKLOADS, Workload
from tests.cli.run import call

TINY = {
    "tiny": Workload("tiny", "a small network", lambda: models.lenet((8, 8, 1), 10, width=2), 4),
    "one": Workload("one", "inference of 1", lambda: models.lenet((8, 8, 1), 10, width=2), 1, training=False),
}


@pytest.fixture(autouse=True)
def tiny(monkeypatch):
    """Measure small networks, and a small machine."""
    monkeypatch.setattr(quick, "WORKLOADS", TINY)
    monkeypatch.setattr(quick, "NETWORKS", tuple(TINY))
    monkeypatch.setattr(machine, "CUBE", 64)
    monkeypatch.setattr(machine, "COPIED", 1 << 20)


def numbers(line):
    return [float(n) for n in re.findall(r"(?<![\w.])\d+(?:\.\d+)?(?![\w.])", line)]


def test_without_pytorch(monkeypatch):
    monkeypatch.setattr(quick, "torch_version", lambda: None)
    result = call("bench", "--seconds", "0")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert re.match(r"handgrad  \d+\.\d+", lines[0])
    assert lines[1] == "PyTorch   not installed"
    assert re.fullmatch(r"kernels   \d+ of \d+ compiled", lines[2])
    assert re.fullmatch(r"machine   .+, \d+ threads?", lines[3])
    assert re.fullmatch(r"at best   \d+ GFLOP/s in products of matrices, [\d.]+ GB/s copied", lines[4])
    assert lines[6].split() == ["ms", "images/s", "GFLOP/s"]
    for line, w in zip(lines[7:9], TINY.values(), strict=True):
        assert line.startswith(w.title)
        ms, rate, _ = numbers(line.removeprefix(w.title))
        assert rate == pytest.approx(1e3 * w.batch / ms, rel=0.1)


def test_beside_pytorch():
    torch = pytest.importorskip("torch")
    result = call("bench", "tiny", "--seconds", "0")
    assert result.code == 0, result.err
    lines = result.out.splitlines()
    assert lines[1] == f"PyTorch   {torch.__version__}"
    assert lines[6].endswith("PyTorch ms  PyTorch/here")
    ms, _, _, theirs, ratio = numbers(lines[7].removeprefix(TINY["tiny"].title))
    assert ratio == pytest.approx(theirs / ms, rel=0.05)
    assert "!" not in result.out


def test_pytorch_can_be_left_out(monkeypatch):
    monkeypatch.setattr(quick, "torch_version", lambda: "2.0")
    result = call("bench", "tiny", "--seconds", "0", "--no-torch")
    assert "PyTorch   2.0, not compared" in result.out
    assert "PyTorch ms" not in result.out


def test_what_cannot_be_trusted_is_marked(monkeypatch):
    pytest.importorskip("torch")
    monkeypatch.setattr(quick, "Quiet", lambda threads: lambda: False)
    monkeypatch.setattr(quick, "SAME", -1.0)
    out = call("bench", "tiny", "--seconds", "0").out.splitlines()
    assert out[7].endswith(" ~ !")
    assert out[8:] == [
        "~ the machine was never quiet: end other programs, and measure again",
        "! the two did not compute the same",
    ]


def test_the_list():
    result = call("bench", "--list")
    assert result.code == 0
    assert [line.split()[0] for line in result.out.splitlines()] == list(WORKLOADS)


def test_an_unknown_network_is_refused_before_anything_is_measured():
    result = call("bench", "tiny", "vgg")
    assert result == (1, "", "handgrad: bench: expected some of tiny, one, got 'vgg'\n")
