"""The machine that is measured on: how many threads, and how fast it can be at best."""

from __future__ import annotations

import os
import platform
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from handgrad.kernels import default_kernels, get_threads, set_threads, tables

CUBE = 1024
"""Rows and columns of the matrices that are multiplied to find the peak."""

COPIED = 1 << 27
"""Bytes of an array that is copied to find the bandwidth: more than any cache holds."""


def cpu_name() -> str:
    """Return how the processor calls itself."""
    info = Path("/proc/cpuinfo")
    names = (
        [line for line in info.read_text().splitlines() if line.startswith("model name")]
        if info.exists()
        else []
    )
    return names[0].partition(":")[2].strip() if names else platform.processor() or platform.machine()


def usable_threads() -> int:
    """Return how many threads kernels use: the compiled ones, or where there are none NumPy's products."""
    if "cpu" in tables():
        return get_threads()
    if os.environ.get("OMP_NUM_THREADS", "").isdigit():
        return int(os.environ["OMP_NUM_THREADS"])
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def use_threads(n: int) -> None:
    """Let compiled kernels, and PyTorch where it has been imported, share work among `n` threads."""
    set_threads(n)
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(n)


def peak_flops(repeats: int = 30) -> float:
    """Return the operations per second of the best product of float32 matrices, NumPy's or handgrad's."""
    a, b = (np.ones((CUBE, CUBE), np.float32) for _ in range(2))
    dense = default_kernels().dense
    products: list[Callable[[], object]] = [lambda: a @ b, lambda: dense(a, b, None)]
    return 2 * CUBE**3 / min(_shortest(f, repeats) for f in products)


def copy_bandwidth(threads: int, repeats: int = 15) -> float:
    """Return the bytes per second, read and written, of a copy that is larger than the caches."""
    source, target = (np.ones((threads, COPIED // threads), np.uint8) for _ in range(2))
    with ThreadPoolExecutor(threads) as pool:
        seconds = _shortest(lambda: list(pool.map(np.copyto, target, source)), repeats)
    return 2 * source.nbytes / seconds


def _shortest(f: Callable[[], object], repeats: int) -> float:
    f()
    seconds = []
    for _ in range(repeats):
        begun = time.perf_counter()
        f()
        seconds.append(time.perf_counter() - begun)
    return min(seconds)
