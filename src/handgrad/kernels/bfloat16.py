"""Tables that store activations in bfloat16.

A number of bfloat16 is the upper half of a float32: it has the same range, and 8 bits of precision.
Activations and their gradients are stored in it, which halves their memory and the bytes that are moved.
Sums are taken in float32 or float64, and what is stored is rounded once, to the nearest. Parameters and what
is summed over a batch stay float32 or float64. Products are of float32, but for processors that multiply
bfloat16 (the instruction sets ``"amx"`` and ``"avx512bf16"``): there parameters are rounded as they are
multiplied, or packed.

- Products (`conv2d`, `dense`, `simple_rnn`, and the gradients of their inputs) take activations of float32 or
  bfloat16 and return bfloat16.
- Gradients of parameters (``conv2d_backward_weight``, `bias_backward`, dgamma, ...) are float32.
- Statistics and the values of losses are float64.
- The updates and what is asked of gradients are those of float32.
- Filters of float32 are packed for images of bfloat16.
- All other kernels return activations of the dtype that they were given.

Where a call has activations in bfloat16, or is a product, those in float32 are rounded first. Other dtypes
are computed as in the table that this one is made of.
"""

from __future__ import annotations

from dataclasses import fields
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from handgrad.errors import MissingExtraError
from handgrad.kernels.protocol import Kernel, Kernels
from handgrad.typing import Array, is_bfloat16


class Roles(NamedTuple):
    """Which arguments and results of a kernel are activations, or their gradients.

    Parameters
    ----------
    arguments, results : tuple of int
        Their positions.
    product : bool
        Whether the kernel, of float32 alone, computes in bfloat16 as well: what begins a network in it.
    """

    arguments: tuple[int, ...] = (0,)
    results: tuple[int, ...] = (0,)
    product: bool = False


_PRODUCT, _OF_PARAMETERS = Roles(product=True), Roles((0, 1), (), product=True)
_BACKWARD, _FUSED_BACKWARD = Roles((0, 1)), Roles((0, 1, 2), (0, 3))
_LOSS = Roles((0,), (1,))
_ROLES = {
    "conv2d": _PRODUCT,
    "conv2d_backward_input": Roles((0, 5), product=True),
    "conv2d_backward_weight": _OF_PARAMETERS,
    "conv2d_statistics": _PRODUCT,
    "batch_norm_relu_conv2d": _PRODUCT,
    "batch_norm_relu_conv2d_statistics": _PRODUCT,
    "batch_norm_relu_conv2d_backward_weight": _OF_PARAMETERS,
    "conv2d_packed": Roles((0, 5), product=True),
    "dense": _PRODUCT,
    "dense_backward_input": _PRODUCT,
    "dense_backward_weight": _OF_PARAMETERS,
    "bias_backward": Roles((0,), ()),
    "batch_norm_statistics": Roles((0,), ()),
    "batch_norm_backward": _BACKWARD,
    "batch_norm_backward_constant": _BACKWARD,
    "batch_norm_relu": Roles((0, 5)),
    "batch_norm_relu_backward": _FUSED_BACKWARD,
    "batch_norm_relu_backward_constant": _FUSED_BACKWARD,
    "simple_rnn": _PRODUCT,
    "simple_rnn_backward": Roles((0, 1, 2), (0,), product=True),
    "add": Roles((0, 1)),
    "softmax_cross_entropy": _LOSS,
    "binary_cross_entropy": _LOSS,
    "mean_squared_error": _LOSS,
}
"""Of the kernels for which they are not what `_roles` returns."""

_FLOAT32 = frozenset(
    {"sgd", "adagrad", "adadelta", "rmsprop", "adam", "muon", "all_finite", "sum_of_squares"}
)
_GRADIENT_ALONE = ("pool2d_backward", "pad2d_backward", "upsample2d_backward", "dropout_backward")


def _roles(name: str) -> Roles:
    """Return a kernel's roles: of a backward dy, and the x or y that its derivative is a function of."""
    if name in _ROLES:
        return _ROLES[name]
    return _BACKWARD if name.endswith("_backward") and not name.endswith(_GRADIENT_ALONE) else Roles()


class InBFloat16:
    """A kernel of which activations are stored in bfloat16.

    Parameters
    ----------
    name : str
        Of the kernel.
    kernel : callable
        The one that computes in float32. If it ``takes_bfloat16`` it is given that, and returns it; else what
        comes is widened, and what it returns is rounded, here.
    """

    def __init__(self, name: str, kernel: Kernel) -> None:
        self.__name__, self.__module__ = name, kernel.__module__
        self.kernel = kernel
        self.roles = _roles(name)
        self.takes_bfloat16: bool = getattr(kernel, "takes_bfloat16", False)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Compute as the module says."""
        arguments, results, product = self.roles
        activations = {i: args[i] for i in arguments if i < len(args) and args[i] is not None}
        narrow = [is_bfloat16(a) for a in activations.values()]
        wide = [type(a) is np.ndarray and a.dtype == np.float32 for a in activations.values()]
        if not (any(narrow) or (product and all(wide))):
            return self.kernel(*args, **kwargs)
        given = list(args)
        for i, a in activations.items():
            given[i] = rounded(a)
        if self.takes_bfloat16:
            return self.kernel(*given, **kwargs)
        for i in activations:
            given[i] = given[i].astype(np.float32)
        found = self.kernel(*given, **kwargs)
        if not isinstance(found, tuple):
            return rounded(found) if results else found
        return tuple(rounded(a) if i in results else a for i, a in enumerate(found))


def rounded(a: Array) -> Array:
    """Return `a` in bfloat16: the nearest number, of two as near the one whose last bit is 0."""
    from ml_dtypes import bfloat16

    with np.errstate(over="ignore", invalid="ignore"):  # infinity and NaN pass
        return a.astype(bfloat16, copy=False)


def bfloat16_kernels(table: Kernels) -> Kernels:
    """Return the table that computes by another one and stores activations in bfloat16.

    Raises
    ------
    MissingExtraError
        Without ``ml_dtypes``, which the extra ``bfloat16`` installs.
    """
    require()
    from ml_dtypes import bfloat16

    entries = {f.name: getattr(table, f.name) for f in fields(table)}
    stored = {name: k if name in _FLOAT32 else InBFloat16(name, k) for name, k in entries.items()}
    pack_filters = partial(table.pack_filters, dtype=bfloat16)
    pack_filters.__module__ = table.pack_filters.__module__
    return Kernels(**stored | {"pack_filters": pack_filters})


def require() -> None:
    """Raise MissingExtraError without ``ml_dtypes``, which gives NumPy the dtype."""
    try:
        import ml_dtypes  # noqa: F401
    except ImportError:
        raise MissingExtraError(
            "precision bfloat16",
            expected="ml_dtypes, which gives NumPy bfloat16",
            got="an installation without it",
            do="python -m pip install 'handgrad[bfloat16]'",
        ) from None
