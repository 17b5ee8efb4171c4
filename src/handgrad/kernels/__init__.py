"""The functions that compute, apart from the layers that call them."""

from handgrad.kernels.protocol import Kernels
from handgrad.kernels.select import default_kernels, select_kernels

__all__ = ["Kernels", "default_kernels", "select_kernels"]
