"""Batch normalizations of other libraries: their momentum, parameters and statistics, both ways.

What differs between libraries is not the formula but what surrounds it: which of two weights "momentum" is,
which estimate of the variance is kept, epsilon. A layer from one of these functions computes what theirs
does, and trains on as it would.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from handgrad.arguments import check_number, unmasked
from handgrad.errors import ArgumentError, BuildError
from handgrad.layers import BatchNormalization, Init, Parameter
from handgrad.typing import Array

TORCH = {"scale": "weight", "center": "bias", "mean": "running_mean", "var": "running_var"}
FLAX = {"scale": "scale", "center": "bias", "mean": "mean", "var": "var"}
OURS = {"scale": "gamma", "center": "beta", "mean": "running_mean", "var": "running_var"}


def from_torch_momentum(momentum: float | None) -> float | None:
    """Return handgrad's momentum, the weight of the old statistics, for PyTorch's, that of the batch's.

    None, the plain mean over all updates, is None in both.

    Examples
    --------
    >>> import handgrad as hg
    >>> hg.io.from_torch_momentum(0.1)
    0.9
    """
    if momentum is None:
        return None
    check_number("from_torch_momentum", "momentum", momentum, most=1.0)
    return round(1 - momentum, 15)  # 0.9 of 0.1, and 0.1 of 0.9


def to_torch_momentum(momentum: float | None) -> float | None:
    """Return PyTorch's momentum, the weight of the batch's statistics, for handgrad's, that of the old ones.

    Examples
    --------
    >>> import handgrad as hg
    >>> hg.io.to_torch_momentum(0.99)
    0.01
    """
    return from_torch_momentum(momentum)


def batch_norm_from_torch(
    state: Mapping[str, Any], *, momentum: float | None = 0.1, eps: float = 1e-5, dtype: Any = np.float32
) -> BatchNormalization:
    """Return the layer for a ``torch.nn.BatchNorm1d``, ``2d`` or ``3d``.

    Parameters
    ----------
    state : mapping of str to array
        The module's ``state_dict()``. Without statistics (``track_running_stats=False``) the layer has none;
        without parameters (``affine=False``) neither gamma nor beta.
    momentum, eps : float
        The module's.
    dtype : dtype, default float32
        Of gamma and beta.

    Returns
    -------
    BatchNormalization
        Built; it takes inputs of any number of axes, with so many channels in the last one. Its running
        variance is the unbiased one, as PyTorch's.
    """
    arrays = {name: unmasked("batch_norm_from_torch", a) for name, a in state.items()}
    bn = _filled(
        "batch_norm_from_torch",
        {of: arrays.get(theirs) for of, theirs in TORCH.items()},
        momentum=from_torch_momentum(momentum),
        epsilon=eps,
        running_variance="unbiased",
        dtype=dtype,
    )
    if bn.running_statistics and "num_batches_tracked" in arrays:
        bn.updates.assign(arrays["num_batches_tracked"].astype(np.int64))
    return bn


def batch_norm_to_torch(bn: BatchNormalization) -> dict[str, Array]:
    """Return the ``state_dict`` of a PyTorch module that computes what `bn` does, as arrays.

    It is for ``BatchNorm2d(c, eps=bn.epsilon, momentum=to_torch_momentum(bn.momentum))``, with
    ``affine=False`` or ``track_running_stats=False`` where the layer has no parameters or statistics; of
    gamma and beta, a module has both or none. The running statistics are those that inference normalizes by,
    whatever their momentum or estimate.
    """
    values = _values("batch_norm_to_torch", bn)
    if bn.scale != bn.center:
        there = values["scale" if bn.scale else "center"]
        values = {"scale": np.ones_like(there), "center": np.zeros_like(there)} | values
    found = {TORCH[of]: a for of, a in values.items()}
    if bn.running_statistics:
        found["num_batches_tracked"] = bn.updates.value.copy()
    return found


def batch_norm_from_flax(
    params: Mapping[str, Any],
    batch_stats: Mapping[str, Any],
    *,
    momentum: float = 0.99,
    epsilon: float = 1e-5,
    dtype: Any = np.float32,
) -> BatchNormalization:
    """Return the layer for a ``flax.linen.BatchNorm``, of its variables ``params`` and ``batch_stats``.

    Momentum means the same there; the running variance is the biased one.
    """
    both = {**params, **batch_stats}
    arrays = {name: unmasked("batch_norm_from_flax", a) for name, a in both.items()}
    return _filled(
        "batch_norm_from_flax",
        {of: arrays.get(theirs) for of, theirs in FLAX.items()},
        momentum=momentum,
        epsilon=epsilon,
        running_variance="biased",
        dtype=dtype,
    )


def batch_norm_to_flax(bn: BatchNormalization) -> tuple[dict[str, Array], dict[str, Array]]:
    """Return ``params`` and ``batch_stats`` of a ``flax.linen.BatchNorm`` that computes what `bn` does."""
    values = {FLAX[of]: a for of, a in _values("batch_norm_to_flax", bn).items()}
    params = {name: a for name, a in values.items() if name in ("scale", "bias")}
    return params, {name: a for name, a in values.items() if name not in params}


def batch_norm_from_keras(
    weights: Sequence[Any],
    *,
    momentum: float = 0.99,
    epsilon: float = 1e-3,
    center: bool = True,
    scale: bool = True,
    dtype: Any = np.float32,
) -> BatchNormalization:
    """Return the layer for a ``keras.layers.BatchNormalization``.

    Parameters
    ----------
    weights : sequence of arrays
        The layer's ``get_weights()``: gamma, beta, moving mean, moving variance.
    momentum, epsilon, center, scale
        The layer's. Momentum means the same there; the running variance is the biased one.
    dtype : dtype, default float32
        Of gamma and beta.
    """
    names = [
        of for of, there in (("scale", scale), ("center", center), ("mean", True), ("var", True)) if there
    ]
    if len(weights) != len(names):
        wanted = ", ".join(OURS[of] for of in names)
        raise ArgumentError(
            "batch_norm_from_keras weights",
            expected=f"{len(names)} arrays, {wanted}",
            got=str(len(weights)),
            do="give center and scale as the layer has them",
        )
    return _filled(
        "batch_norm_from_keras",
        {name: unmasked("batch_norm_from_keras", a) for name, a in zip(names, weights, strict=True)},
        momentum=momentum,
        epsilon=epsilon,
        running_variance="biased",
        dtype=dtype,
    )


def batch_norm_to_keras(bn: BatchNormalization) -> list[Array]:
    """Return what ``set_weights`` of Keras' layer takes, so that it computes what `bn` does."""
    return list(_values("batch_norm_to_keras", bn).values())


def _filled(
    where: str, values: Mapping[str, Array | None], *, dtype: Any, **options: Any
) -> BatchNormalization:
    """Return a built layer with these values; None, or not there, for what it has not."""
    there = {of: a for of, a in values.items() if a is not None}
    sizes = {OURS[of]: a.shape for of, a in there.items()}
    if len(set(sizes.values())) != 1 or len(next(iter(sizes.values()), ())) != 1:
        got = ", ".join(f"{name} {shape}" for name, shape in sizes.items()) or "none"
        raise ArgumentError(where, expected="vectors of one length, a number for each channel", got=got)
    bn = BatchNormalization(
        scale="scale" in there, center="center" in there, running_statistics="mean" in there, **options
    )
    bn.build(next(iter(sizes.values())), Init(dtype=dtype))
    for of, a in there.items():
        if of in ("scale", "center"):
            getattr(bn, OURS[of]).assign(a)
    if bn.running_statistics:
        bn.set_inference_statistics(there["mean"].astype(np.float64), there["var"].astype(np.float64))
    return bn


def _values(where: str, bn: BatchNormalization) -> dict[str, Array]:
    """Return copies of what the layer has, flat; statistics in float64, as inference takes them."""
    if not bn.built:
        raise BuildError(where, expected="a built layer", got="one that has no parameters yet")
    owned: dict[str, Parameter | None] = {"scale": bn.gamma, "center": bn.beta}
    found = {of: p.value.reshape(-1).copy() for of, p in owned.items() if p is not None}
    if not bn.running_statistics:
        return found
    return found | dict(zip(("mean", "var"), bn.inference_statistics(), strict=True))
