"""The functions that compute, apart from the layers that call them."""

from handgrad.kernels.memory import MemoryUse, memory_use, release_memory, reuse_memory
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.select import default_kernels, select_kernels, tables
from handgrad.kernels.threads import get_threads, set_threads

__all__ = [
    "Kernels",
    "MemoryUse",
    "default_kernels",
    "get_threads",
    "memory_use",
    "release_memory",
    "reuse_memory",
    "select_kernels",
    "set_threads",
    "tables",
]
