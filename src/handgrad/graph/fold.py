"""Folding: in inference a batch normalization is a factor and a shift, which the layer before it can hold."""

from __future__ import annotations

import copy
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from handgrad.arguments import check_flag
from handgrad.errors import ArgumentError, BuildError
from handgrad.graph.graph import Graph
from handgrad.graph.symbol import Input
from handgrad.layers import BatchNormalization, Conv2D, Dense, Init, Layer
from handgrad.layers.running_statistics import warn_of_unmoved


def fold(model: Graph, *, keep_original: bool = True) -> Graph:
    r"""Return a model for inference, in which layers hold the batch normalizations that follow them.

    Every `Conv2D` and `Dense` whose output goes to a `BatchNormalization` over its channels and nowhere else
    becomes one layer with a bias. Everything else is copied: the models share no memory.

    Parameters
    ----------
    model : Graph
        Is left as it is. One that was folded is copied.
    keep_original : bool, default True
        Whether the new model keeps a copy of the old one, as its attribute `original`, so that `unfold` can
        undo this, also after it was saved and loaded. Without, it needs half the memory.

    Raises
    ------
    ArgumentError
        If it is no model.

    Warns
    -----
    UserWarning
        If running statistics that are folded are still those that they began with.

    Notes
    -----
    With :math:`y = xw + b` and the constants :math:`\mu` and :math:`s = 1/\sqrt{\sigma^2 + \epsilon}` of
    inference,

    .. math:: \gamma\,s\,(y - \mu) + \beta = x\,w' + b', \qquad
        w' = \gamma s\,w, \qquad b' = \gamma s\,(b - \mu) + \beta,

    computed in float64 and rounded once. Outputs agree with the original's inference up to rounding.

    Examples
    --------
    >>> import numpy as np, handgrad as hg
    >>> chain = [hg.layers.Conv2D(4, 3, use_bias=False), hg.layers.BatchNormalization(), hg.layers.ReLU()]
    >>> model = hg.Sequential(chain, input_shape=(8, 8, 1))
    >>> x = hg.rng.Stream((1,)).normal((16, 8, 8, 1))
    >>> _, trace = model.forward(x, hg.Run(training=True))
    >>> model.commit(trace)
    >>> folded = hg.fold(model)
    >>> [node.name for node in folded.nodes]
    ['conv2d', 'relu']
    >>> bool(np.allclose(folded.predict(x), model.predict(x), atol=1e-6))
    True
    >>> list(folded.unfold().state()) == list(model.state())
    True
    """
    if not isinstance(model, Graph):
        raise ArgumentError("fold", expected="a Graph or Sequential", got=type(model).__name__)
    check_flag("fold", "keep_original", keep_original)
    warn_of_unmoved(_pairs(model).values())
    return folded(model, keep_original=keep_original)


def folded(model: Graph, *, keep_original: bool) -> Graph:
    """Return what `fold` does, without warnings."""
    pairs = _pairs(model)
    new = _copied(model, pairs)
    if keep_original:
        before = model if pairs else model.original
        new.original = None if before is None else _copied(before)
    return new


def unfold(folded: Graph) -> Graph:
    """Return a copy of the model that `fold` made `folded` of, equal to it bit for bit.

    Raises
    ------
    BuildError
        If it keeps no original, or its parameters have been changed since.
    """
    where = f"{folded.name or type(folded).__name__} unfold"
    if folded.original is None:
        raise BuildError(
            where,
            expected="a model from fold, which keeps its original",
            got="one without",
            do="fold keeps none with keep_original=False, nor where there is no batch normalization that it "
            "can fold: such a model is its own original",
        )
    ours, theirs = folded.state(), _copied(folded.original, _pairs(folded.original)).state()
    changed = [name for name in ours if not np.array_equal(ours[name], theirs[name], equal_nan=True)]
    if changed:
        raise BuildError(
            where,
            expected="the parameters that fold gave it",
            got=f"others in {', '.join(changed)}",
            do="the model from before is its attribute original",
        )
    return _copied(folded.original)


def _pairs(model: Graph) -> dict[int, BatchNormalization]:
    """Return the normalizations that can be folded, by the index of the node before them."""
    uses = Counter(i for node in model.nodes for i in node.inputs)
    pairs = {}
    for node in model.nodes:
        bn, before = node.layer, node.inputs[0] - 1
        if type(bn) is not BatchNormalization or before < 0 or uses[before + 1] > 1:
            continue
        if not bn.running_statistics:  # inference takes those of its batch
            continue
        # by type: a class derived from these may compute something else
        if type(model.nodes[before].layer) in (Conv2D, Dense) and bn.per_channel(node.shape):
            pairs[before] = bn
    return pairs


def _copied(model: Graph, pairs: Mapping[int, BatchNormalization] | None = None) -> Graph:
    """Return a copy of a model, with the pairs folded; what is shared in it is shared in the copy."""
    pairs = pairs or {}
    made: dict[tuple[int, int], Layer] = {}
    values = [Input(model.input_shape)]
    for k, node in enumerate(model.nodes):
        inputs = tuple(values[i] for i in node.inputs)
        if node.inputs[0] - 1 in pairs:  # a normalization, which the layer before it holds now
            values.append(*inputs)
            continue
        bn = pairs.get(k)
        key = id(node.layer), id(bn)
        if key not in made:
            made[key] = copy.deepcopy(node.layer) if bn is None else _folded(node.layer, bn)
        values.append(values[0].apply(made[key], inputs, node.name))
    new = Graph(values[0], values[-1], seed=model.seed, dtype=model.dtype, name=model.name)
    new.info = model.info
    new.zero_grad()
    return new


def _folded(layer: Layer, bn: BatchNormalization) -> Layer:
    """Return a layer that computes ``gamma*s*(layer(x) - mean) + beta``."""
    old: Any = layer
    new: Any = replace(old, use_bias=True, kernel_initializer="zeros", bias_initializer="zeros")
    new.build(old.input_shape, Init(dtype=old.weight.value.dtype))
    w, b = old.weight.value, 0.0 if old.bias is None else old.bias.value.astype(np.float64)
    mean, var = bn.inference_statistics()
    gamma = 1.0 if bn.gamma is None else bn.gamma.value.astype(np.float64)
    beta = 0.0 if bn.beta is None else bn.beta.value
    gamma_s = gamma / np.sqrt(var + bn.epsilon)
    new.weight.assign(w * gamma_s)
    new.bias.assign((b - mean) * gamma_s + beta)
    folded: Layer = new
    return folded
