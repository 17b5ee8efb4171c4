"""What a model's outputs for one image say, as a line of text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from handgrad.cli.printable import complain, one_line

if TYPE_CHECKING:
    from handgrad.graph import Graph, ModelInfo
    from handgrad.typing import Array

SLACK = 0.01
"""How far numbers of training may be from [0, 1] and be pixels nevertheless."""

NUMBERS = 10
"""The most numbers that are printed one by one."""


def known_info(model: Graph, where: object) -> ModelInfo:
    """Return what is known about a model's outputs; where that is nothing, what they most likely mean.

    Raises
    ------
    DataError
        If the outputs cannot mean that: one output is no class of several.
    """
    from dataclasses import replace

    from handgrad.errors import DataError

    info, one = model.info, model.output_shape[-1:] == (1,)
    low, high = info.input_range or (0.0, 1.0)
    if low < -SLACK or high > 1 + SLACK:
        complain(
            f"warning: {where}: the model was trained on numbers from {low:.3g} to {high:.3g}, and images "
            "are read as numbers from 0 to 1, so what it says of them may be wrong; train it on bytes, or "
            "let handgrad.data.MappedDataset do what the numbers went through"
        )
    if info.kind is None:
        kind, from_logits, meaning = _likely(model)
        complain(
            f"warning: {where}: nothing says what the model's outputs mean, so they are taken as {meaning}; "
            "set model.info = handgrad.ModelInfo(kind, classes=...) before handgrad.save"
        )
        return replace(info, kind=kind, from_logits=from_logits)
    if (info.kind == "classification" and one) or (info.kind == "binary" and not one):
        raise DataError(
            str(where),
            expected=f"outputs of a model of kind {info.kind}",
            got=f"outputs of shape {model.output_shape}",
            do="give model.info the kind that they have: classification is of several, binary of one",
        )
    return info


def _likely(model: Graph) -> tuple[str, bool, str]:
    """Return the kind that outputs most likely have, whether they are logits then, and that in words."""
    from handgrad.layers import Sigmoid, Softmax
    from handgrad.train.outputs import final_layer

    last, shape = final_layer(model), model.output_shape
    several = shape[-1:] != (1,)
    if isinstance(last, Softmax) and several:
        return "classification", False, "probabilities of classes"
    if isinstance(last, Sigmoid):
        kind, meaning = ("multi_label", "probabilities of labels") if several else ("binary", "a probability")
        return kind, False, meaning
    if several and len(shape) == 1:
        return "classification", True, "logits of classes"
    return "regression", True, "numbers"


def line(info: ModelInfo, z: Array, top: int) -> str:
    """Return what the outputs for one image say.

    Parameters
    ----------
    info : ModelInfo
        What they mean.
    z : (..., K) array
        The outputs.
    top : int
        The most classes to name.
    """
    if info.kind == "regression":
        return _numbers(info, z)
    p = info.probabilities(z[None])[0]
    if z.ndim > 1:
        return _map(info, p, top)
    if info.kind == "multi_label":
        return _labels(info, p)
    return _classes(info, p, top)


def _classes(info: ModelInfo, p: Array, top: int) -> str:
    import numpy as np

    p = np.concatenate([1 - p, p]) if info.kind == "binary" else p
    names = info.names(len(p))
    best = np.argsort(-p, kind="stable")[:top]
    return "  ".join(f"{one_line(names[k])} {p[k]:.1%}" for k in best)


def _labels(info: ModelInfo, p: Array) -> str:
    import numpy as np

    names, best = info.names(len(p)), np.argsort(-p, kind="stable")
    found = [f"{one_line(names[k])} {p[k]:.1%}" for k in best if p[k] > 0.5]
    first = best[0]
    return "  ".join(found) or f"no label (most of all {one_line(names[first])} {p[first]:.1%})"


def _numbers(info: ModelInfo, z: Array) -> str:
    if z.ndim > 1 or z.size > NUMBERS:
        shape = "x".join(map(str, z.shape))
        return f"{shape} numbers from {z.min():.6g} to {z.max():.6g}, mean {z.mean():.6g}"
    return "  ".join(
        f"{one_line(info.classes[k])} {value:.6g}" if k < len(info.classes) else f"{value:.6g}"
        for k, value in enumerate(z)
    )


def _map(info: ModelInfo, p: Array, top: int) -> str:
    """Return the share of positions of each class or label, the largest first."""
    import numpy as np

    positions = "x".join(map(str, p.shape[:-1]))
    flat = p.reshape(-1, p.shape[-1])  # (..., K) -> (positions, K)
    if info.kind == "multi_label":
        shares, names = (flat > 0.5).mean(axis=0), info.names(p.shape[-1])
    else:
        k = 2 if info.kind == "binary" else p.shape[-1]
        chosen = (flat[:, 0] > 0.5) if info.kind == "binary" else flat.argmax(axis=-1)
        shares, names = np.bincount(chosen.astype(np.int64), minlength=k) / len(flat), info.names(k)
    best = [k for k in np.argsort(-shares, kind="stable")[:top] if shares[k] > 0]
    found = "  ".join(f"{one_line(names[k])} {shares[k]:.1%}" for k in best)
    return f"{found or 'no label'}  of {positions} positions"
