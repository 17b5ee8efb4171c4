"""What a model consists of, as a table."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from handgrad.layers import Merge

if TYPE_CHECKING:
    from handgrad.graph.graph import Graph


def summary(graph: Graph) -> str:
    """Return the table that `Graph.summary` prints."""
    chain = all(node.inputs == (k,) for k, node in enumerate(graph.nodes))
    head = ["Layer", "Kind", "Output shape", "Parameters", "Multiply-adds"] + ([] if chain else ["Inputs"])
    names = ["input", *(node.name for node in graph.nodes)]
    shapes = [graph.input_shape, *(node.shape for node in graph.nodes)]
    rows = [["input", "", _shape(graph.input_shape), "", ""] + ([] if chain else [""])]
    seen: set[int] = set()
    work = 0
    for node in graph.nodes:
        layer = node.layer
        inputs = tuple(shapes[i] for i in node.inputs)
        macs = layer.multiply_adds(inputs if isinstance(layer, Merge) else inputs[0])
        work += macs
        count = sum(p.size for p in layer.parameters().values())
        size = f"{count:,}" if id(layer) not in seen else "shared"
        size = size if layer.trainable or not count else f"{size} frozen"
        seen.add(id(layer))
        row = [
            node.name,
            type(layer).__name__,
            _shape(node.shape),
            size if count else "",
            f"{macs:,}" if macs else "",
        ]
        rows.append(row if chain else [*row, ", ".join(names[i] for i in node.inputs)])
    return "\n".join([*_table(head, rows), *_totals(graph, work)])


def _totals(graph: Graph, work: int) -> list[str]:
    total = sum(p.size for p in graph.parameters().values())
    trained = sum(p.size for p in graph.trainable_parameters().values())
    itemsize = graph.dtype.itemsize
    frozen = f", {total - trained:,} frozen" if trained < total else ""
    kept = itemsize * sum(math.prod(s) for s in (graph.input_shape, *(n.shape for n in graph.nodes)))
    return [
        f"Parameters      {total:,} ({_bytes(total * itemsize)}{frozen})",
        f"Multiply-adds   {work:,} per image, forward",
        f"Memory          {_bytes(_peak(graph) * itemsize)} per image in inference, {_bytes(kept)} "
        "in training",
    ]


def _peak(graph: Graph) -> int:
    """Return the most numbers alive at once when every value is let go after its last use."""
    sizes = [math.prod(graph.input_shape), *(math.prod(n.shape) for n in graph.nodes)]
    last = {i: k for k, node in enumerate(graph.nodes) for i in node.inputs}
    alive = peak = sizes[0]
    for k, node in enumerate(graph.nodes):
        alive += sizes[k + 1]
        peak = max(peak, alive)
        alive -= sum(sizes[i] for i in set(node.inputs) if last[i] == k)
    return peak


def _table(head: list[str], rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    numbers = (3, 4)

    def line(cells: list[str]) -> str:
        pairs = enumerate(zip(cells, widths, strict=True))
        return "  ".join(c.rjust(w) if i in numbers else c.ljust(w) for i, (c, w) in pairs).rstrip()

    rule = "─" * (sum(widths) + 2 * (len(widths) - 1))
    return [line(head), rule, *map(line, rows), rule]


def _shape(shape: tuple[int, ...]) -> str:
    return " x ".join(map(str, shape))


def _bytes(n: int) -> str:
    if n < 1024:
        return f"{n} B"
    return f"{n / 1024:.1f} KiB" if n < 1024**2 else f"{n / 1024**2:.1f} MiB"
