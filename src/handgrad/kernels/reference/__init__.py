"""The mathematics: one file per family, each function beside its formula."""

from handgrad.kernels.protocol import Kernels
from handgrad.kernels.reference import activation, conv, dense, loss, norm, pool, recurrent, resize, update

REFERENCE = Kernels(
    **{
        name: getattr(module, name)
        for module in (activation, conv, dense, loss, norm, pool, recurrent, resize, update)
        for name in module.__all__
    }
)

__all__ = ["REFERENCE"]
