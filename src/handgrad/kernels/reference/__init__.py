"""The mathematics: one file per family, each function beside its formula."""

from handgrad.kernels.contracts import Checked
from handgrad.kernels.protocol import Kernels
from handgrad.kernels.reference import (
    activation,
    conv,
    dense,
    dropout,
    fused,
    gradient,
    group_norm,
    loss,
    merge,
    muon,
    norm,
    packed,
    pool,
    recurrent,
    resize,
    update,
)

_FAMILIES = (
    activation,
    conv,
    dense,
    dropout,
    fused,
    gradient,
    group_norm,
    loss,
    merge,
    muon,
    norm,
    packed,
    pool,
    recurrent,
    resize,
    update,
)

REFERENCE = Kernels(
    **{name: Checked(getattr(module, name)) for module in _FAMILIES for name in module.__all__}
)

__all__ = ["REFERENCE"]
