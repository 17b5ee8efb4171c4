"""The pool that large arrays come from: their contents, from any thread, and how much it keeps."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from numpy._core.multiarray import get_handler_name

import handgrad as hg
from handgrad.kernels import MemoryUse, memory_use, release_memory, reuse_memory

POOLED, PAGE, SPARE = 64 << 10, 2 << 20, 32 << 20

compiled = pytest.mark.skipif(memory_use() is None, reason="the pool is part of the compiled kernels")


@pytest.fixture(autouse=True)
def _nothing_stays():
    gc.collect()
    before = memory_use()
    yield
    gc.collect()
    assert before is None or memory_use().in_use == before.in_use


def run(program, *, expect=0):
    """Run a program in a process of its own; return what it prints."""
    head = "import os, sys, threading, numpy as np, handgrad as hg\nfrom handgrad.kernels import *\n"
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", head + textwrap.dedent(program)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stderr) == (expect, "")
    return done.stdout


class Spy(hg.layers.Layer):
    """Notes who provides the memory of arrays while a model runs."""

    def output_shape(self, shape):
        return shape

    def create(self, shape, init):
        self.seen = set()

    def forward(self, x, run):
        self.seen.add(get_handler_name())
        return x, hg.layers.NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        self.seen.add(get_handler_name())
        return dy


# where it is


def test_without_compiled_kernels_it_does_nothing(monkeypatch):
    monkeypatch.setenv("HANDGRAD_KERNELS", "reference")
    with reuse_memory():
        assert get_handler_name() == "default_allocator"
    release_memory()
    assert memory_use() is None


@compiled
def test_inside_arrays_come_from_the_pool_and_outside_from_numpy():
    before = memory_use().in_use
    with reuse_memory():
        large, small = np.ones(POOLED, np.uint8), np.ones(POOLED - 1, np.uint8)
        assert POOLED <= memory_use().in_use - before < 2 * POOLED
    outside = np.ones(PAGE, np.uint8)
    assert memory_use().in_use - before < 2 * POOLED
    assert [get_handler_name(a) for a in (large, small, outside)] == ["handgrad"] * 2 + ["default_allocator"]


@compiled
def test_contexts_nest_and_end_with_an_exception():
    with reuse_memory():
        with reuse_memory():
            assert get_handler_name() == "handgrad"
        assert get_handler_name() == "handgrad"
        with pytest.raises(ZeroDivisionError), reuse_memory():
            raise ZeroDivisionError
        assert get_handler_name() == "handgrad"
    assert get_handler_name() == "default_allocator"


@compiled
def test_another_thread_has_numpys_own_memory():
    seen = []
    with reuse_memory():
        thread = threading.Thread(target=lambda: seen.append(get_handler_name()))
        thread.start()
        thread.join()
    assert seen == ["default_allocator"]


@compiled
@pytest.mark.parametrize("how", ["fit", "train_step", "evaluate", "predict"])
def test_training_evaluation_and_prediction_use_it(how):
    spy = Spy()
    model = hg.Sequential([hg.layers.Dense(3), spy], input_shape=(4,))
    trainer = hg.Trainer(model, "cross_entropy")
    x, y = np.ones((8, 4), np.float32), np.zeros(8, int)
    getattr(trainer, how, getattr(model, how, None))(*(x, y)[: 1 if how == "predict" else 2])
    assert spy.seen == {"handgrad"}
    assert get_handler_name() == "default_allocator"


# contents


@compiled
def test_arrays_are_aligned():
    with reuse_memory():
        arrays = [np.empty(n, np.uint8) for n in (POOLED, POOLED + 1, 100_000, PAGE - 1, 3 * PAGE + 7)]
    assert [a.ctypes.data % 64 for a in arrays] == [0] * 5


@compiled
@pytest.mark.parametrize("size", [POOLED, 200_001, PAGE, 5 * PAGE + 13])
def test_zeros_are_zero_in_memory_that_was_used(size):
    with reuse_memory():
        for _ in range(5):
            dirty = np.full(3 * size, 255, np.uint8)
            del dirty
            blocks = [np.zeros(size, np.uint8) for _ in range(4)]
            assert not any(block.any() for block in blocks)
            for block in blocks:
                block[...] = 255


@compiled
def test_zeros_are_zero_in_memory_that_was_given_back():
    with reuse_memory():
        keep = np.full(PAGE // 3, 255, np.uint8)
        np.full(20 * PAGE, 255, np.uint8)
        release_memory()
        assert not np.zeros(20 * PAGE, np.uint8).any()
        assert keep.min() == 255


@compiled
def test_resized_arrays_keep_their_contents():
    with reuse_memory():
        a = np.arange(1000)
        for n in (20_000, 400_000, 50_000, 3_000_000, 3_100_000, 2_000_000, 9_000, 8_000, 100, 70_000):
            kept = min(n, len(a))
            between = np.full(n // 2, -1)
            a.resize(n, refcheck=False)
            assert np.array_equal(a[:kept], np.arange(kept))
            assert not a[kept:].any()  # which NumPy clears
            a[...] = np.arange(n)
            del between


@compiled
def test_an_array_grows_where_it_is_if_it_can():
    """In a process of its own, where nothing lies behind it in the pool."""
    run(
        f"""
        with reuse_memory():
            a = np.ones({PAGE}, np.uint8)
            address = a.ctypes.data
            a.resize({2 * PAGE}, refcheck=False)
            assert a.ctypes.data == address
            behind = np.ones({PAGE}, np.uint8)
            a.resize({10 * PAGE}, refcheck=False)
            assert behind.min() == 1
        """
    )


@compiled
def test_arrays_of_unknown_length_are_collected():
    with reuse_memory():
        assert np.array_equal(np.fromiter(range(300_000), np.int64), np.arange(300_000))
        text = " ".join(map(str, range(50_000)))
        assert np.array_equal(np.fromstring(text, np.int64, sep=" "), np.arange(50_000))


@compiled
def test_arrays_outlive_the_context():
    before = memory_use().in_use
    with reuse_memory():
        a = np.arange(10**6)
    b = np.arange(10**6)
    assert memory_use().in_use > before
    assert np.array_equal(a, b)
    del a
    assert memory_use().in_use == before


@compiled
def test_no_memory_is_an_error_and_nothing_else():
    before = memory_use()
    with reuse_memory():
        for size in (1 << 60, (1 << 63) - 1):
            for make in (np.empty, np.zeros):
                with pytest.raises(MemoryError):
                    make(size, np.uint8)
        a = np.arange(10**5)
        with pytest.raises(MemoryError):
            a.resize(1 << 60, refcheck=False)
        assert np.array_equal(a, np.arange(10**5))
        del a
    assert memory_use().in_use == before.in_use


class Stress:
    """Arrays made, changed and freed at random, each filled with a number of its own."""

    def __init__(self, seed):
        self.rng = np.random.default_rng(seed)
        self.held = []
        self.next = seed

    def step(self):
        kind = self.rng.choice(["empty", "zeros", "resize", "free", "free", "copy"])
        size = int(2 ** self.rng.uniform(10, 22))
        if kind in ("empty", "zeros"):
            a = getattr(np, kind)(size, np.uint8)
            assert kind == "empty" or not a.any()
            self.hold(a)
        elif self.held:
            k = self.rng.integers(len(self.held))
            a, value = self.held[k]
            assert np.all(a == value)
            del self.held[k]
            if kind == "resize":
                kept = min(size, len(a))
                a.resize(size, refcheck=False)
                assert np.all(a[:kept] == value)
                self.hold(a)
            elif kind == "copy":
                self.hold(a.copy())

    def hold(self, a):
        self.next = (self.next + 1) % 256
        a[...] = self.next
        self.held.append((a, self.next))

    def run(self, steps):
        with reuse_memory():
            for _ in range(steps):
                self.step()
        assert all(np.all(a == value) for a, value in self.held)


@compiled
@pytest.mark.parametrize("seed", range(3))
def test_contents_under_stress(seed):
    Stress(seed).run(1500)


@compiled
def test_contents_under_stress_from_many_threads():
    failures = []

    def work(seed):
        try:
            Stress(seed).run(400)
        except BaseException as error:
            failures.append(error)

    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(0, 256, 32)]
    for thread in threads:
        thread.start()
    for _ in range(20):
        release_memory()
        memory_use()
    for thread in threads:
        thread.join()
    assert not failures


@compiled
def test_kernels_take_scratch_while_other_threads_take_arrays():
    # kernels run without the interpreter's lock: here the pool's own is all that keeps threads apart
    program = """
        hg.set_threads(1)
        conv = hg.layers.Conv2D(64, 3, padding="same")
        conv.build((8, 8, 64))
        x = hg.rng.Stream((1,)).normal((1, 8, 8, 64))
        expected = conv.forward(x, hg.Run())[0]
        wrong = []
        def work():
            with reuse_memory():
                for _ in range(1500):
                    y = conv.forward(x, hg.Run())[0]
                    wrong.extend([1] * (not np.array_equal(y, expected)))
                    a = np.full(100_000, 3, np.uint8)
                    release_memory()
                    wrong.extend([2] * bool((a != 3).any()))
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads: thread.start()
        for thread in threads: thread.join()
        del thread, threads
        print(wrong, memory_use().in_use)
    """
    assert run(program) == "[] 0\n"


@compiled
def test_an_array_can_be_freed_in_another_thread():
    before = memory_use().in_use
    with reuse_memory():
        held = [np.ones(PAGE) for _ in range(4)]
    thread = threading.Thread(target=held.clear)
    thread.start()
    thread.join()
    assert memory_use().in_use == before


# bounds


@compiled
def test_memory_is_used_again():
    with reuse_memory():
        x = np.ones(PAGE)
        addresses = {(x + 1).ctypes.data for _ in range(10)}
    assert len(addresses) == 1


@compiled
def test_neighbours_do_not_begin_at_the_same_place_of_a_page():
    with reuse_memory():
        places = {a.ctypes.data % 4096 for a in [np.empty(PAGE) for _ in range(4)]}
    assert len(places) == 4


@compiled
def test_released_memory_is_gone():
    program = f"""
        with reuse_memory():
            keep = np.ones({PAGE})
            np.ones(20 * {PAGE})
            print(memory_use().kept > 100 * {PAGE})
            release_memory()
            print(memory_use().kept <= 2 * {PAGE}, keep.sum())  # the rest of the pages that `keep` lies on
    """
    assert run(program) == f"True\nTrue {PAGE}.0\n"


def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@compiled
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
def test_the_system_has_what_is_released():
    release_memory()
    before = resident()
    with reuse_memory():
        a = np.ones(100 * PAGE, np.uint8)
        assert resident() - before > 90 * PAGE
        del a
        assert resident() - before > 90 * PAGE
        release_memory()
    assert resident() - before < 10 * PAGE


@compiled
def test_a_step_that_is_repeated_needs_no_more_memory_each_time():
    model = hg.models.small_cnn((16, 16, 3), 10, width=16)
    trainer = hg.Trainer(model, "cross_entropy", "adam")
    x = hg.rng.Stream((1,)).normal((32, 16, 16, 3))
    y = hg.rng.Stream((2,)).integers(0, 10, (32,))
    held = []
    for _ in range(6):
        trainer.train_step(x, y)
        gc.collect()
        use = memory_use()
        held.append((use.in_use, use.in_use + use.kept))
    assert held[2:] == [held[2]] * 4
    del trainer, model


@compiled
def test_what_is_kept_follows_what_was_lately_used():
    release_memory()
    with reuse_memory():
        np.empty(200 * PAGE, np.uint8)
        assert memory_use().kept >= 200 * PAGE
        for _ in range(3000):
            np.empty(10 * PAGE, np.uint8)
        use = memory_use()
    assert use.kept <= use.in_use + 10 * PAGE * 17 / 16 + SPARE + 4 * PAGE


@compiled
@pytest.mark.parametrize("freed", [0, -1], ids=["from the first on", "from the last on"])
def test_other_sizes_take_the_place_of_those_freed(freed):
    program = f"""
        with reuse_memory():
            for sizes in ([16] * 8, [64, 64], [1] * 128, [5] * 25):
                blocks = [np.empty(n * {PAGE} - {POOLED}, np.uint8) for n in sizes]
                use = memory_use()
                print(use.in_use + use.kept <= 130 * {PAGE})
                while blocks: del blocks[{freed}]
    """
    assert run(program) == "True\n" * 4


@compiled
def test_a_fit_ends_with_nothing_kept():
    program = f"""
        x = hg.rng.Stream((1,)).normal((64, 28, 28, 8))
        chain = [hg.layers.ReLU(), hg.layers.Flatten(), hg.layers.Dense(2)]
        model = hg.Sequential(chain, input_shape=(28, 28, 8))
        hg.Trainer(model, "cross_entropy").fit(x, np.zeros(64, int), batch_size=64)
        print(memory_use().peak > x.nbytes, memory_use().kept <= 2 * {PAGE})
    """
    assert run(program) == "True True\n"


# processes


@compiled
@pytest.mark.parametrize("end", ["", "sys.exit(3)", "os._exit(3)", "reuse.__exit__(None, None, None)"])
def test_a_process_may_end_while_arrays_are_alive(end):
    program = """
        reuse = reuse_memory()
        reuse.__enter__()
        class Holder: pass
        holder = Holder()
        holder.me, holder.a = holder, np.ones(10**6)
        sys.held = [np.ones(10**6) for _ in range(10)]
        threading.Thread(target=lambda: threading.Event().wait(), daemon=True).start()
    """
    run(textwrap.dedent(program) + end, expect=3 if "3" in end else 0)


@compiled
@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_has_the_arrays_and_a_pool_of_its_own():
    program = """
        stop = threading.Event()
        def churn():
            with reuse_memory():
                while not stop.is_set():
                    a = np.ones(4_000_000, np.uint8)
                    del a
                    release_memory()
        threads = [threading.Thread(target=churn) for _ in range(2)]
        with reuse_memory():
            a = np.full(10**6, 7.0)
        for thread in threads: thread.start()
        for i in range(300):  # often enough that a thread is at work in the pool
            pid = os.fork()
            if pid == 0:
                with reuse_memory():
                    b = np.full(10**5, float(i))
                    a[:10**5] += b
                    release_memory()
                os._exit(0 if a.sum() == 7e6 + i * 1e5 else 1)
            assert os.waitpid(pid, 0)[1] == 0
        stop.set()
        for thread in threads: thread.join()
        print(a.min(), a.max())
    """
    assert run(program) == "7.0 7.0\n"


@compiled
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="other systems do not limit addresses")
@pytest.mark.skipif("asan" in os.environ.get("LD_PRELOAD", ""), reason="AddressSanitizer takes more")
@pytest.mark.parametrize("gigabytes", [1, 4])
def test_with_few_addresses_the_pool_is_small_and_numpys_memory_serves_the_rest(gigabytes):
    program = f"""
        import resource
        now = int(open("/proc/self/statm").read().split()[0]) * 4096
        resource.setrlimit(resource.RLIMIT_AS, (now + ({gigabytes} << 30),) * 2)
        with reuse_memory():
            arrays = [np.full(50_000_000, i, np.uint8) for i in range(14)]
            print(all((a == i).all() for i, a in enumerate(arrays)), memory_use().in_use > 0)
    """
    assert run(program) == "True True\n"


@compiled
def test_tracemalloc_counts_the_arrays():
    program = """
        import tracemalloc
        tracemalloc.start()
        with reuse_memory():
            a = np.ones(10**6)
        held = tracemalloc.get_traced_memory()[0]
        del a
        print(held > 8e6, tracemalloc.get_traced_memory()[0] < 1e6)
    """
    assert run(program) == "True True\n"


def test_use_is_told_by_names():
    assert MemoryUse._fields == ("in_use", "kept", "peak")
