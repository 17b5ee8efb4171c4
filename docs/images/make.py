"""Makes the pictures of the README and of the documentation: trains on the digits and draws what comes out.

python docs/images/make.py
"""

from __future__ import annotations

import tempfile
from pathlib import Path

from handgrad import data
from handgrad.train import Experiment, Progress, recipe_for
from handgrad.viz import plot_feature_maps, plot_history
from handgrad.viz.figure import new_figure, write_figure

HERE = Path(__file__).parent


def write_text(text: str, path: Path) -> None:
    """Write lines in a monospaced font as a picture."""
    lines = text.split("\n")
    width, height = 0.085 * max(map(len, lines)) + 0.4, 0.171 * len(lines) + 0.3
    figure = new_figure(width, height)
    figure.set_layout_engine("none")
    figure.text(
        0.2 / width, 1 - 0.15 / height, text, family="monospace", fontsize=10, va="top", linespacing=1.25
    )
    write_figure(figure, path)


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        experiment = Experiment(Path(folder) / "digits", recipe_for("digits"))
        model = experiment.trainer.model
        write_text(model.summary(), HERE / "summary.png")
        result = experiment.run([Progress()])
        assert result is not None
        title = f"handgrad train digits: test accuracy {result['test_accuracy']:.2%}"
        plot_history(experiment.trainer.history, HERE / "learning-curves.png", title=title)
        shown = ("stage1.conv1", "stage1.relu1", "stage1.pool", "stage2.relu1", "stage2.pool")
        image = data.digits().x_test[0]
        plot_feature_maps(model, image, HERE / "feature-maps.png", layers=shown)


if __name__ == "__main__":
    main()
