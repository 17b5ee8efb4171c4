"""Configuration of the documentation.

Built by ``python -m sphinx -W --keep-going -b html docs docs/_build/html``.
"""

from __future__ import annotations

import sys
from pathlib import Path

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE / "_ext"), str(HERE.parent / "src")]

import handgrad  # noqa: E402 (found by the line above, installed or not)

project = "handgrad"
author = "The handgrad authors"
copyright = "The handgrad authors, MIT licence"
version = release = handgrad.__version__

extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.autosummary",
    "sphinx.ext.viewcode",
    "numpydoc",
    "myst_parser",
    "mathml",
    "layer_page",
    "terms_page",
    "command_line",
    "docstrings",
]
exclude_patterns = ["_build"]
smartquotes = False

html_theme = "furo"
html_title = f"handgrad {release}"
html_static_path = ["_static"]
html_css_files = ["handgrad.css"]
html_math_renderer = "mathml"
html_copy_source = False
html_show_sphinx = False

myst_enable_extensions = ["colon_fence", "deflist", "dollarmath"]
myst_heading_anchors = 3

# `Conv2D` in a docstring is a link where there is such an object, and else an argument's name.
default_role = "py:obj"
add_module_names = False
autodoc_typehints = "none"
autodoc_preserve_defaults = True
autodoc_member_order = "bysource"
autosummary_generate = False
numpydoc_show_class_members = False
numpydoc_class_members_toctree = False
numpydoc_xref_param_type = False
