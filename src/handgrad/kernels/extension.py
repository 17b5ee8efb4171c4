"""The extension module with the compiled kernels: loaded when it is first needed, or why it is not there."""

from __future__ import annotations

import importlib.util
import os
import warnings
from functools import cache
from typing import Any, NamedTuple

from handgrad.errors import ArgumentError
from handgrad.typing import is_integer

NAME = "handgrad.kernels.cpu._kernels"
MOST_THREADS = 1024
"""Of csrc/thread_pool.cc, too: more than any machine has CPUs."""


class Extension(NamedTuple):
    """The module, or None and why.

    Parameters
    ----------
    module : module or None
        ``handgrad.kernels.cpu._kernels``.
    problem : str
        Why there is none.
    broken : bool
        Whether it is there, but cannot be loaded.
    """

    module: Any
    problem: str = ""
    broken: bool = False


@cache
def load() -> Extension:
    """Return the extension module, with as many threads as ``HANDGRAD_THREADS`` says.

    Raises
    ------
    ArgumentError
        If ``HANDGRAD_THREADS`` is no number of threads.
    """
    if importlib.util.find_spec(NAME) is None:
        return Extension(None, "handgrad was installed without them")
    try:
        module = importlib.import_module(NAME)
    except ImportError as error:
        warnings.warn(
            f"the compiled kernels cannot be loaded ({error}), so the slower reference kernels run",
            RuntimeWarning,
            stacklevel=2,
        )
        return Extension(None, str(error), broken=True)
    if named := os.environ.get("HANDGRAD_THREADS"):
        module.set_threads(thread_count("HANDGRAD_THREADS", int(named) if named.isdecimal() else named))
    if hasattr(os, "register_at_fork"):  # not on Windows
        os.register_at_fork(before=module.end_threads)
    return Extension(module)


def thread_count(where: str, n: Any) -> int:
    """Return `n`; raise ArgumentError unless it is a number of threads."""
    if not (is_integer(n) and 1 <= n <= MOST_THREADS):
        raise ArgumentError(where, expected=f"a whole number from 1 to {MOST_THREADS}", got=repr(n))
    return int(n)
