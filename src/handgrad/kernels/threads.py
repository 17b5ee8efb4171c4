"""How many threads the compiled kernels share their work among."""

from __future__ import annotations

from handgrad.kernels.extension import load, thread_count


def get_threads() -> int:
    """Return how many threads the compiled kernels use at most.

    Returns
    -------
    int
        What `set_threads` said, or ``HANDGRAD_THREADS``, or ``OMP_NUM_THREADS`` where that is less than the CPUs
        that this process may use (its affinity, and its cgroup's quota), or else these CPUs. 1 where handgrad is
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
    products of the reference kernels are NumPy's, whose threads ``OMP_NUM_THREADS`` limits, before Python starts.

    The threads belong to the OpenMP runtime that handgrad was compiled with. Other libraries in the process have
    pools of their own, which this does not set: NumPy's matrix library, or PyTorch. Where two of them work in turns,
    threads that have nothing to do keep turning for a moment, and can slow the other down.

    After ``os.fork`` or in a `multiprocessing` worker that was forked, kernels run on threads of the child's own, as
    many as in the parent: with several workers, call ``set_threads(1)`` in each.

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
