from __future__ import annotations

import struct

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, ShapeError
from handgrad.viz import plot_feature_maps


@pytest.fixture
def model():
    return hg.Sequential(
        [
            layers.Conv2D(3, 3, name="conv"),
            layers.ReLU(name="relu"),
            layers.MaxPooling2D(2, name="pool"),
            layers.Flatten(),
            layers.Dense(2, name="dense"),
        ],
        input_shape=(8, 8, 1),
    )


@pytest.fixture
def image():
    return np.random.default_rng(0).normal(size=(8, 8, 1)).astype(np.float32)


def size(path):
    return struct.unpack(">II", path.read_bytes()[16:24])


class TestPlot:
    @pytest.fixture(autouse=True)
    def matplotlib(self):
        pytest.importorskip("matplotlib")

    def test_a_row_for_each_layer_that_gives_images(self, model, image, tmp_path):
        before = model.state()
        plot_feature_maps(model, image, tmp_path / "all.png")
        plot_feature_maps(model, image, tmp_path / "one.png", layers=("relu",))
        plot_feature_maps(model, image, tmp_path / "few.png", layers=("relu",), channels=2)
        height = round(1.15 * 120)
        assert size(tmp_path / "all.png") == (1248, round(3 * 1.15 * 120))
        assert size(tmp_path / "one.png") == (1248, height)
        assert size(tmp_path / "few.png") == (round((1.1 * 2 + 1.6) * 120), height)
        assert (tmp_path / "all.png").stat().st_size > 5_000
        for name, value in model.state().items():
            np.testing.assert_array_equal(value, before[name])

    @pytest.mark.parametrize("value", [float("nan"), float("inf"), 0.0])
    def test_maps_that_are_not_finite_or_constant(self, model, image, value, tmp_path):
        image[...] = value
        with np.errstate(invalid="ignore"):
            plot_feature_maps(model, image, tmp_path / "p.png", layers=("conv", "pool"))
        assert size(tmp_path / "p.png")[0] == 1248


def test_layers_that_give_no_images_are_refused(model, image, tmp_path):
    with pytest.raises(ArgumentError) as error:
        plot_feature_maps(model, image, tmp_path / "p.png", layers=("dense", "conv", "x"))
    assert str(error.value) == "layers: expected some of conv, relu, pool, got dense, x"


def test_a_model_without_images_is_refused(tmp_path):
    model = hg.Sequential([layers.Dense(2)], input_shape=(3,))
    with pytest.raises(ArgumentError) as error:
        plot_feature_maps(model, np.zeros(3), tmp_path / "p.png")
    assert str(error.value) == "plot_feature_maps: expected a model with layers that give images, got none"


def test_an_image_of_another_shape_is_refused(model, tmp_path):
    with pytest.raises(ShapeError) as error:
        plot_feature_maps(model, np.zeros((8, 9, 1)), tmp_path / "p.png")
    assert str(error.value) == "Sequential: expected a batch of shape (n, 8, 8, 1), got shape (1, 8, 9, 1)"
    assert list(tmp_path.iterdir()) == []
