"""Figures as PNG files; matplotlib is an extra."""

from __future__ import annotations

import io
import os
from typing import Any

from handgrad.errors import MissingExtraError
from handgrad.io import replace_file


def new_figure(width: float, height: float) -> Any:
    """Return a figure of so many inches, which no window and no global list knows of.

    Raises
    ------
    MissingExtraError
        Without matplotlib.
    """
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise MissingExtraError(
            "figure",
            expected="matplotlib",
            got="an installation without it",
            do="python -m pip install 'handgrad[plot]'",
        ) from None
    return Figure(figsize=(width, height), layout="constrained")


def write_figure(figure: Any, path: str | os.PathLike[str], dpi: int = 120) -> None:
    """Write a figure as PNG; what stood at `path` is replaced at once or not at all."""
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=dpi)
    replace_file(path, content.getvalue())
