"""The page of a layer: its derivation, and the code that it became.

::

    .. layer:: Conv2D
       :kernels: conv2d conv2d_backward_input windows.tap

shows the docstring of the class, the source of its forward and backward, and the source of kernels: entries
of the table, or ``module.function`` of `handgrad.kernels.reference`.
"""

from __future__ import annotations

import importlib
import inspect
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from handgrad import layers
from handgrad.kernels.reference import REFERENCE

ROOT = Path(inspect.getfile(layers)).parents[3]


class LayerPage(SphinxDirective):
    """``.. layer:: Class``."""

    required_arguments = 1
    option_spec: ClassVar[dict[str, Any]] = {"kernels": directives.unchanged, "methods": directives.unchanged}

    def run(self) -> list[nodes.Node]:
        """Return the nodes of the page."""
        kind = getattr(layers, self.arguments[0])
        methods = self.options.get("methods", "forward backward").split()
        kernels = self.options.get("kernels", "").split()
        parts = [
            f".. autoclass:: handgrad.layers.{kind.__name__}\n\n",
            _section("In the layer", [getattr(kind, name) for name in methods]),
        ]
        if kernels:
            parts.append(_section("In the kernels", [_kernel(name) for name in kernels]))
        text = "\n".join(parts)
        self.env.note_dependency(inspect.getfile(kind))
        return self.parse_text_to_nodes(text, allow_section_headings=True)


def _kernel(name: str) -> Callable[..., Any]:
    if "." not in name:
        function: Callable[..., Any] = inspect.unwrap(getattr(REFERENCE, name))
        return function
    module, function_name = name.rsplit(".", 1)
    return getattr(importlib.import_module(f"handgrad.kernels.reference.{module}"), function_name)


def _section(title: str, functions: list[Callable[..., Any]]) -> str:
    """Return a section with the sources of functions, those of one file together."""
    by_file: dict[Path, list[str]] = {}
    for function in functions:
        source = textwrap.dedent(inspect.getsource(function)).strip()
        by_file.setdefault(Path(inspect.getfile(function)), []).append(source)
    text = f"{title}\n{'-' * len(title)}\n\n"
    for file, sources in by_file.items():
        code = textwrap.indent("\n\n\n".join(sources), "   ")
        text += f".. code-block:: python\n   :caption: {_shown(file)}\n\n{code}\n\n"
    return text


def _shown(file: Path) -> str:
    return file.relative_to(ROOT).as_posix() if file.is_relative_to(ROOT) else file.name


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("layer", LayerPage)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
