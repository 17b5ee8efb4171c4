from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.models import lenet


def test_its_shapes_and_parameters():
    model = lenet((28, 28, 1), 10)
    stage = ["conv", "bn", "relu", "pool"]
    names = [f"{name}{i}" for i in (1, 2) for name in stage]
    assert [node.name for node in model.nodes] == [*names, "flatten", "logits"]
    by_name = {node.name: node.shape for node in model.nodes}
    assert by_name["pool1"] == (14, 14, 16)
    assert by_name["pool2"] == (7, 7, 32)
    assert model["conv1"].weight.shape == (5, 5, 1, 16)
    assert model["conv2"].weight.shape == (5, 5, 16, 32)
    assert sum(p.size for p in model.parameters().values()) == (
        25 * 16 + 2 * 16 + 25 * 16 * 32 + 2 * 32 + 7 * 7 * 32 * 10 + 10
    )


def test_convolutions_before_a_normalization_have_no_bias():
    model = lenet((28, 28, 1), 10)
    assert not any(layer.use_bias for layer in model.layers if isinstance(layer, layers.Conv2D))


def test_its_arguments():
    model = lenet((8, 8, 3), 3, width=6, seed=7, dtype="float64")
    assert [model[f"conv{i}"].filters for i in (1, 2)] == [6, 12]
    assert (model.seed, model.dtype, model.output_shape) == (7, np.float64, (3,))


def test_its_gradients_are_right():
    model = lenet((5, 4, 2), 3, width=2, dtype="float64")
    hg.testing.gradcheck(model, hg.rng.Stream((1,)).normal((3, 5, 4, 2), dtype="float64"))


@pytest.mark.parametrize("shape", [(3, 8, 1), (8, 8)])
def test_images_that_are_too_small_or_none_are_refused(shape):
    with pytest.raises(ArgumentError) as error:
        lenet(shape, 10)
    expected = "(height, width, channels), 4x4 or more"
    assert str(error.value) == f"lenet input_shape: expected {expected}, got {shape}"
