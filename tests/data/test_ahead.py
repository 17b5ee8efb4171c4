"""Work done ahead in a thread: the same results and the same errors, and no thread that stays."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import threading
import time
import traceback
from contextvars import ContextVar
from functools import partial

import numpy as np
import pytest

from handgrad.data import ArrayDataset, Compose, Loader, RandomCrop, RandomFlip
from handgrad.data.ahead import ahead
from handgrad.errors import ArgumentError
from handgrad.kernels import extension, memory_use, release_memory, reuse_memory


@pytest.fixture(autouse=True)
def no_thread_stays():
    before = threading.active_count()
    yield
    assert threading.active_count() == before


def numbers(n, seen=None):
    def call(i):
        if seen is not None:
            seen.append(i)
        return i

    return (partial(call, i) for i in range(n))


def wait_until(condition):
    for _ in range(1000):
        if condition():
            return
        time.sleep(0.005)
    raise AssertionError("it did not come to that")


@pytest.mark.parametrize("n", [0, 1, 2, 5, 100])
@pytest.mark.parametrize("length", [0, 1, 2, 7])
def test_results_come_in_order(n, length):
    assert list(ahead(numbers(length), n)) == list(range(length))


@pytest.mark.parametrize("n", [1, 3])
def test_so_many_are_made_ahead_and_no_more(n):
    seen = []
    results = ahead(numbers(10, seen), n)
    assert seen == []
    assert next(results) == 0
    wait_until(lambda: len(seen) == n + 1)
    time.sleep(0.05)
    assert seen == list(range(n + 1))
    assert next(results) == 1
    wait_until(lambda: len(seen) == n + 2)
    results.close()


def test_with_none_ahead_there_is_no_thread():
    seen = []
    results = ahead((lambda: seen.append(threading.current_thread()) for _ in range(2)), 0)
    next(results)
    assert seen == [threading.main_thread()]
    results.close()


def test_one_thread_makes_all_and_never_two_at_once():
    threads, running = set(), []

    def call():
        running.append(1)
        assert len(running) == 1
        time.sleep(0.002)
        threads.add(threading.current_thread())
        running.pop()

    list(ahead((call for _ in range(20)), 4))
    assert len(threads) == 1
    assert threading.main_thread() not in threads


def broken():
    raise KeyError("here")


@pytest.mark.parametrize("n", [0, 1, 3])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_an_error_comes_in_its_place_with_its_type_and_its_traceback(n, at):
    calls = [*numbers(5)]
    calls[at] = broken
    results, got = ahead(calls, n), []
    with pytest.raises(KeyError, match="here") as error:
        got.extend(results)
    assert got == list(range(at))
    assert [frame.name for frame in traceback.extract_tb(error.value.__traceback__)][-1] == "broken"


def test_an_error_that_nobody_asks_for_is_not_raised():
    results = ahead([lambda: 0, broken], 1)
    assert next(results) == 0
    results.close()


def test_closing_waits_for_the_call_that_runs_and_begins_no_other():
    seen, begun = [], threading.Event()

    def slow():
        begun.set()
        time.sleep(0.1)
        seen.append("slow")

    results = ahead([lambda: 0, slow, lambda: seen.append("next")], 2)
    next(results)
    begun.wait()
    results.close()
    assert seen == ["slow"]


def test_a_loop_that_is_left_ends_the_thread():
    before = threading.active_count()
    for result in ahead(numbers(10), 2):
        assert threading.active_count() == before + 1
        if result == 3:
            break
    assert threading.active_count() == before
    with contextlib.suppress(ZeroDivisionError):
        for _ in ahead(numbers(10), 2):
            1 / 0  # noqa: B018 (raises)
    assert threading.active_count() == before


def test_one_that_is_forgotten_ends_its_thread():
    results = ahead(numbers(10), 1)
    next(results)
    del results
    gc.collect()


def test_ctrl_c_while_waiting_is_raised_at_once_and_ends_the_thread():
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)

    def interrupt():
        time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)

    try:
        with pytest.raises(KeyboardInterrupt):
            list(ahead([interrupt, interrupt], 1))
    finally:
        signal.signal(signal.SIGINT, handler)


def test_calls_have_the_context_of_who_asked_first():
    setting = ContextVar("setting", default="none")
    setting.set("mine")
    with np.errstate(divide="raise"), pytest.raises(FloatingPointError):
        list(ahead([lambda: np.ones(1) / 0], 1))
    assert list(ahead([setting.get, lambda: setting.set("its own"), setting.get], 1))[::2] == [
        "mine",
        "its own",
    ]
    assert setting.get() == "mine"


@pytest.mark.skipif(extension.load().module is None, reason="without compiled kernels there is no pool")
@pytest.mark.parametrize("n", [0, 1])
def test_arrays_come_from_the_pool_where_it_is_in_use_and_outlive_it(n):
    before = memory_use().in_use
    with reuse_memory():
        arrays = list(ahead([partial(np.ones, 1 << 20), partial(np.ones, 1 << 20)], n))
    assert memory_use().in_use - before >= 16 << 20
    release_memory()
    assert all(array.sum() == 1 << 20 for array in arrays)
    del arrays
    assert memory_use().in_use == before
    arrays = list(ahead([partial(np.ones, 1 << 20)], n))
    assert memory_use().in_use == before
    assert len(arrays) == 1


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")  # of threads, from Python 3.12 on
def test_a_process_that_forks_goes_on_without_the_thread():
    """The call that ran then is made again by the child, and nothing waits for a thread that it has not."""
    running, go_on = threading.Event(), threading.Event()
    parent = os.getpid()

    def slow():
        running.set()
        if os.getpid() == parent:
            go_on.wait()
        return 1

    results = ahead([lambda: 0, slow, *list(numbers(5))[2:]], 1)
    assert next(results) == 0
    running.wait()
    child = os.fork()
    if child == 0:
        rest = list(results)
        os._exit(0 if rest == [1, 2, 3, 4] else 1)
    go_on.set()
    assert list(results) == [1, 2, 3, 4]
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


IMAGES = ArrayDataset(np.arange(10 * 36.0).reshape(10, 6, 6, 1), np.arange(10))


@pytest.mark.parametrize("prefetch", [1, 2, 7])
@pytest.mark.parametrize("start", [0, 2, 4])
def test_batches_are_those_without_a_thread(prefetch, start):
    options = {"transform": Compose([RandomCrop(2), RandomFlip()])}
    batches = list(Loader(IMAGES, 3, prefetch=prefetch, **options).epoch(1, start))
    wanted = list(Loader(IMAGES, 3, **options).epoch(1, start))
    assert len(batches) == len(wanted) == 4 - start
    for (x, y), (x_wanted, y_wanted) in zip(batches, wanted, strict=True):
        np.testing.assert_array_equal(x, x_wanted)
        np.testing.assert_array_equal(y, y_wanted)


def test_one_batch_is_made_without_a_thread():
    seen = []

    def spy(x, rng):
        seen.append(threading.current_thread())
        return x

    Loader(IMAGES, 3, prefetch=2, transform=spy).batch(0, 1)
    assert seen == [threading.main_thread()]


@pytest.mark.parametrize("prefetch", [-1, 1.0, True, None])
def test_a_prefetch_that_means_nothing_is_refused(prefetch):
    with pytest.raises(ArgumentError) as error:
        Loader(IMAGES, 3, prefetch=prefetch)
    assert str(error.value) == f"prefetch: expected an int of at least 0, got {prefetch!r}"
