from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.models import small_cnn


@pytest.mark.parametrize(
    ("shape", "stages", "last"),
    [
        ((4, 4, 1), 2, (1, 1, 4)),
        ((5, 7, 2), 2, (1, 1, 4)),
        ((8, 8, 1), 2, (2, 2, 4)),
        ((9, 8, 1), 2, (2, 2, 4)),
        ((20, 20, 1), 3, (2, 2, 8)),
        ((28, 28, 1), 3, (3, 3, 8)),
        ((32, 32, 3), 3, (4, 4, 8)),
        ((64, 48, 3), 4, (4, 3, 16)),
    ],
)
def test_stages_halve_the_image_and_double_the_channels(shape, stages, last):
    model = small_cnn(shape, 5, width=2)
    pools = [node for node in model.nodes if isinstance(node.layer, layers.MaxPooling2D)]
    assert len(pools) == stages
    assert [node.shape[-1] for node in pools] == [2 * 2**i for i in range(stages)]
    assert pools[-1].shape == last
    assert model.input_shape == shape
    assert model.output_shape == (5,)


def test_names_say_where_a_layer_stands():
    model = small_cnn((8, 8, 1), 10)
    stage = ["conv1", "bn1", "relu1", "conv2", "bn2", "relu2", "pool", "dropout"]
    names = [f"stage{i}.{name}" for i in (1, 2) for name in stage]
    assert [node.name for node in model.nodes] == [*names, "flatten", "logits"]
    assert list(model.parameters())[:4] == [
        "stage1.conv1.weight",
        "stage1.bn1.gamma",
        "stage1.bn1.beta",
        "stage1.conv2.weight",
    ]


def test_convolutions_before_a_normalization_have_no_bias():
    model = small_cnn((8, 8, 1), 10)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert [c.filters for c in convolutions] == [32, 32, 64, 64]
    assert not any(c.use_bias for c in convolutions)
    assert {layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)} == {0.9}


def test_its_arguments():
    model = small_cnn((8, 8, 1), 3, width=4, dropout=0.125, seed=7, dtype="float64")
    assert {layer.rate for layer in model.layers if isinstance(layer, layers.Dropout)} == {0.125}
    assert model["stage1.conv1"].filters == 4
    assert (model.seed, model.dtype) == (7, np.float64)
    assert model["logits"].units == 3
    same = small_cnn((8, 8, 1), 3, width=4, seed=7, dtype="float64")
    other = small_cnn((8, 8, 1), 3, width=4, seed=8, dtype="float64")
    weight = model["stage1.conv1"].weight.value
    np.testing.assert_array_equal(weight, same["stage1.conv1"].weight.value)
    assert not np.array_equal(weight, other["stage1.conv1"].weight.value)


def test_it_gives_logits_of_a_sensible_size():
    model = small_cnn((8, 8, 1), 10)
    x = hg.rng.Stream((1,)).uniform((64, 8, 8, 1))
    z, _ = model.forward(x, hg.Run(training=True))
    assert z.shape == (64, 10)
    assert 0.2 < z.std() < 5


def test_its_gradients_are_right():
    model = small_cnn((5, 4, 2), 3, width=2, dtype="float64")
    hg.testing.gradcheck(model, hg.rng.Stream((1,)).normal((3, 5, 4, 2), dtype="float64"), training=True)


def test_it_learns_the_digits():
    digits = hg.data.digits()
    model = small_cnn((8, 8, 1), 10, width=8, dropout=0.0)
    trainer = hg.Trainer(model, "cross_entropy", hg.optim.Adam(0.01), metrics=["accuracy"])
    trainer.fit(digits.x_train[:600], digits.y_train[:600], epochs=3, batch_size=32)
    assert trainer.evaluate(digits.x_test, digits.y_test)["accuracy"] > 0.85


@pytest.mark.parametrize("shape", [(3, 8, 1), (8, 3, 1), (8, 8), (8, 8, 1, 1)])
def test_images_that_are_too_small_or_none_are_refused(shape):
    with pytest.raises(ArgumentError) as error:
        small_cnn(shape, 10)
    assert (
        str(error.value)
        == f"small_cnn input_shape: expected (height, width, channels), 4x4 or more, got {shape}"
    )


def test_a_width_that_means_nothing_is_refused():
    with pytest.raises(ArgumentError) as error:
        small_cnn((8, 8, 1), 10, width=0)
    assert str(error.value) == "stage1.conv1 (Conv2D) filters: expected an int, at least 1, got 0"


def test_a_number_of_classes_that_means_nothing_is_refused():
    with pytest.raises(ArgumentError) as error:
        small_cnn((8, 8, 1), 0)
    assert str(error.value) == "logits (Dense) units: expected an int, at least 1, got 0"
