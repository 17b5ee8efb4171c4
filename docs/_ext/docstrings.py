"""Two conventions of the docstrings: authors begin with initials, and names may leave out their module."""

from __future__ import annotations

import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util.nodes import make_refnode


def escape_initials(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:  # noqa: ARG001
    """Escape initials where a line begins with them: ``S. Ioffe`` is not item S of a list."""
    lines[:] = [re.sub(r"^(\s*(?:\.\. \[\d+\] )?)(?=[A-Z]\. )", r"\1\\", line) for line in lines]


def resolve(app: Sphinx, env: BuildEnvironment, node: pending_xref, contnode: Any) -> nodes.reference | None:
    """Return a link to the one object whose full name ends in a name; None if there is none, or several.

    Names in lower case without a dot are left alone: they are arguments.
    """
    target = node.get("reftarget", "")
    if node.get("refdomain") != "py" or not (target[:1].isupper() or "." in target):
        return None
    domain: Any = env.get_domain("py")
    objects = domain.objects
    found = [name for name, entry in objects.items() if name.endswith(f".{target}") and not entry.aliased]
    if len(found) != 1:
        return None
    entry = objects[found[0]]
    return make_refnode(app.builder, node["refdoc"], entry.docname, entry.node_id, contnode, title=found[0])


def setup(app: Sphinx) -> dict[str, Any]:
    """Read docstrings so."""
    app.connect("autodoc-process-docstring", escape_initials, priority=100)
    app.connect("missing-reference", resolve)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
