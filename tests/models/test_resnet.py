from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError
from handgrad.models import resnet18, resnet20, resnet50

MODELS = [resnet18, resnet20, resnet50]


def size(model):
    return sum(p.size for p in model.parameters().values())


def shapes(model, last):
    """Return the output shapes of the nodes whose names end so."""
    return [node.shape for node in model.nodes if node.name.endswith(last)]


@pytest.mark.parametrize(
    ("make", "shape", "classes", "stem", "parameters"),
    [
        (resnet18, (32, 32, 3), 10, "3x3", 11_173_962),
        (resnet18, (224, 224, 3), 1000, "7x7", 11_689_512),  # torchvision's
        (resnet50, (32, 32, 3), 10, "3x3", 23_520_842),
        (resnet50, (224, 224, 3), 1000, "7x7", 25_557_032),  # torchvision's
    ],
)
def test_the_number_of_parameters_is_the_known_one(make, shape, classes, stem, parameters):
    assert size(make(shape, classes, stem=stem)) == parameters


def test_resnet20_has_two_projections_more_than_the_papers():
    projections = (16 * 32 + 2 * 32) + (32 * 64 + 2 * 64)
    assert size(resnet20((32, 32, 3), 10)) == 269_722 + projections


def test_the_shapes_of_resnet18():
    model = resnet18((32, 32, 3), 10)
    assert model["stem.conv"].weight.shape == (3, 3, 3, 64)
    blocks = [(32, 32, 64), (16, 16, 128), (8, 8, 256), (4, 4, 512)]
    assert shapes(model, ".add") == [shape for shape in blocks for _ in range(2)]
    assert shapes(model, "projection.conv") == blocks[1:]
    assert model["stage2.block1.projection.conv"].weight.shape == (1, 1, 64, 128)
    assert model.output_shape == (10,)


def test_the_shapes_of_resnet20():
    model = resnet20((32, 32, 3), 10)
    blocks = [(32, 32, 16), (16, 16, 32), (8, 8, 64)]
    assert shapes(model, ".add") == [shape for shape in blocks for _ in range(3)]
    assert shapes(model, "projection.conv") == blocks[1:]
    layers_with_weights = [n for n in model.parameters() if n.endswith("weight") and "projection" not in n]
    assert len(layers_with_weights) == 20


def test_the_shapes_of_resnet50():
    model = resnet50((64, 96, 3), 10)
    assert model["stem.conv"].weight.shape == (7, 7, 3, 64)
    assert shapes(model, "stem.conv") == [(32, 48, 64)]
    assert shapes(model, "stem.pool") == [(16, 24, 64)]
    blocks = [(16, 24, 256), (8, 12, 512), (4, 6, 1024), (2, 3, 2048)]
    wanted = [shape for shape, n in zip(blocks, (3, 4, 6, 3), strict=True) for _ in range(n)]
    assert shapes(model, ".add") == wanted
    assert shapes(model, "projection.conv") == blocks
    assert model["stage1.block1.conv3"].weight.shape == (1, 1, 64, 256)


def test_the_stride_of_a_bottleneck_is_that_of_its_3x3_convolution():
    model = resnet50((64, 64, 3), 10, width=4)
    strided = [n.name for n in model.nodes if getattr(n.layer, "strides", 1) == 2]
    stages = [f"stage{i}.block1.{conv}" for i in (2, 3, 4) for conv in ("conv2", "projection.conv")]
    assert strided == ["stem.conv", "stem.pool", *stages]


def test_a_block_is_two_convolutions_plus_its_input():
    model = resnet18((8, 8, 3), 10, width=2)
    names = [node.name for node in model.nodes]
    first = ["conv1", "bn1", "relu1", "conv2", "bn2", "add", "relu2"]
    assert names[:10] == ["stem.conv", "stem.bn", "stem.relu", *(f"stage1.block1.{n}" for n in first)]
    add = model.nodes[names.index("stage1.block1.add")]
    assert [names[i - 1] for i in add.inputs] == ["stage1.block1.bn2", "stem.relu"]
    add = model.nodes[names.index("stage2.block1.add")]
    assert [names[i - 1] for i in add.inputs] == ["stage2.block1.bn2", "stage2.block1.projection.bn"]
    assert names[-2:] == ["pool", "logits"]


@pytest.mark.parametrize("make", MODELS)
def test_convolutions_have_no_bias_and_he_initialization(make):
    model = make((16, 16, 3), 10, width=8)
    convolutions = [layer for layer in model.layers if isinstance(layer, layers.Conv2D)]
    assert not any(c.use_bias for c in convolutions)
    assert {c.kernel_initializer for c in convolutions} == {"he_normal"}
    assert {layer.momentum for layer in model.layers if isinstance(layer, layers.BatchNormalization)} == {0.9}


@pytest.mark.parametrize("make", MODELS)
@pytest.mark.parametrize("shape", [(1, 1, 1), (5, 3, 2), (9, 16, 3)])
def test_images_of_any_size_pass(make, shape):
    model = make(shape, 4, width=2)
    run = hg.Run(training=True)
    z, trace = model.forward(hg.rng.Stream((1,)).normal((3, *shape)), run)
    dx = model.backward(np.ones_like(z), trace, run, need_dx=True)
    assert (z.shape, dx.shape) == ((3, 4), (3, *shape))


@pytest.mark.parametrize(
    ("make", "options"), [(resnet18, {"stem": "7x7"}), (resnet20, {}), (resnet50, {"stem": "3x3"})]
)
def test_gradients_are_right(make, options):
    """At sizes that leave the last stage several values to normalize over."""
    model = make((17, 16, 2), 3, width=2, dtype="float64", **options)
    x = hg.rng.Stream((1,)).normal((6, 17, 16, 2), dtype="float64")
    hg.testing.gradcheck(model, x, directions=1)


def test_arguments():
    model = resnet20((8, 8, 3), 3, width=4, seed=7, dtype="float64")
    assert (model.seed, model.dtype, model["stem.conv"].filters) == (7, np.float64, 4)
    same, other = (resnet20((8, 8, 3), 3, width=4, seed=s, dtype="float64") for s in (7, 8))
    weight = model["stem.conv"].weight.value
    np.testing.assert_array_equal(weight, same["stem.conv"].weight.value)
    assert not np.array_equal(weight, other["stem.conv"].weight.value)


def test_stages_of_other_lengths():
    assert size(resnet50((64, 64, 3), 1000, blocks=(3, 4, 23, 3))) == 44_549_160  # torchvision's ResNet-101
    model = resnet50((8, 8, 3), 10, blocks=[1, 2], width=2)
    assert shapes(model, ".add") == [(2, 2, 8), (1, 1, 16), (1, 1, 16)]


def test_resnet20_learns():
    """Two classes that differ in the mean of the image."""
    rng = hg.rng.Stream((5,))
    y = rng.child("y").integers(0, 2, (64,))
    x = rng.child("x").normal((64, 8, 8, 1)) + y[:, None, None, None]
    model = resnet20((8, 8, 1), 2, width=4)
    trainer = hg.Trainer(model, "cross_entropy", hg.optim.SGD(0.05, 0.9), metrics=["accuracy"])
    history = trainer.fit(x, y, epochs=6, batch_size=16)
    assert history["accuracy"][-1] > 0.9


@pytest.mark.parametrize("make", MODELS)
def test_what_is_no_image_is_refused(make):
    with pytest.raises(ArgumentError) as error:
        make((8, 8), 10)
    name = make.__name__
    assert str(error.value) == f"{name} input_shape: expected (height, width, channels), got (8, 8)"


@pytest.mark.parametrize("make", [resnet18, resnet50])
def test_an_unknown_stem_is_refused(make):
    with pytest.raises(ArgumentError) as error:
        make((8, 8, 3), 10, stem="5x5")
    assert str(error.value) == f'{make.__name__} stem: expected "3x3" or "7x7", got \'5x5\''
