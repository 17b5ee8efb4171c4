from __future__ import annotations

import os
import subprocess
import sys

import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.kernels import extension


def run(code, **environment):
    """Return what a process of its own prints; it is ended where it hangs."""
    kept = {k: v for k, v in os.environ.items() if k not in ("HANDGRAD_THREADS", "OMP_NUM_THREADS")}
    done = subprocess.run(
        [sys.executable, "-W", "ignore::DeprecationWarning", "-c", code],  # forking with threads, Python 3.12
        env=kept | {"PYTHONPATH": os.pathsep.join(sys.path), "OPENBLAS_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.fixture
def kept():
    """Set the number of threads back."""
    before = hg.get_threads()
    yield
    hg.set_threads(before)


@pytest.mark.parametrize("n", [0, -1, 1025, 1.5, True, "2", None])
def test_what_is_no_number_of_threads(n):
    before = hg.get_threads()
    with pytest.raises(ArgumentError) as error:
        hg.set_threads(n)
    assert str(error.value) == f"set_threads: expected a whole number from 1 to 1024, got {n!r}"
    assert hg.get_threads() == before


def test_the_number_can_be_set(compiled, kept):
    if not compiled.parallel:
        pytest.skip("compiled without OpenMP")
    for n in (3, 1, 1024):
        hg.set_threads(n)
        assert hg.get_threads() == n


def test_without_compiled_kernels_nothing_is_set(monkeypatch, fresh):
    monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: None)
    hg.set_threads(2)
    assert hg.get_threads() == 1


COUNT = "import handgrad as hg; print(hg.get_threads())"


def test_all_usable_cpus_are_the_default(compiled):
    assert run(COUNT) == str(compiled.usable_cpus() if compiled.parallel else 1)


QUOTAS = [
    ("0::/\n", {"cpu.max": "150000 100000"}, 2),
    ("0::/\n", {"cpu.max": "max 100000"}, 0),
    ("0::/\n", {}, 0),
    ("", {"cpu.max": "100000 100000"}, 0),
    # the group's own limit, that of one it is in, and a group as the host names it
    ("0::/a.slice/b", {"a.slice/b/cpu.max": "300000 100000", "cpu.max": "max 100000"}, 3),
    ("0::/a.slice/b", {"a.slice/b/cpu.max": "max 100000", "a.slice/cpu.max": "50000 100000"}, 1),
    ("0::/a.slice/b", {"a.slice/b/cpu.max": "300000 100000", "a.slice/cpu.max": "400000 100000"}, 3),
    ("0::/of/the/host", {"cpu.max": "200000 100000"}, 2),
    # version 1
    (
        "5:pids:/\n4:cpu,cpuacct:/x",
        {"cpu/x/cpu.cfs_quota_us": "250000", "cpu/x/cpu.cfs_period_us": "100000"},
        3,
    ),
    ("4:cpu,cpuacct:/x", {"cpu/x/cpu.cfs_quota_us": "-1", "cpu/x/cpu.cfs_period_us": "100000"}, 0),
    ("4:cpuset:/", {"cpu/cpu.cfs_quota_us": "100000", "cpu/cpu.cfs_period_us": "100000"}, 0),
]


@pytest.mark.parametrize(("groups", "files", "expected"), QUOTAS)
def test_the_quota_is_the_least_of_the_groups(compiled, tmp_path, groups, files, expected):
    here = {"proc/self/cgroup": groups} | {f"sys/fs/cgroup/{name}": text for name, text in files.items()}
    for name, text in here.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert compiled.quota_cpus(str(tmp_path)) == expected


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="a process has no affinity here")
def test_affinity_limits_the_usable_cpus(compiled):
    one = f"import os; os.sched_setaffinity(0, {{{min(os.sched_getaffinity(0))}}}); "
    assert run(one + COUNT) == "1"


def test_the_environment_sets_the_number(compiled):
    if not compiled.parallel:
        pytest.skip("compiled without OpenMP")
    assert run(COUNT, OMP_NUM_THREADS="1") == "1"
    assert run(COUNT, OMP_NUM_THREADS="1", HANDGRAD_THREADS="3") == "3"
    assert run(COUNT, HANDGRAD_THREADS="") == run(COUNT)


@pytest.mark.parametrize("value", ["0", "-1", "two", "1.5", "9999"])
def test_the_environment_is_checked(value, compiled, monkeypatch, fresh):
    monkeypatch.setenv("HANDGRAD_THREADS", value)
    for _ in range(2):
        with pytest.raises(ArgumentError) as error:
            hg.get_threads()
        got = value if value.isdecimal() else repr(value)
        assert str(error.value) == f"HANDGRAD_THREADS: expected a whole number from 1 to 1024, got {got}"


SHARE = """
import numpy as np, handgrad as hg
from handgrad.kernels import default_kernels
x, w = np.ones((4000, 300), np.float32), np.ones((300, 70), np.float32)
kernels = default_kernels()
for result, expected in [
    (kernels.add(x, x), 2), (kernels.dense(x, w, None), 300), (kernels.dense_backward_weight(x, x), 4000)
]:
    assert (result == expected).all(), result
print(hg.get_threads())
"""


@pytest.mark.parametrize("limit", ["1", "2"])
def test_all_work_is_done_by_fewer_threads_than_asked_for(limit, compiled):
    """As the OpenMP runtime gives them where the process may not have more."""
    found = run(SHARE, OMP_THREAD_LIMIT=limit, HANDGRAD_THREADS="3", HANDGRAD_KERNELS="cpu")
    assert found == ("3" if compiled.parallel else "1")


TRAIN = """
import multiprocessing, numpy as np, handgrad as hg

def train(_):
    x = np.random.default_rng(0).normal(size=(64, 16, 16, 8)).astype("float32")
    layers = [hg.layers.Conv2D(32, 3), hg.layers.ReLU(), hg.layers.Flatten(), hg.layers.Dense(3)]
    model = hg.Sequential(layers, input_shape=(16, 16, 8), seed=0)
    trainer = hg.Trainer(model, "cross_entropy", "sgd")
    return trainer.fit(x, np.arange(64) % 3, epochs=2, batch_size=32)["loss"]

if __name__ == "__main__":
    here = train(0)
    with multiprocessing.get_context("fork").Pool(2) as pool:
        there = pool.map(train, range(4))
    assert there == [here] * 4 == [train(0)] * 4, (here, there)
    print(hg.get_threads())
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes do not fork here")
def test_a_forked_process_trains_after_its_parent_has(compiled):
    """GNU's OpenMP hangs in such a child, unless its threads were ended before the fork."""
    assert run(TRAIN, HANDGRAD_THREADS="2") == ("2" if compiled.parallel else "1")
