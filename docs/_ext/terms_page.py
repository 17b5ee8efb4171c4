"""The page of `handgrad.inspect.explain` that a chapter shows, written while the documentation is built."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from sphinx.application import Sphinx

from handgrad import inspect, layers
from handgrad.rng import Stream


def write_page(app: Sphinx, error: Exception | None) -> None:
    """Write the page, of the layer and the batch of the chapter."""
    if error is None and app.builder.format == "html":
        bn = layers.BatchNormalization()
        bn.build((3,), layers.Init(dtype=np.float64))
        bn.gamma.assign(np.array([1.5, -0.5, 2.0]))
        bn.beta.assign(np.array([0.1, 0.2, -1.0]))
        x = Stream((1,)).normal((4, 3), std=2.0, dtype=np.float64).round(1)
        inspect.explain(bn, x).save(Path(app.outdir) / "_static" / "terms.html")


def setup(app: Sphinx) -> dict[str, Any]:
    """Write it at the end."""
    app.connect("build-finished", write_page)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
