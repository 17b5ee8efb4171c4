"""Steps in the terminal."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from handgrad.inspect.steps import scientific
from handgrad.typing import Array

if TYPE_CHECKING:
    from handgrad.inspect.explain import Explanation

WIDTH = 88
ROWS, COLUMNS = 12, 6
"""How many are shown of a large batch."""
INDENT = "    "


def header(explanation: Explanation) -> str:
    """Return what stands above all steps."""
    m, c = explanation["x"].value.shape
    return f"{explanation.where}: m = {m} values in each of {c} channel{'s' * (c > 1)}, in float64"


def footer(explanation: Explanation) -> str:
    """Return what stands below: how right it is."""
    lines = [f"{INDENT}{name.ljust(28)}{scientific(error):>8}" for name, error in explanation.errors.items()]
    return "\n".join(["How far dx is, relative to its length, from", *lines])


def text_of(explanation: Explanation, index: int) -> str:
    """Return a step with its formula, what it is, its numbers, and one of them worked out."""
    step = explanation.steps[index]
    before = explanation.steps[index - 1].part if index else ""
    lines = []
    if step.part != before:
        lines += [f"── {step.part} ".ljust(WIDTH, "─"), ""]
    shape = f"({', '.join(map(str, step.value.shape))}{',' * (step.value.ndim == 1)})"
    head = f"{index + 1:2}  {step.formula}"
    lines.append(f"{head}{shape.rjust(WIDTH - len(head))}")
    lines += textwrap.wrap(step.says, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT)
    lines += ["", *_table(explanation, step.value, step.foot)]
    label = explanation.column_labels[0]
    if step.value.ndim == 2:
        label = f"{explanation.row_labels[0]}, {label}"
    if worked := step.with_numbers(0, 0):
        lines += ["", *_wrapped(f"{label}: {worked}")]
    return "\n".join(lines)


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, WIDTH, initial_indent=INDENT, subsequent_indent=INDENT + "    ")


def _table(explanation: Explanation, value: Array, foot: tuple[tuple[str, Array], ...]) -> list[str]:
    rows = value if value.ndim == 2 else value[None]
    names = explanation.row_labels if value.ndim == 2 else [""]
    columns = explanation.column_labels[:COLUMNS]
    more = rows.shape[1] - COLUMNS
    shown = list(range(len(rows))) if len(rows) <= ROWS else [*range(ROWS - 2), -1, len(rows) - 1]
    cells = _cells(np.concatenate([rows, *(f[None] for _, f in foot)])[:, :COLUMNS])
    width = max(8, *(len(c) for line in cells for c in line), *map(len, columns)) + 1
    left = len(INDENT) + max(3, *map(len, names), *(len(label) for label, _ in foot)) + 1

    def line(name: str, values: list[str]) -> str:
        return f"{INDENT}{name.rjust(left - len(INDENT) - 1)} {''.join(v.rjust(width) for v in values)}"

    lines = [line("", columns) + (f"   and {more} more" if more > 0 else "")]
    for i in shown:
        gap = f"{'...'.rjust(left - 1)}  {len(rows) - ROWS + 1} more"
        lines.append(gap if i < 0 else line(names[i], cells[i]))
    if foot:
        lines.append(INDENT + " " * (left - len(INDENT)) + "─" * (width * len(columns)))
        lines += [line(name, cells[len(rows) + j]) for j, (name, _) in enumerate(foot)]
    return [text.rstrip() for text in lines]


def _cells(values: Array) -> list[list[str]]:
    """Return numbers of one format, what is only rounding as 0."""
    largest = float(np.abs(values[np.isfinite(values)]).max(initial=0.0))
    style = ".4f" if 1e-2 <= largest < 1e4 or largest == 0 else ".3e"
    clean = np.where(np.abs(values) < 1e-12 * max(largest, 1.0), 0.0, values)
    return [[f"{v:{style}}" for v in row] for row in clean]
