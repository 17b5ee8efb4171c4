"""What Ctrl-C may not cut in two."""

from __future__ import annotations

# What `signal` wraps: without its names for numbers this takes 3 us of a step, not 60.
import _signal  # type: ignore[import-not-found]
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_HELD = int(signal.SIGINT), int(signal.SIGTERM)


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Hold Ctrl-C, and a SIGTERM that Python handles, back until the block is done; then let it act.

    For blocks that are short and leave things inconsistent in their middle. Outside the main thread, which
    alone handles signals, there is nothing to hold back.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    came: list[tuple[int, FrameType | None]] = []
    before = {number: handler for number in _HELD if callable(handler := _signal.getsignal(number))}
    for number in before:
        _signal.signal(number, lambda *signalled: came.append(signalled))
    try:
        yield
    finally:
        for number, handler in before.items():
            _signal.signal(number, handler)
        for number, frame in came[:1]:
            before[number](number, frame)
