"""PyTorch's twins compute what handgrad's models do: else a comparison of times means nothing."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, models
from handgrad.bench import pytorch, workloads
from handgrad.bench.workloads import Workload
from handgrad.errors import ArgumentError

torch = pytest.importorskip("torch")

MODELS = {
    "resnet20": lambda: models.resnet20((9, 8, 3), 10, width=4),
    "bottlenecks": lambda: models.resnet50((16, 16, 3), 10, width=4, blocks=(1, 2)),
    "lenet": lambda: models.lenet((8, 7, 1), 10, width=4),
    "digits": workloads.posts_convnet,
    "small_cnn": lambda: models.small_cnn((8, 8, 1), 10, width=4, dropout=0.0),
}


@pytest.mark.parametrize("layout", pytorch.LAYOUTS)
@pytest.mark.parametrize("name", MODELS)
def test_losses_of_the_first_steps_agree(name, layout):
    workload = Workload(name, name, MODELS[name], 12)
    ours, theirs = workloads.step(workload), pytorch.training_step(workload, layout)
    np.testing.assert_allclose([theirs() for _ in range(4)], [ours() for _ in range(4)], rtol=1e-4)


@pytest.mark.parametrize("way", ["eager", "fused", "jit"])
@pytest.mark.parametrize("layout", pytorch.LAYOUTS)
def test_outputs_in_inference_agree(way, layout):
    workload = Workload("r", "r", MODELS["resnet20"], 6, training=False)
    ours, theirs = workloads.step(workload)(), pytorch.inference_step(workload, layout, way)()
    np.testing.assert_allclose(theirs, ours, atol=2e-5 * np.abs(ours).max())


def test_bfloat16_is_near_and_not_the_same():
    workload = Workload("l", "l", MODELS["lenet"], 12)
    exact = pytorch.training_step(workload, "channels_last")()
    rounded = pytorch.training_step(workload, "channels_last", "bfloat16")()
    assert 0 < abs(rounded - exact) < 0.03 * exact


@pytest.mark.parametrize(
    "layer",
    [
        layers.Conv2D(4, 3, 2, "same"),
        layers.Conv2D(6, (3, 2), (1, 2), ((0, 1), (2, 0)), use_bias=False),
        layers.Conv2D(4, 3, 1, 2, 2, 2),
        layers.MaxPooling2D(3, 2, 1),
        layers.GlobalAveragePooling2D(),
        layers.Flatten(),
    ],
)
def test_a_layer_is_the_same(layer):
    model = hg.Sequential([layer], input_shape=(7, 6, 2))
    x = hg.rng.Stream((1,)).normal((3, 7, 6, 2))
    with torch.no_grad():
        y = pytorch.twin(model, training=False)(pytorch.images(x))
    y = y.permute(0, 2, 3, 1) if y.ndim == 4 else y
    np.testing.assert_allclose(y, model.predict(x), atol=1e-5)


def test_images_have_their_layout():
    x = np.arange(24, dtype=np.float32).reshape(1, 2, 3, 4)
    for layout, strides in (("contiguous", (24, 6, 3, 1)), ("channels_last", (24, 1, 12, 4))):
        tensor = pytorch.images(x, layout)
        assert tensor.stride() == strides
        np.testing.assert_array_equal(tensor.permute(0, 2, 3, 1), x)


def test_what_is_read_again_is_not_overwritten():
    """The input of a residual block, and that of the model."""
    i = hg.Input((4, 4, 2))
    h = layers.ReLU()(i)
    model = hg.Graph(i, layers.Add()(h, layers.ReLU()(layers.Add()(h, i))))
    x = pytorch.images(hg.rng.Stream((1,)).normal((2, 4, 4, 2)))
    before = x.clone()
    y = pytorch.twin(model)(x)
    assert torch.equal(x, before)
    np.testing.assert_allclose(y.permute(0, 2, 3, 1), model.predict(before.permute(0, 2, 3, 1).numpy()))


def test_nothing_of_the_model_is_kept():
    model = MODELS["lenet"]()
    network, ref = pytorch.twin(model), weakref.ref(model)
    del model
    assert ref() is None
    assert network is not None


@pytest.mark.parametrize("layer", [layers.Tanh(), layers.MaxPooling2D(2, 2, "same")])
def test_a_layer_that_is_not_known_is_refused(layer):
    with pytest.raises(ArgumentError, match=r"^twin: expected a layer that is known here, got "):
        pytorch.twin(hg.Sequential([layer], input_shape=(5, 5, 1)))


def test_the_ways():
    training, inference = (Workload("l", "l", MODELS["lenet"], 4, training=t) for t in (True, False))
    assert list(pytorch.steps(training)) == ["torch contiguous", "torch channels_last"]
    ways = [f"torch {way} {layout}" for way in ("eager", "fused", "jit") for layout in pytorch.LAYOUTS]
    assert list(pytorch.steps(inference)) == ways
    for workload in (training, inference):
        assert list(pytorch.steps(workload, compiled=True))[-1] == "torch compiled"
