"""How many threads the compiled kernels share their work among."""

from __future__ import annotations

from handgrad.kernels.extension import load, thread_count


def get_threads() -> int:
    """Return how many threads the compiled kernels use at most.

    Returns
    -------
    int
        What `set_threads` said, else what ``HANDGRAD_THREADS`` says, else the CPUs that this process may use
        (its affinity, and its cgroup's quota), but not more than ``OMP_NUM_THREADS``. 1 where handgrad is
        installed without compiled kernels.
    """
    module = load().module
    return 1 if module is None else int(module.threads())


def set_threads(n: int) -> None:
    """Set how many threads the compiled kernels use at most, in all of the process.

    Small inputs are computed by fewer. Results of training may differ in the last bits between numbers of
    threads, and are the same, bit for bit, with the same number.

    Parameters
    ----------
    n : int
        From 1 to 1024. More than there are CPUs is slower.

    Raises
    ------
    ArgumentError
        If `n` is no such number.

    Notes
    -----
    Without compiled kernels there is nothing to set: the call checks `n` and does nothing else. The matrix
    products of the reference kernels are those of NumPy, and ``OMP_NUM_THREADS`` limits their threads.

    The threads are handgrad's own. One without work spins for 400 µs, then sleeps, and a
    kernel waits for no thread that another program keeps from its CPU. They serve one kernel at a time: where
    several Python threads compute at once, the others' kernels run on the thread that called them. Other
    libraries in the process have pools of their own, which this does not set: NumPy's matrix library, or
    PyTorch.

    After a fork, and so in a forked worker of `multiprocessing`, kernels run on threads of the child's
    own, as many as in the parent: with several workers, call ``set_threads(1)`` in each.

    Examples
    --------
    >>> import handgrad as hg
    >>> before = hg.get_threads()
    >>> hg.set_threads(1)
    >>> hg.get_threads()
    1
    >>> hg.set_threads(before)
    """
    n = thread_count("set_threads", n)
    if (module := load().module) is not None:
        module.set_threads(n)
