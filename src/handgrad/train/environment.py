"""What the bits of a training run depend on besides its recipe and its data."""

from __future__ import annotations

import platform
from functools import cache
from importlib import metadata
from typing import Any

import numpy as np

from handgrad.kernels import Kernels, get_threads
from handgrad.kernels.select import name_of
from handgrad.typing import Config

_SAID = {"handgrad": "handgrad", "numpy": "NumPy", "machine": "a machine of", "kernels": "kernels"}


def environment(kernels: Kernels) -> Config:
    """Return what may round otherwise elsewhere: versions, machine, table of kernels, precision, threads.

    Of one machine, with all of this as it was, a resumed run ends bit for bit where the unbroken one ends,
    and a recipe makes the same model again.
    """
    name, precision = name_of(kernels)
    return {
        "handgrad": _version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "kernels": name,
        "precision": precision,
        "threads": get_threads(),
    }


def changed(before: Any, now: Config) -> list[str]:
    """Say what is another one than in a saved environment; of what that does not tell, nothing.

    Not of the precision, which is an argument: a trainer says that itself.
    """
    if not isinstance(before, dict):
        return []
    names = [name for name in now if name != "precision" and name in before and before[name] != now[name]]
    return [f"{_said(name, before[name])}, now {_said(name, now[name])}" for name in names]


def _said(name: str, value: object) -> str:
    if name == "threads":
        return f"{value} thread{'' if value == 1 else 's'}"
    return f"{_SAID[name]} {value}"


@cache
def _version() -> str:
    return metadata.version("handgrad")
