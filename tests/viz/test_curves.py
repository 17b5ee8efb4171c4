from __future__ import annotations

import struct
import sys

import numpy as np
import pytest

from handgrad.errors import ArgumentError, MissingExtraError
from handgrad.train import History
from handgrad.viz import draw_history, plot_feature_maps, plot_history

NAN, INF = float("nan"), float("inf")


def png_size(path):
    """Return the width and height that a PNG file says it has."""
    data = path.read_bytes()
    assert data[:8] == b"\x89PNG\r\n\x1a\n"
    assert data[-8:-4] == b"IEND"
    return struct.unpack(">II", data[16:24])


class TestDraw:
    def test_two_quantities(self):
        history = {
            "loss": [4, 3, 2.4, 2, 1],
            "accuracy": [0.2, 0.4, 0.7, 0.8, 1.0],
            "val_loss": [4, 3.6, 3, 3, 2],
        }
        assert draw_history(history, width=17, height=4) == (
            "loss  · training 1  o validation 2\n"
            "      4 ┤o   o\n"
            "      3 ┤    ·   o   o\n"
            "      2 ┤        ·   ·   o\n"
            "      1 ┤                ·\n"
            "        └─────────────────\n"
            "         1               5  epoch\n"
            "\n"
            "accuracy  · training 1\n"
            "      1 ┤                ·\n"
            " 0.7333 ┤        ·   ·\n"
            " 0.4667 ┤    ·\n"
            "    0.2 ┤·\n"
            "        └─────────────────\n"
            "         1               5  epoch"
        )

    def test_its_size(self):
        lines = draw_history({"loss": list(np.linspace(1, 0, 500))}, width=40, height=10).split("\n")
        assert len(lines) == 1 + 10 + 2
        assert max(map(len, lines[1:-1])) == 9 + 40
        assert lines[-1].startswith("         1")
        assert lines[-1].endswith("500  epoch")

    def test_the_default_fits_into_80_columns(self):
        assert max(map(len, draw_history({"loss": [123456.789, 1e-9]}).split("\n"))) <= 80

    @pytest.mark.parametrize("value", [NAN, INF, -INF])
    def test_values_that_are_not_finite_are_left_out(self, value):
        drawn = draw_history({"loss": [3.0, value, 1.0]}, width=5, height=3)
        assert drawn == (
            "loss  · training 1\n      3 ┤·\n      2 ┤\n      1 ┤    ·\n        └─────\n         1   3  epoch"
        )

    def test_nothing_but_such_values(self):
        drawn = draw_history({"loss": [NAN, INF], "val_loss": [NAN, -INF]}, width=3, height=2)
        assert drawn == (
            "loss  · training inf  o validation -inf\n      1 ┤\n      0 ┤\n        └───\n         1 2  epoch"
        )

    def test_a_constant(self):
        assert "      2 ┤·   ·" in draw_history({"loss": [2, 2]}, width=5, height=3)

    def test_one_epoch(self):
        drawn = draw_history({"loss": [2]}, width=3, height=1)
        assert drawn == "loss  · training 2\n      2 ┤·\n        └───\n         1    epoch"

    def test_no_epoch(self):
        assert draw_history({}) == draw_history({"loss": [], "val_loss": []}) == ""

    def test_validation_that_began_later(self):
        history = History()
        history.append({"loss": 3.0})
        history.append({"loss": 1.0, "val_loss": 2.0})
        assert draw_history(history, width=5, height=3).split("\n")[1:4] == [
            "      3 ┤·",
            "      2 ┤    o",
            "      1 ┤    ·",
        ]


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_a_panel_for_each_quantity(self, tmp_path):
        history = {"loss": [3, 2, 1], "val_loss": [3, 2, 2]}
        plot_history(history, tmp_path / "new/one.png", title="a run")
        plot_history(history | {"accuracy": [0, 0.5, 1]}, tmp_path / "two.png")
        one, two = png_size(tmp_path / "new/one.png"), png_size(tmp_path / "two.png")
        assert one == (576, 432)
        assert two == (1152, 432)
        assert 5_000 < (tmp_path / "new/one.png").stat().st_size < 200_000

    def test_the_curves_are_in_the_picture(self, tmp_path):
        from PIL import Image

        plot_history({"loss": [3, 2, 1], "val_loss": [3, 2, 2]}, tmp_path / "p.png")
        pixels = {
            tuple(p)
            for p in np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).reshape(-1, 3).tolist()
        }
        assert {(0x4C, 0x72, 0xB0), (0xDD, 0x84, 0x52)} <= pixels

    @pytest.mark.parametrize("values", [[0.5], [NAN, 0.5], [0.5, NAN, INF], [NAN, 0.5, NAN, NAN]])
    def test_a_value_that_no_line_reaches_has_a_dot(self, values, tmp_path):
        from PIL import Image

        def coloured(history):
            plot_history(history, tmp_path / "p.png")
            pixels = np.asarray(Image.open(tmp_path / "p.png").convert("RGB")).astype(int)
            return (abs(pixels - (0x4C, 0x72, 0xB0)).sum(-1) < 30).sum()

        legend = coloured({"loss": [NAN] * len(values)})
        assert coloured({"loss": values}) > legend + 10

    def test_a_line_of_training_has_no_dots(self, tmp_path):
        from handgrad.viz.curves import _alone

        assert _alone([3.0, 2.0, 1.0]) == []
        assert _alone([3.0, NAN, 1.0, 0.5, NAN, 2.0]) == [0, 5]

    @pytest.mark.parametrize("values", [[NAN, 1.0, INF], [NAN, NAN], [INF], [-INF, NAN, 2.0]])
    def test_values_that_are_not_finite(self, values, tmp_path):
        plot_history({"loss": values, "val_loss": values[::-1]}, tmp_path / "p.png")
        assert png_size(tmp_path / "p.png") == (576, 432)

    def test_leaves_no_trace_in_pyplot(self, tmp_path):
        before = "matplotlib.pyplot" in sys.modules
        plot_history({"loss": [1, 2]}, tmp_path / "p.png")
        assert ("matplotlib.pyplot" in sys.modules) == before

    def test_replaces_an_older_picture(self, tmp_path):
        (tmp_path / "p.png").write_text("old")
        plot_history({"loss": [1, 2]}, tmp_path / "p.png")
        assert png_size(tmp_path / "p.png") == (576, 432)
        assert [p.name for p in tmp_path.iterdir()] == ["p.png"]


@pytest.mark.parametrize("history", [{}, {"loss": []}])
def test_a_history_without_an_epoch_is_refused(history, tmp_path):
    with pytest.raises(ArgumentError) as error:
        plot_history(history, tmp_path / "p.png")
    assert str(error.value) == "history: expected at least one epoch, got none"


def test_without_matplotlib_the_message_says_how_to_get_it(tmp_path, monkeypatch):
    import handgrad as hg

    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    model = hg.Sequential([hg.layers.Conv2D(2, 1)], input_shape=(4, 4, 1))
    for plot in (
        lambda: plot_history({"loss": [1]}, tmp_path / "p.png"),
        lambda: plot_feature_maps(model, np.zeros((4, 4, 1)), tmp_path / "p.png"),
    ):
        with pytest.raises(MissingExtraError) as error:
            plot()
        assert str(error.value) == (
            "figure: expected matplotlib, got an installation without it; python -m pip install "
            "'handgrad[plot]'"
        )
        assert isinstance(error.value, ImportError)
    assert list(tmp_path.iterdir()) == []


def test_drawing_needs_no_matplotlib(monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert draw_history({"loss": [1]}).startswith("loss  · training 1\n")
