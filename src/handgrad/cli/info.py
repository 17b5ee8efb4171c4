"""``handgrad info``."""

from __future__ import annotations

import os
import platform
from importlib import metadata


def info() -> None:
    """Show the version, the kernels in use and where each comes from, and the threads."""
    import numpy as np

    import handgrad
    from handgrad.kernels import default_kernels

    print(f"handgrad {handgrad.__version__}  {os.path.dirname(handgrad.__file__)}")  # noqa: PTH120
    print(f"python   {platform.python_version()}  {platform.platform()}")
    blas = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    print(f"numpy    {np.__version__}  BLAS: {blas.get('name', 'unknown')} {blas.get('version', '')}")
    print(f"threads  {_cpus()} CPUs for this process; {_blas_threads()}")
    for extra, module in (("plot", "matplotlib"),):
        try:
            found = metadata.version(module)
        except metadata.PackageNotFoundError:
            found = f"not installed: python -m pip install 'handgrad[{extra}]'"
        print(f"extra    {extra}: {module} {found}")
    print("\nkernels")
    modules: dict[str, list[str]] = {}
    for name, module in default_kernels().origins().items():
        modules.setdefault(module, []).append(name)
    for module, names in modules.items():
        print(f"  {module}")
        print(f"    {', '.join(names)}")


def _cpus() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _blas_threads() -> str:
    """Return what limits the threads of matrix products, the only ones there are."""
    for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
        if name in os.environ:
            return f"matrix products use {os.environ[name]} ({name})"
    return "matrix products use as many (set OMP_NUM_THREADS to limit them)"
