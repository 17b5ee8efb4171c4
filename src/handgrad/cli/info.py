"""``handgrad info``."""

from __future__ import annotations

import os
import platform
from importlib import metadata
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from handgrad.kernels import Kernels

EXTRAS = (("images", "pillow"), ("plot", "matplotlib"), ("bfloat16", "ml_dtypes"))


@click.command(short_help="Show the version, the kernels and the threads.")
def info() -> None:
    """Show the version, which kernels run and why, where each comes from, and the threads."""
    import numpy as np

    import handgrad
    from handgrad.kernels import default_kernels

    kernels = default_kernels()
    print(f"handgrad {handgrad.__version__}  {os.path.dirname(handgrad.__file__)}")  # noqa: PTH120
    print(f"python   {platform.python_version()}  {platform.platform()}")
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    print(f"numpy    {np.__version__}  BLAS: {blas.get('name', 'unknown')} {blas.get('version', '')}")
    for extra, package in EXTRAS:
        try:
            found = metadata.version(package)
        except metadata.PackageNotFoundError:
            found = f"not installed: python -m pip install 'handgrad[{extra}]'"
        print(f"extra    {extra}: {package} {found}")
    print(f"kernels  {_which(kernels)}")
    print(f"compiled {_compiled()}")
    print(f"threads  {_threads(kernels)}")
    print("\nwhere each kernel comes from")
    for family, origin in _families(kernels).items():
        print(f"  {family:11}{origin}")


def _which(kernels: Kernels) -> str:
    """Return the name of the table that runs, and why it does."""
    from handgrad.kernels import tables

    names = [name for name, table in tables().items() if table is kernels]
    name = names[-1]  # "avx512" rather than "cpu"
    if forced := os.environ.get("HANDGRAD_KERNELS"):
        return f"{name}, because HANDGRAD_KERNELS is {forced}"
    return (
        f"{name}, the fastest that this machine runs" if len(tables()) > 1 else f"{name}, the only ones here"
    )


def _compiled() -> str:
    """Return for which instruction sets there are kernels, and which of them the machine has."""
    from handgrad.kernels.extension import load

    extension = load()
    if extension.module is None:
        return f"broken: {extension.problem}" if extension.broken else f"none: {extension.problem}"
    runs = [table.name for table in extension.module.tables()]
    lacks = [name for name in extension.module.instruction_sets if name not in runs]
    return f"for {', '.join(runs)}" + (f"; this machine lacks {', '.join(lacks)}" if lacks else "")


def _threads(kernels: Kernels) -> str:
    """Return how many threads compute, and what decided that."""
    from handgrad.kernels import get_threads, select_kernels
    from handgrad.kernels.extension import load

    module = load().module
    if kernels is select_kernels("reference"):
        return f"only in matrix products: {_blas_threads()}"
    if named := os.environ.get("HANDGRAD_THREADS"):
        return f"{get_threads()}, because HANDGRAD_THREADS is {named}"
    n, usable, named = get_threads(), module.usable_cpus(), os.environ.get("OMP_NUM_THREADS")
    return f"{n}, because OMP_NUM_THREADS is {named}" if named and n < usable else f"{n}, {_limit(usable)}"


def _limit(usable: int) -> str:
    """Return what leaves this process so many CPUs."""
    total = os.cpu_count() or usable
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else total
    if usable < allowed:
        return f"the CPUs that the cgroup's quota leaves of {allowed}"
    return f"the CPUs that this process may use of {total}" if usable < total else "all CPUs of this machine"


def _blas_threads() -> str:
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if name in os.environ:
            return f"{os.environ[name]} ({name})"
    return "as many as NumPy takes (set OMP_NUM_THREADS to limit them)"


def _families(kernels: Kernels) -> dict[str, str]:
    """Return for every family of kernels what it comes from, and what of it comes from elsewhere."""
    from handgrad.kernels.reference import REFERENCE

    origins = kernels.origins()
    families: dict[str, dict[str, list[str]]] = {}
    for name, module in REFERENCE.origins().items():
        sources = families.setdefault(module.rpartition(".")[2], {})
        sources.setdefault(origins[name].rpartition(".")[0], []).append(name)
    return {family: _sources(sources) for family, sources in families.items()}


def _sources(sources: dict[str, list[str]]) -> str:
    most = max(sources, key=lambda source: len(sources[source]))
    rest = [f"{', '.join(names)}: {source}" for source, names in sources.items() if source != most]
    return most + (f" ({'; '.join(rest)})" if rest else "")
