"""Steps as a page that needs nothing else; the look and the buttons are in ``page.html``."""

from __future__ import annotations

import html
import re
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from handgrad.inspect.steps import Step, scientific
from handgrad.typing import Array

if TYPE_CHECKING:
    from handgrad.inspect.explain import Explanation

ROWS, COLUMNS = 12, 6
"""How many are shown of a large batch."""

NODES = {
    "x": (45, 90, "x"), "mean": (190, 35, "μ"), "var": (270, 145, "σ²"), "s": (370, 145, "s"),
    "xhat": (480, 90, "x̂"), "gamma": (590, 25, "γ"), "y": (640, 90, "y"), "beta": (590, 155, "β"),
}  # fmt: skip
EDGES = (
    ("x", "mean"), ("x", "var"), ("mean", "var"), ("var", "s"), ("x", "xhat"), ("mean", "xhat"),
    ("s", "xhat"), ("xhat", "y"), ("gamma", "y"), ("beta", "y"),
)  # fmt: skip
LIT = {
    "x": "x", "mean": "mean x-mean", "centred": "x mean x-xhat mean-xhat", "var": "var x-var mean-var",
    "s": "s var-s", "xhat": "xhat x-xhat mean-xhat s-xhat", "scaled": "y xhat-y gamma-y",
    "y": "y xhat-y gamma-y beta-y", "dy": "y", "dbeta": "beta beta-y", "dgamma": "gamma gamma-y",
    "g": "xhat xhat-y", "direct": "x x-xhat", "dvar": "var var-s s s-xhat", "through_var": "x x-var",
    "dmean": "mean mean-xhat", "through_mean": "x x-mean", "dx": "x x-xhat x-var x-mean",
}  # fmt: skip
"""Which nodes and edges of the picture a step computes."""


def page(explanation: Explanation) -> str:
    """Return the page."""
    m, c = explanation["x"].value.shape
    shown = {
        "title": f"{explanation.where}, term by term",
        "where": f"{explanation.where}",
        "size": f"{m} values in each of {c} channel{'s' * (c > 1)}",
    }
    parts = {name: html.escape(text) for name, text in shown.items()} | {
        "list": _list(explanation),
        "map": _map(explanation),
        "sections": "\n".join(_section(explanation, i) for i in range(len(explanation))),
        "errors": "".join(
            f"<tr><td>{scientific(error)}</td><td>{name}</td></tr>"
            for name, error in explanation.errors.items()
        ),
    }
    template = resources.files("handgrad.inspect").joinpath("page.html").read_text(encoding="utf-8")
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], template)


def _list(explanation: Explanation) -> str:
    lines = []
    for part in ("forward", "backward"):
        links = [
            f'<li><a href="#step-{step.name}"><span>{i}</span>{html.escape(step.letter)}</a></li>'
            for i, step in enumerate(explanation, 1)
            if step.part == part
        ]
        lines.append(f"<h2>{part}</h2><ol>{''.join(links)}</ol>")
    return "".join(lines)


def _map(explanation: Explanation) -> str:
    """Return the picture of what is computed from what."""
    letters = explanation["x"].letters
    absent = {name for name in ("gamma", "beta") if letters[name] is None}
    lines = []
    for a, b in EDGES:
        constant = explanation.constant and b in ("mean", "var")
        if not constant and a not in absent:
            lines.append(f'<path data-name="{a}-{b}" d="{_edge(NODES[a][:2], NODES[b][:2])}"/>')
    for name, (left, top, letter) in NODES.items():
        if name not in absent:
            lines.append(f'<circle data-name="{name}" cx="{left}" cy="{top}" r="20"/>')
            lines.append(f'<text x="{left}" y="{top}">{letter}</text>')
    tips = "".join(
        f'<marker id="{name}" viewBox="0 0 8 8" refX="{at}" refY="4" markerWidth="{size}" '
        f'markerHeight="{size}" orient="{orient}"><path d="M0 0 8 4 0 8z"/></marker>'
        for name, at, size, orient in (
            ("tip", 7, 6, "auto"),
            ("tip-on", 7, 4.5, "auto"),
            ("tip-back", 7, 4.5, "auto-start-reverse"),
        )
    )
    title = "x is used for its own normalized value, for the mean and for the variance"
    head = f'<svg class="map" viewBox="0 0 685 180" role="img" aria-label="{title}"><defs>{tips}</defs>'
    return f"{head}{''.join(lines)}</svg>"


def _edge(start: tuple[int, int], end: tuple[int, int]) -> str:
    """Return a line between two circles, not into them."""
    a, b = np.array(start, float), np.array(end, float)
    along = 23 * (b - a) / np.linalg.norm(b - a)
    (x0, y0), (x1, y1) = a + along, b - along
    return f"M{x0:.0f} {y0:.0f} {x1:.0f} {y1:.0f}"


def _section(explanation: Explanation, index: int) -> str:
    step = explanation.steps[index]
    operands = [_operand(explanation, step, name) for name in step.uses]
    tables = [*operands, _table(explanation, step.letter, step.value, step)]
    data = f'data-name="{step.name}" data-part="{step.part}" data-lit="{LIT[step.name]}"'
    return (
        f'<section id="step-{step.name}" {data}>'
        f"<header><h3>{index + 1} · {step.part}</h3></header>"
        f'<div class="formula">{step.mathml}</div>'
        f'<p class="code"><code>{html.escape(step.formula)}</code></p>'
        f'<p class="says">{html.escape(step.says)}</p>'
        f'<div class="tables">{"".join(tables)}</div><div class="worked"></div></section>'
    )


def _operand(explanation: Explanation, step: Step, name: str) -> str:
    value = step.letters[name]
    known = [other for other in explanation if other.name == name]
    label = known[0].letter if known else name
    return _table(explanation, label, value, None)


def _table(explanation: Explanation, label: str, value: Array, step: Step | None) -> str:
    """Return a table, of what a step gives with its foot, and with each number worked out."""
    rows = value if value.ndim == 2 else value[None]
    columns = explanation.column_labels[:COLUMNS]
    names = explanation.row_labels if value.ndim == 2 else [""]
    largest = float(np.abs(rows).max(initial=0.0)) or 1.0
    lines = ["<tr><th></th>" + "".join(f"<th>{html.escape(c)}</th>" for c in columns) + "</tr>"]
    for i in range(min(len(rows), ROWS)):
        cells = "".join(_cell(explanation, step, rows, i, k, largest) for k in range(len(columns)))
        lines.append(f"<tr><th>{html.escape(names[i])}</th>{cells}</tr>")
    hidden = [(len(rows) - ROWS, "row"), (rows.shape[1] - COLUMNS, "channel")]
    more = " and ".join(f"{n} more {what}{'s' * (n > 1)}" for n, what in hidden if n > 0)
    if more:
        lines.append(f'<tr class="foot"><th></th><th colspan="{len(columns)}">{more}</th></tr>')
    for name, foot in step.foot if step else ():
        cells = "".join(f"<td>{_shown(v, largest)}</td>" for v in foot[:COLUMNS])
        lines.append(f'<tr class="foot"><th>{name}</th>{cells}</tr>')
    caption = f"<figcaption><code>{html.escape(label)}</code></figcaption>"
    return (
        f'<figure class="{"result" if step else "operand"}">{caption}<table>{"".join(lines)}</table></figure>'
    )


def _cell(explanation: Explanation, step: Step | None, rows: Array, i: int, k: int, largest: float) -> str:
    value = float(rows[i, k])
    worked = step.with_numbers(i, k) if step else ""
    label = explanation.column_labels[k]
    if step and step.value.ndim == 2:
        label = f"{explanation.row_labels[i]}, {label}"
    data = f' data-w="{html.escape(f"<b>{label}:</b> {worked}")}"' if worked else ""
    sign = "p" if value >= 0 else "n"
    share = min(abs(value) / largest, 1)
    return f'<td class="{sign}" style="--v:{share:.2f}"{data}>{_shown(value, largest)}</td>'


def _shown(value: float, largest: float) -> str:
    """Return a number in the format of its table."""
    fixed = 1e-2 <= largest < 1e4
    text = "0" if abs(value) < 1e-12 and not fixed else f"{value:.3f}" if fixed else f"{value:.2e}"
    return ("0.000" if text == "-0.000" else text).replace("-", "−")
