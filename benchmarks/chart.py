"""The ratios as a picture: ``python -m benchmarks.chart benchmarks/results/versus_torch.json``."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

SERIES = {
    ("float32", "default"): ("float32", "#2a6f97"),
    ("float32", "tuned"): ("float32, malloc tuned for PyTorch", "#61a5c2"),
    ("bfloat16", "tuned"): ("bfloat16, malloc tuned", "#e09f3e"),
}


def draw(report: dict[str, Any], folder: Path) -> list[Path]:
    """Write the chart as SVG and PNG and return their paths; nothing without matplotlib."""
    try:
        import matplotlib
    except ImportError:
        return []
    matplotlib.use("agg")
    from matplotlib import pyplot

    ratios = {
        (row["title"], row["precision"], row["malloc"]): row["ratios"]["torch"]["ratio_of_medians"]
        for row in report["rows"]
        if not row["apart"] and "torch" in row["ratios"]
    }
    in_float32 = any(row["handgrad_precision"] != row["precision"] for row in report["rows"])
    titles = list(dict.fromkeys(title for title, _, _ in ratios))
    if not titles:
        return []
    measured = {key: series for key, series in SERIES.items() if key in {(p, m) for _, p, m in ratios}}
    thick = 0.8 / len(measured)
    figure, axes = pyplot.subplots(figsize=(8, 0.9 + 0.62 * len(titles)), layout="constrained")
    for i, ((precision, malloc), (label, colour)) in enumerate(measured.items()):
        found = [
            (k, ratios[t, precision, malloc])
            for k, t in enumerate(titles)
            if (t, precision, malloc) in ratios
        ]
        if precision == "bfloat16" and in_float32:
            label += ", handgrad in float32"
        places = [k + (i - (len(measured) - 1) / 2) * thick for k, _ in found]
        bars = axes.barh(places, [ratio for _, ratio in found], 0.92 * thick, color=colour, label=label)
        axes.bar_label(bars, fmt="%.2f", padding=3, fontsize=8, color="#444444")
    axes.axvline(1, color="#444444", linewidth=1)
    axes.set_yticks(range(len(titles)), titles)
    axes.invert_yaxis()
    axes.set_xlabel("PyTorch's time / handgrad's (medians; right of 1 handgrad is faster)")
    axes.margins(x=0.08)
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside upper center", ncols=3, frameon=False, fontsize=8)
    paths = [folder / f"versus_torch.{kind}" for kind in ("svg", "png")]
    for path in paths:
        figure.savefig(path, dpi=160)
    pyplot.close(figure)
    return paths


if __name__ == "__main__":
    source = Path(sys.argv[1])
    print(*draw(json.loads(source.read_text()), source.parent), sep="\n")
