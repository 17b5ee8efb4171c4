from __future__ import annotations

import numpy as np
import pytest

from handgrad import models
from handgrad.bench import workloads
from handgrad.bench.quick import NETWORKS
from handgrad.bench.workloads import WORKLOADS, Workload, flops, step
from handgrad.errors import ArgumentError

TINY = Workload("tiny", "tiny", lambda: models.resnet20((8, 8, 3), 10, width=2), 16)
TINY_INFERENCE = Workload("tiny", "tiny", TINY.build, 5, training=False)


def test_names_stay():
    """Results are found by them."""
    assert list(WORKLOADS) == [
        "resnet18-b128",
        "resnet20-b128",
        "stack64-b128",
        "bottlenecks-b32",
        "resnet50-b32",
        "lenet-b64",
        "digits-b256",
        "resnet18-inference-b1",
        "resnet18-inference-b64",
    ]
    assert all(name == w.name for name, w in WORKLOADS.items())
    assert set(NETWORKS) <= WORKLOADS.keys()


@pytest.mark.parametrize("name", WORKLOADS)
def test_names_say_the_batch(name):
    assert name.endswith(f"-b{WORKLOADS[name].batch}")
    assert WORKLOADS[name].training == ("inference" not in name)


@pytest.mark.parametrize("name", WORKLOADS)
def test_titles_fit_into_the_table(name):
    assert len(WORKLOADS[name].title) <= 38


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("stack64-b128", 27 * 64 + 6 * 9 * 64**2 + 7 * 2 * 64 + 650),
        ("digits-b256", 10 * 16 + 32 + 145 * 32 + 64 + 2049 * 256 + 512 + 2570),
        ("bottlenecks-b32", None),
        ("lenet-b64", None),
    ],
)
def test_the_networks(name, parameters):
    model = WORKLOADS[name].build()
    assert model.output_shape == (10,)
    if parameters:
        assert sum(p.size for p in model.parameters().values()) == parameters


def test_a_model_has_the_same_weights_each_time():
    a, b = TINY.model().state(), TINY.model().state()
    assert all(np.array_equal(a[name], b[name]) for name in a)


def test_running_statistics_are_moved_for_inference_alone():
    assert TINY.model()["stem.bn"].updates.value == 0
    assert TINY_INFERENCE.model()["stem.bn"].updates.value == 1


def test_a_training_step_trains():
    do = step(TINY)
    losses = [do() for _ in range(20)]
    assert losses[-1] < 0.7 * losses[0]


def test_an_inference_step_returns_the_outputs():
    model = TINY_INFERENCE.model()
    x, _ = TINY_INFERENCE.data(model)
    np.testing.assert_allclose(step(TINY_INFERENCE)(), model.predict(x), atol=1e-4)


def test_operations_are_counted_twice_per_multiplication():
    model = models.lenet((4, 4, 1), 10, width=1)
    per_layer = [16 * 25, 16, 16, 4 * 25 * 2, 8, 8, 2 * 10]  # convolution, normalization, pooling, dense
    assert flops(model) == 2 * sum(per_layer)


def test_precisions_are_those_that_a_trainer_takes(monkeypatch):
    def kernels(precision):
        raise ArgumentError("precision", expected="another", got=precision)

    monkeypatch.setattr(workloads, "default_kernels", kernels)
    assert workloads.precisions() == ("float32",)
    monkeypatch.setattr(workloads, "default_kernels", lambda precision: None)
    assert workloads.precisions() == ("float32", "bfloat16")
