"""The commands of ``handgrad`` as they describe themselves: ``.. command:: datasets fetch``."""

from __future__ import annotations

import inspect
import textwrap
from typing import Any

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from handgrad.cli import main


class CommandPage(SphinxDirective):
    """``.. command:: NAME [NAME]``."""

    required_arguments = 1
    final_argument_whitespace = True

    def run(self) -> list[nodes.Node]:
        """Return the usage line, what the command does, and a list of its arguments and options."""
        command: Any = main.app
        names = self.arguments[0].split()
        for name in names:
            command = command.commands[name]
        self.env.note_dependency(inspect.getfile(main))
        usage = " ".join(["handgrad", *names, *(_usage(p) for p in command.params)])
        entries = [f"``{_names(p)}``\n{textwrap.indent(_help(p), '   ')}" for p in command.params]
        text = "\n\n".join([f".. code-block:: text\n\n   {usage}", inspect.cleandoc(command.help), *entries])
        return self.parse_text_to_nodes(text)


def _is_option(parameter: Any) -> bool:
    return bool(parameter.opts[0].startswith("-"))


def _usage(parameter: Any) -> str:
    if _is_option(parameter):
        value = "" if getattr(parameter, "is_flag", False) else f" {_metavar(parameter)}"
        return f"[{parameter.opts[0]}{value}]"
    shown = _metavar(parameter) + ("..." if parameter.nargs == -1 else "")
    return shown if parameter.required else f"[{shown}]"


def _names(parameter: Any) -> str:
    if not _is_option(parameter):
        return _metavar(parameter)
    value = "" if getattr(parameter, "is_flag", False) else f" {_metavar(parameter)}"
    return ", ".join(parameter.opts) + value


def _metavar(parameter: Any) -> str:
    return parameter.metavar or parameter.name.upper().replace("_", "-")


def _help(parameter: Any) -> str:
    text = parameter.help or ""
    shown = type(parameter.default) in (int, float)  # no flag, and not the absence of a default
    return f"{text} Default: {parameter.default}." if shown else text


def setup(app: Sphinx) -> dict[str, Any]:
    """Register the directive."""
    app.add_directive("command", CommandPage)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
