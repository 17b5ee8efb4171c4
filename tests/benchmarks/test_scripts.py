"""The scripts of benchmarks/ run, where what they compare with is installed."""

from __future__ import annotations

import json
import os
import sys

import numpy as np
import pytest

from handgrad import models
from handgrad.bench.workloads import Workload, step

pytest.importorskip("torch")

from benchmarks import chart, curve, footprint, onnx_runtime, versus_torch
from benchmarks.worker import TUNED, Remote, Worker, WorkerError, environment, ways

THREADS = 1


class TestWorker:
    def test_a_contender_in_another_process(self):
        with Worker(THREADS, "tuned") as worker:
            ours, theirs = (
                Remote.make(worker, name, "lenet-b64", "float32", 2)
                for name in ("handgrad", "torch channels_last")
            )
            np.testing.assert_allclose(ours.values(2), theirs.values(2), rtol=1e-4)
            assert ours.first.shape == (2,)
            assert 0 < ours.sample(2) < 60
            worker.ask("forget")
            use = worker.ask("memory")
            assert 1e7 < use["now"] <= use["peak"]

    def test_what_goes_wrong_there_is_an_error_here(self):
        with Worker(THREADS) as worker:
            with pytest.raises(WorkerError, match=r"^KeyError: 'nobody'$"):
                Remote.make(worker, "nobody", "lenet-b64", "float32", 1)
            assert worker.ask("forget") is None

    def test_a_process_that_ended(self):
        worker = Worker(THREADS)
        with worker:
            worker.process.kill()
            with pytest.raises(WorkerError, match=r"^the process ended with status -9$"):
                worker.ask("forget")

    def test_malloc_is_tuned_by_the_environment(self, monkeypatch):
        monkeypatch.setenv("MALLOC_TOP_PAD_", "1")
        assert environment(3, "tuned").items() >= {**TUNED, "OMP_NUM_THREADS": "3"}.items()
        assert not any(name.startswith("MALLOC_") for name in environment(3, "default"))

    def test_handgrad_is_the_first(self):
        assert next(iter(ways("lenet-b64", "bfloat16"))) == "handgrad"
        assert list(ways("resnet18-inference-b1", "float32"))[-1] == "onnxruntime"


@pytest.mark.parametrize("make", [models.resnet20, lambda *a, **k: models.resnet50(*a, **k, stem="3x3")])
def test_onnx_runtime_computes_the_same(make):
    pytest.importorskip("onnx")
    pytest.importorskip("onnxruntime")
    workload = Workload("r", "r", lambda: make((8, 8, 3), 10, width=4), 5, training=False)
    ours, theirs = step(workload)(), onnx_runtime.inference_step(workload)()
    np.testing.assert_allclose(theirs, ours, atol=2e-5 * np.abs(ours).max())


def test_versus_torch(tmp_path, monkeypatch, capsys):
    arguments = ["--quick", "--cases", "lenet-b64", "--threads", str(THREADS), "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["versus_torch", *arguments])
    monkeypatch.setattr(versus_torch, "SETTINGS", versus_torch.SETTINGS[2:])
    versus_torch.main()
    report = json.loads((tmp_path / "versus_torch.json").read_text())
    for row, precision, apart in zip(report["rows"], ("float32", "bfloat16"), (True, False), strict=True):
        assert (row["case"], row["precision"], row["apart"], row["malloc"]) == (
            "lenet-b64",
            precision,
            apart,
            "tuned",
        )
        ratio = row["ratios"]["torch"]
        ours, theirs = row["seconds"]["handgrad"], row["seconds"][ratio["best"]]
        assert ratio["ratio_of_medians"] == theirs["median"] / ours["median"]
        assert row["difference"] <= row["tolerance"]
        assert row["failed"] == {}
    assert capsys.readouterr().out.count("lenet-b64 ") == 2


def test_values_that_differ_end_it(tmp_path, monkeypatch):
    arguments = ["--quick", "--cases", "lenet-b64", "--together", "--threads", "1", "--out", str(tmp_path)]
    monkeypatch.setattr(sys, "argv", ["versus_torch", *arguments])
    monkeypatch.setattr(versus_torch, "TOLERANCE", {"float32": -1.0})
    with pytest.raises(SystemExit, match=r"^lenet-b64, float32, default malloc, together: values differ by "):
        versus_torch.main()


def rows():
    for title in ("a network", "another"):
        for setting in versus_torch.SETTINGS:
            yield {
                "title": title,
                "precision": setting.precision,
                "malloc": setting.malloc,
                "apart": setting.apart,
                "handgrad_precision": "float32",
                "ratios": {"torch": {"ratio_of_medians": 1.5}},
            }


def test_the_chart(tmp_path):
    pytest.importorskip("matplotlib")
    paths = chart.draw({"rows": list(rows())}, tmp_path)
    assert [p.name for p in paths] == ["versus_torch.svg", "versus_torch.png"]
    assert all(p.stat().st_size > 1000 for p in paths)


def test_a_chart_of_nothing_is_not_drawn(tmp_path):
    assert chart.draw({"rows": []}, tmp_path) == []


def test_sizes_and_requirements():
    assert {"handgrad", "numpy", "safetensors"} <= footprint.requirements("handgrad", set())
    assert "pytest" not in footprint.requirements("handgrad", set())
    assert 1e6 < footprint.size("numpy") < 1e9
    assert 1e5 < footprint.size("handgrad") < 1e8


def test_operations(tmp_path, monkeypatch, capsys):
    from benchmarks import operations

    monkeypatch.setattr(
        sys, "argv", ["operations", "entropy", "128x512-10", "--quick", "--out", str(tmp_path)]
    )
    monkeypatch.setattr(operations, "restart", lambda wanted: None)
    monkeypatch.setattr(operations.machine, "CUBE", 64)
    monkeypatch.setattr(operations.machine, "COPIED", 1 << 20)
    operations.main()
    report = json.loads((tmp_path / "operations.json").read_text())
    names = ["dense 128x512-10 forward", "dense 128x512-10 d input", "dense 128x512-10 d weight"]
    names += [f"cross entropy and gradient 128x{k}" for k in (10, 1000)]
    assert [row["name"] for row in report["rows"]] == names
    ours = report["rows"][0]["handgrad"]
    assert ours["flops"] == pytest.approx(2 * 128 * 512 * 10 / ours["median"])
    assert ours["of_roof"] == pytest.approx(max(ours["of_peak"], ours["of_bandwidth"]))
    assert len(capsys.readouterr().out.splitlines()) == 4 + len(names) + 1
    assert os.environ.get("MALLOC_TOP_PAD_") is None


def test_accuracy(tmp_path, monkeypatch, capsys):
    from benchmarks import accuracy

    monkeypatch.setattr(accuracy, "cases", accuracy.small_cases)
    monkeypatch.setattr(sys, "argv", ["accuracy", "128x512-10", "entropy 128x10 ", "--out", str(tmp_path)])
    accuracy.main()
    rows = json.loads((tmp_path / "accuracy.json").read_text())["rows"]
    assert [row["result"] for row in rows] == ["forward", "d input", "d weight", "d bias"]
    for row in rows:
        assert 1e-9 < row["handgrad"]["rms"] < 1e-6
        theirs = min(row[layout]["rms"] for layout in ("contiguous", "channels_last"))
        assert row["ratio"] == row["handgrad"]["rms"] / theirs
    assert capsys.readouterr().out.count("dense 128x512-10 ") == 4


CURVES = {
    "handgrad": [2.0, 1.01, 0.5],
    "torch contiguous": [2.0, 1.0, 0.5],
    "torch channels_last": [2.0, 1.02, 0.4],
}


class TestCurve:
    def test_losses_go_into_a_file_and_a_picture(self, tmp_path, monkeypatch, capsys):
        pytest.importorskip("matplotlib")
        runs = {name: lambda batches, of=of: of[: len(batches)] for name, of in CURVES.items()}
        monkeypatch.setattr(curve, "runs", lambda build, rate: runs)
        monkeypatch.setattr(curve, "cifar_batches", lambda steps, batch: [None] * steps)
        arguments = ["--steps", "3", "--threads", str(THREADS), "--out", str(tmp_path)]
        monkeypatch.setattr(sys, "argv", ["curve", *arguments])
        curve.main()
        assert json.loads((tmp_path / "curve.json").read_text())["losses"] == CURVES
        assert (tmp_path / "curve.png").stat().st_size > 1000
        assert "handgrad                         0.0e+00   1.0e-02   0.0e+00" in capsys.readouterr().out

    def test_where_the_data_is_missing_it_says_how_to_get_it(self, tmp_path, monkeypatch):
        monkeypatch.setenv("HANDGRAD_DATA", str(tmp_path))
        with pytest.raises(
            SystemExit, match=r"^CIFAR-10 is missing; fetch it with: handgrad datasets fetch cifar10$"
        ):
            curve.cifar_batches(1, 2)

    def test_changed_weights_are_near(self):
        data = [(np.ones((2, 8, 8, 3), np.float32), np.array([0, 1]))]
        exact, changed = (
            curve.torch_losses(
                lambda: models.resnet20((8, 8, 3), 2, width=4), 0.1, data, "contiguous", "float64", change=c
            )
            for c in (0.0, 1e-5)
        )
        assert 0 < abs(changed[0] / exact[0] - 1) < 1e-3
