from __future__ import annotations

import os
import subprocess
import sys

import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.kernels import extension

LINUX = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="needs the list of a process's threads"
)


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
    for n in (3, 1, 1024):
        hg.set_threads(n)
        assert hg.get_threads() == n


def test_without_compiled_kernels_nothing_is_set(monkeypatch, fresh):
    monkeypatch.setattr(extension.importlib.util, "find_spec", lambda name: None)
    hg.set_threads(2)
    assert hg.get_threads() == 1


COUNT = "import handgrad as hg; print(hg.get_threads())"


def test_all_usable_cpus_are_the_default(compiled):
    assert run(COUNT) == str(compiled.usable_cpus())


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
    assert run(COUNT, OMP_NUM_THREADS="1") == "1"
    assert run(COUNT, OMP_NUM_THREADS="1,4", HANDGRAD_THREADS="") == "1"  # OpenMP's list of nested levels
    assert run(COUNT, OMP_NUM_THREADS="1", HANDGRAD_THREADS="3") == "3"
    assert run(COUNT, OMP_NUM_THREADS="many") == run(COUNT, OMP_NUM_THREADS="0") == run(COUNT)
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
import sys, threading, time, numpy as np, handgrad as hg
from handgrad.kernels import default_kernels
kernels = default_kernels()
x, w = np.random.default_rng(0).normal(size=(2, 1000, 300)).astype("float32")

def results():
    return kernels.add(x, x), kernels.dense(x, w.T.copy(), None), kernels.dense_backward_weight(x, w)

def same(found):
    return all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))

hg.set_threads(3)
expected = results()
"""

AT_ONCE = (
    SHARE
    + """
def compute(ok):
    ok.append(all(same(results()) for _ in range(100)))

ok = []
threads = [threading.Thread(target=compute, args=(ok,)) for _ in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(ok)
"""
)


def test_python_threads_that_compute_at_once_find_the_same_bits(compiled):
    assert run(AT_ONCE, HANDGRAD_KERNELS="cpu") == str([True] * 4)


CHANGED = (
    SHARE
    + """
for n in (1, 2, 5, 3):
    hg.set_threads(n)
    several = [results() for _ in range(50)]
    assert all(np.array_equal(a, b) for found in several for a, b in zip(found, several[0], strict=True)), n
print(same(results()))
"""
)


def test_the_number_can_change_between_kernels(compiled):
    assert run(CHANGED, HANDGRAD_KERNELS="cpu") == "True"


IDLE = (
    SHARE
    + """
time.sleep(0.05)
before = time.process_time()
time.sleep(0.5)
print(time.process_time() - before < 0.1)
"""
)


def test_threads_without_work_sleep(compiled):
    assert run(IDLE, HANDGRAD_KERNELS="cpu") == "True"


UNKNOWN_FORK = (
    SHARE
    + """
import ctypes, os
child = ctypes.CDLL(None).fork()
if child == 0:
    os._exit(0 if same(results()) and len(os.listdir("/proc/self/task")) == 3 else 1)
print(os.waitpid(child, 0)[1])
"""
)


@LINUX
def test_a_child_of_a_fork_that_python_does_not_know_of_has_threads_of_its_own(compiled):
    assert run(UNKNOWN_FORK, HANDGRAD_KERNELS="cpu") == "0"


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
    assert run(TRAIN, HANDGRAD_THREADS="2") == "2"


BEFORE_A_FORK = (
    """
import os
count = []
os.register_at_fork(before=lambda: count.append(len(os.listdir("/proc/self/task"))))"""
    + SHARE
    + """
several = len(os.listdir("/proc/self/task"))
if (child := os.fork()) == 0:
    os._exit(0)
os.waitpid(child, 0)
print(several, count)
"""
)


@LINUX
def test_a_process_that_forks_has_ended_its_threads(compiled):
    """Python 3.12 warns of a fork with several threads, and counts those of the system."""
    assert run(BEFORE_A_FORK, HANDGRAD_KERNELS="cpu") == "3 [1]"
