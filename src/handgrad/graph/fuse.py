"""Fused models: groups of layers replaced by layers that compute the same at once, with less memory traffic.

This is the only place that knows which layers can be replaced, and by what; no layer does.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import NamedTuple, TypeAlias

from handgrad.geometry import pair
from handgrad.graph.graph import Graph
from handgrad.graph.order import Node
from handgrad.layers import Add, BatchNormalization, Conv2D, Layer, ReLU
from handgrad.layers.fused_conv import FusedConv2D
from handgrad.layers.fused_norm import (
    BatchNormalizationAddReLU,
    BatchNormalizationReLU,
    DeferredBatchNormalizationReLU,
    FusedNormalization,
)


class Match(NamedTuple):
    """A group of nodes, and the one that takes their place: that of the last of them.

    Attributes
    ----------
    group : tuple of int
        Where in the order of the model they are, ascending.
    name : str
        Of the new node: that of the node whose parameters it has, so that they keep their paths.
    layer : Layer
        Built, over the parameters and buffers of the layers it replaces.
    inputs : tuple of int
        The values it takes, as in `Node`.
    """

    group: tuple[int, ...]
    name: str
    layer: Layer
    inputs: tuple[int, ...]


class Uses:
    """The nodes of a model, the shape of each value, how often it is used, and where last."""

    def __init__(self, graph: Graph) -> None:
        self.nodes = graph.nodes
        self.shapes = graph.input_shape, *(node.shape for node in graph.nodes)
        self.count = Counter(i for node in graph.nodes for i in node.inputs)
        self.last = {i: k for k, node in enumerate(graph.nodes) for i in node.inputs}

    def sole_user(self, k: int) -> Node | None:
        """Return the one node that takes what node `k` computes, once; None if there are others or none."""
        return self.nodes[self.last[k + 1]] if self.count[k + 1] == 1 else None

    def sole(self, value: int, kind: type[Layer]) -> int | None:
        """Return the position of the node that computes `value`, for one single use, by a layer of `kind`.

        None if it is not so; a subclass is another kind, since it may compute something else.
        """
        of_kind = value > 0 and type(self.nodes[value - 1].layer) is kind
        return value - 1 if of_kind and self.count[value] == 1 else None


Pattern: TypeAlias = Callable[[Uses, int], Match | None]
"""A function of the nodes and the position of a group's last one."""


def batch_norm_relu(uses: Uses, k: int) -> Match | None:
    """Match BatchNormalization -> ReLU."""
    relu = uses.nodes[k]
    if type(relu.layer) is not ReLU:
        return None
    bn = _normalization(uses, relu.inputs[0])
    if bn is None:
        return None
    position, layer = bn
    node = uses.nodes[position]
    return Match((position, k), node.name, BatchNormalizationReLU(layer), node.inputs)


def batch_norm_add_relu(uses: Uses, k: int) -> Match | None:
    """Match BatchNormalization -> Add, of that and anything else, -> ReLU."""
    relu = uses.nodes[k]
    add = uses.sole(relu.inputs[0], Add) if type(relu.layer) is ReLU else None
    if add is None or len(uses.nodes[add].inputs) != 2:
        return None
    early, late = sorted(uses.nodes[add].inputs)
    for value, residual in ((late, early), (early, late)):  # what runs last moves least
        if (bn := _normalization(uses, value)) is not None:
            position, layer = bn
            node = uses.nodes[position]
            inputs = (*node.inputs, residual)
            return Match((position, add, k), node.name, BatchNormalizationAddReLU(layer), inputs)
    return None


def deferred(uses: Uses, k: int) -> Match | None:
    """Match BatchNormalization -> ReLU, fused, where one convolution that reads tiles takes them."""
    node, user = uses.nodes[k], uses.sole_user(k)
    if type(node.layer) is not BatchNormalizationReLU or user is None or not _by_tiles(user.layer):
        return None
    return Match((k,), node.name, DeferredBatchNormalizationReLU(node.layer.normalization), node.inputs)


def convolution(uses: Uses, k: int) -> Match | None:
    """Match Conv2D where something can be done at once with it.

    Computing the images, taking statistics for the fused normalization that follows, adding the gradient of
    images that others take, too.
    """
    node = uses.nodes[k]
    if type(node.layer) is not Conv2D:
        return None
    images, bn = node.inputs[0], None
    if (user := uses.sole_user(k)) is not None and user.inputs[0] == k + 1 and _by_tiles(node.layer):
        bn = user.layer.normalization if isinstance(user.layer, FusedNormalization) else None
    normalized = images > 0 and type(uses.nodes[images - 1].layer) is DeferredBatchNormalizationReLU
    if bn is None and not normalized and uses.count[images] == 1:
        return None
    return Match((k,), node.name, FusedConv2D(node.layer, bn), node.inputs)


def _by_tiles(layer: Layer) -> bool:
    """Whether it is a convolution whose kernels read and write images a tile at a time."""
    conv = layer.layer if isinstance(layer, FusedConv2D) else layer
    if type(conv) is not Conv2D:
        return False
    sizes = conv.kernel_size, conv.strides, conv.dilation_rate
    taps, strides, dilation = (pair(n, layer.where) for n in sizes)
    windows = ((3, 3), (1, 1)), ((5, 5), (1, 1)), ((3, 3), (2, 2))
    return (taps, strides) in windows and dilation == (1, 1) and conv.groups == 1


def _normalization(uses: Uses, value: int) -> tuple[int, BatchNormalization] | None:
    """Return position and layer of the normalization over channels that computes `value` for a single use.

    None also for one that does more than to normalize, scale and shift all at once, as batch renormalization
    and ghost batches do. Which statistics it takes, of what, and what they move, fused layers leave to it.
    """
    position = uses.sole(value, BatchNormalization)
    if position is None:
        return None
    node = uses.nodes[position]
    layer = node.layer
    assert isinstance(layer, BatchNormalization)
    return (position, layer) if layer.plain and layer.per_channel(node.shape) else None


PATTERNS: tuple[Pattern, ...] = (batch_norm_add_relu, batch_norm_relu, deferred, convolution)


def fuse(graph: Graph, patterns: Iterable[Pattern] = PATTERNS) -> Graph:
    """Return a model that computes the same, with fused layers where patterns match.

    Parameters
    ----------
    graph : Graph
        Is not changed. Both have the same parameters and buffers, by the same paths, and draw the same random
        numbers: a step of one is a step of the other.
    patterns : iterable of Pattern
        Are looked for one after the other, each in what those before it left.

    Returns
    -------
    Graph
        `graph` itself where nothing matches.
    """
    for pattern in patterns:
        graph = _replace(graph, pattern)
    return graph


def _replace(graph: Graph, pattern: Pattern) -> Graph:
    uses = Uses(graph)
    gone: set[int] = set()
    matches: dict[int, Match] = {}
    for k in range(len(graph.nodes)):
        match = pattern(uses, k)
        if match and gone.isdisjoint(match.group) and _commits_in_order(graph.nodes, match.group):
            gone.update(match.group)
            matches[k] = match
    if not matches:
        return graph
    nodes: list[Node] = []
    values = {0: 0}  # of the old numbers the new ones
    for k, node in enumerate(graph.nodes):
        if k in matches:
            node = Node(matches[k].name, matches[k].layer, matches[k].inputs, node.shape)
        elif k in gone:
            continue
        nodes.append(replace(node, inputs=tuple(values[i] for i in node.inputs)))
        values[k + 1] = len(nodes)
    return graph.with_nodes(nodes)


def _commits_in_order(nodes: tuple[Node, ...], group: tuple[int, ...]) -> bool:
    """Whether no node between those of the group moves a buffer of theirs: one of a layer they share would.

    The group's layers run, and commit, where the last of them stands.
    """
    buffers = {id(b) for k in group for b in nodes[k].layer.buffers().values()}
    between = (k for k in range(group[0], group[-1]) if k not in group)
    return all(buffers.isdisjoint(map(id, nodes[k].layer.buffers().values())) for k in between)
