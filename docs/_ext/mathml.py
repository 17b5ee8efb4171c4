r"""Formulas as MathML, which browsers draw by themselves: no script, no picture, nothing from the network.

LaTeX is converted while the pages are built. A formula that cannot be is a warning, and so an error under
``-W``. The font, a part of STIX Two Math, is written into a style sheet: pages opened as files have it, too.
"""

from __future__ import annotations

import base64
import html
import re
from pathlib import Path
from typing import Any

from docutils import nodes
from math_core import LatexError, LatexToMathML
from sphinx.application import Sphinx
from sphinx.util import logging

FONT = Path(__file__).parents[1] / "_static" / "stix-two-math.woff2"
STYLE = """@font-face {{
  font-family: "STIX Two Math of handgrad";
  src: url("data:font/woff2;base64,{font}") format("woff2");
}}
math {{
  font-family: "STIX Two Math of handgrad", "STIX Two Math", "Cambria Math", "Latin Modern Math", math;
}}
"""

logger = logging.getLogger(__name__)
converter = LatexToMathML(annotation=True, fancy_error=False)


def to_mathml(latex: str, *, display: bool) -> str:
    """Return the MathML of a formula; a displayed one of several lines is aligned at ``&``."""
    flat = re.sub(r"\\begin\{(\w+\*?)\}.*?\\end\{\1\}", "", latex, flags=re.DOTALL)
    if display and ("&" in flat or r"\\" in flat):
        latex = rf"\begin{{aligned}}{latex}\end{{aligned}}"
    return converter.convert_with_local_state(latex, displaystyle=display)


def visit_inline(self: Any, node: nodes.math) -> None:
    """Write an inline formula, and a word joiner: a comma after it must not begin a line."""
    self.body.append(_convert(node, node.astext(), display=False) + "&#8288;")
    raise nodes.SkipNode


def visit_block(self: Any, node: nodes.math_block) -> None:
    """Write displayed formulas, one for each paragraph."""
    for part in node.astext().split("\n\n"):
        if part.strip():
            self.body.append(f'<div class="formula">{_convert(node, part.strip(), display=True)}</div>\n')
    raise nodes.SkipNode


def _convert(node: nodes.Node, latex: str, *, display: bool) -> str:
    try:
        return to_mathml(latex, display=display)
    except LatexError as error:
        logger.warning("formula %r: %s", latex, error, location=node)
        return f"<code>{html.escape(latex)}</code>"


def write_style(app: Sphinx, error: Exception | None) -> None:
    """Write the style sheet with the font in it."""
    if error is None and app.builder.format == "html":
        font = base64.b64encode(FONT.read_bytes()).decode()
        (Path(app.outdir) / "_static" / "mathml.css").write_text(STYLE.format(font=font))


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the renderer ``mathml``."""
    app.add_html_math_renderer("mathml", (visit_inline, None), (visit_block, None))
    app.add_css_file("mathml.css")
    app.connect("build-finished", write_style)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
