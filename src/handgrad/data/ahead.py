"""Work that is done ahead of who needs it."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import TypeVar

Result = TypeVar("Result")


def ahead(calls: Iterable[Callable[[], Result]], n: int) -> Generator[Result, None, None]:
    """Yield what functions return, in order, while up to `n` of those that follow are called in a thread.

    Parameters
    ----------
    calls : iterable of functions
        They are called one at a time. What one raises is raised where its result would have been yielded.
    n : int
        How far ahead; with 0 there is no thread.

    Notes
    -----
    The thread begins with the first result and ends with the generator, be it at its end, by an error, or
    when it is closed; which waits for the call that is running. It has a copy of the context, and so what is
    set there: NumPy's error handling and, within `handgrad.kernels.reuse_memory`, the pool as its memory,
    which arrays may outlive. A process that forks here has no such thread: there the calls are made, again if
    need be, when their results are asked for.
    """
    if n == 0:
        for call in calls:
            yield call()
        return
    context, process = copy_context(), os.getpid()
    thread = ThreadPoolExecutor(1, thread_name_prefix="handgrad-ahead")
    begun: deque[Callable[[], Result]] = deque()

    def begin(call: Callable[[], Result]) -> Callable[[], Result]:
        if os.getpid() != process:
            return call
        result = thread.submit(context.run, call).result
        return lambda: result() if os.getpid() == process else call()

    try:
        for call in calls:
            begun.append(begin(call))
            if len(begun) > n:
                yield begun.popleft()()
        while begun:
            yield begun.popleft()()
    finally:
        if os.getpid() == process:
            thread.shutdown(cancel_futures=True)
