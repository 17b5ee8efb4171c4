from __future__ import annotations

import os
import sys
from types import SimpleNamespace

import pytest

import handgrad as hg
from handgrad.bench import machine


def test_its_name_is_something():
    assert machine.cpu_name()


def test_the_peak_and_the_bandwidth_are_of_this_world(monkeypatch):
    monkeypatch.setattr(machine, "CUBE", 128)
    monkeypatch.setattr(machine, "COPIED", 1 << 22)
    assert 1e7 < machine.peak_flops(3) < 1e15
    assert 1e7 < machine.copy_bandwidth(2, 3) < 1e14


def test_the_best_of_several_counts(monkeypatch):
    now = iter([0.0, 3.0, 10.0, 12.0, 20.0, 24.0])
    monkeypatch.setattr(machine, "time", SimpleNamespace(perf_counter=lambda: next(now)))
    assert machine._shortest(lambda: None, 3) == 2


def test_threads_are_those_of_the_kernels(monkeypatch):
    monkeypatch.setattr(machine, "tables", lambda: {"cpu": None})
    monkeypatch.setattr(machine, "get_threads", lambda: 5)
    assert machine.usable_threads() == 5


def test_without_compiled_kernels_they_are_those_of_numpy(monkeypatch):
    monkeypatch.setattr(machine, "tables", lambda: {"reference": None})
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert machine.usable_threads() == 3
    monkeypatch.delenv("OMP_NUM_THREADS")
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    assert machine.usable_threads() == cpus


@pytest.mark.parametrize("imported", [True, False])
def test_threads_are_set_for_both(monkeypatch, imported):
    told = []
    monkeypatch.setattr(machine, "set_threads", lambda n: told.append(("handgrad", n)))
    torch = SimpleNamespace(set_num_threads=lambda n: told.append(("torch", n)))
    if imported:
        monkeypatch.setitem(sys.modules, "torch", torch)
    else:
        monkeypatch.delitem(sys.modules, "torch", raising=False)
    machine.use_threads(7)
    assert told == [("handgrad", 7)] + [("torch", 7)] * imported


def test_nothing_else_is_imported():
    """So that ``import handgrad`` stays light."""
    assert "bench" not in hg.__all__
