"""Three switches of a batch normalization: what normalizes, what moves, what is trained; all eight ways."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.graph.fuse import fuse
from handgrad.layers import BatchNormalization, Run
from handgrad.layers.fused_norm import BatchNormalizationAddReLU, BatchNormalizationReLU
from tests.layers.cases import normal
from tests.layers.normalizing import batch_statistics, built, derivative, normalized

NAMES = ("use_batch_statistics", "update_running_statistics", "trainable")
COMBINATIONS = [
    dict(zip(NAMES, values, strict=True)) for values in itertools.product((True, False), repeat=3)
]
each_combination = pytest.mark.parametrize(
    "switches", COMBINATIONS, ids=lambda s: " ".join("01"[s[name]] for name in NAMES)
)
each_mode = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])


def statistics(bn, x, training):
    """Return what x is normalized by, as a function of it."""
    if training and bn.use_batch_statistics:
        return batch_statistics(x)
    return bn.running_mean.value.copy(), bn.running_var.value.copy()


def set_switches(layer, switches):
    for name, value in switches.items():
        setattr(layer, name, value)


@each_combination
@each_mode
@pytest.mark.parametrize("kind", ["alone", "relu", "add"])
def test_every_combination(switches, training, kind):
    """Output, gradients and movement, each against its formula and complex steps of that."""
    bn = built((3, 2), moved=3, momentum=0.8)
    set_switches(bn, switches)
    layer = {"alone": bn, "relu": BatchNormalizationReLU(bn), "add": BatchNormalizationAddReLU(bn)}[kind]
    x, r, u = 1 + 2 * normal(4, 3, 2), normal(4, 3, 2, seed=1), normal(4, 3, 2, seed=2)
    gamma, beta = bn.gamma.value.copy(), bn.beta.value.copy()
    running = bn.running_mean.value.copy(), bn.running_var.value.copy()

    def formula(x, gamma, beta, r):
        mean, var = batch_statistics(x) if training and switches["use_batch_statistics"] else running
        z = normalized(x, gamma, beta, mean, var, bn.epsilon)
        z = z + r if kind == "add" else z
        return z if kind == "alone" else z * (z.real > 0)

    run = Run(training=training)
    y, saved = layer.forward((x, r) if kind == "add" else x, run)
    dx = layer.backward(u, saved, run)
    dx = dx if kind == "add" else (dx,)
    layer.commit(layer.retained(saved))

    close = {"rtol": 1e-11, "atol": 1e-13}
    at = [x, gamma, beta, r]
    expected = []
    for k in range(4):
        f = lambda z, k=k: np.sum(u * formula(*at[:k], z, *at[k + 1 :]))  # noqa: E731
        expected.append(derivative(f, at[k]))
    np.testing.assert_allclose(y, formula(*at), **close)
    for found, wanted in zip(dx, (expected[0], expected[3]), strict=False):
        np.testing.assert_allclose(found, wanted, **close)
    trained = switches["trainable"]
    np.testing.assert_allclose(bn.gamma.grad, trained * expected[1], **close)
    np.testing.assert_allclose(bn.beta.grad, trained * expected[2], **close)
    if training and switches["update_running_statistics"]:
        mean, var = batch_statistics(x)
        np.testing.assert_allclose(bn.running_mean.value, 0.8 * running[0] + 0.2 * mean, **close)
        np.testing.assert_allclose(bn.running_var.value, 0.8 * running[1] + 0.2 * var * 12 / 11, **close)
        assert bn.updates.value == 4
    else:
        for buffer, before in zip((bn.running_mean, bn.running_var), running, strict=True):
            np.testing.assert_array_equal(buffer.value, before)
        assert bn.updates.value == 3


@each_combination
@each_mode
def test_gradcheck_of_every_combination(switches, training):
    bn = built((3, 2), moved=3)
    set_switches(bn, switches)
    report = hg.testing.gradcheck(bn, normal(4, 3, 2), training=training, method="complex")
    assert set(report.errors) == {"x"} | ({"gamma", "beta"} if switches["trainable"] else set())
    assert {name: getattr(bn, name) for name in NAMES} == switches


def test_freeze_and_unfreeze_set_all_three():
    bn = BatchNormalization()
    fused = BatchNormalizationReLU(bn)
    for layer in (bn, fused):
        layer.freeze()
        assert [getattr(bn, name) for name in NAMES] == [False] * 3
        layer.unfreeze()
        assert [getattr(bn, name) for name in NAMES] == [True] * 3


def chain(**switches):
    """Return a model of which everything fuses: deferred, measured, with a residual."""
    options = {"padding": "same", "use_bias": False}
    i = hg.Input((4, 4, 3))
    h = layers.ReLU()(BatchNormalization(momentum=0.8)(i))
    z = BatchNormalization(momentum=0.8, **switches)(layers.Conv2D(3, 3, **options)(h))
    z = layers.ReLU()(layers.Add()(z, h))
    z = layers.ReLU()(BatchNormalization(momentum=0.8, **switches)(layers.Conv2D(3, 3, **options)(z)))
    z = layers.Conv2D(2, 3)(z)
    return hg.Graph(i, z, dtype="float64", seed=1)


@each_combination
@each_mode
def test_fused_layers_do_what_the_layers_do(switches, training):
    def step(make):
        model = chain(**switches)
        for name, buffer in model.buffers().items():
            if not name.endswith("updates"):
                buffer.assign(0.5 + normal(*buffer.shape, seed=len(name)) ** 2)
            else:
                buffer.assign(np.array(1))
        graph, run = make(model), Run(training=training)
        y, trace = graph.forward(1 + normal(5, 4, 4, 3), run)
        dx = graph.backward(normal(*y.shape, seed=1), trace, run, need_dx=True, release=True)
        graph.commit(trace)
        grads = {name: p.grad for name, p in model.parameters().items()}
        return {"y": y, "dx": dx} | grads | {name: b.value for name, b in model.buffers().items()}

    found, expected = step(fuse), step(lambda model: model)
    for name, value in expected.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-11, atol=1e-12, err_msg=name)
    assert any(np.any(value) for name, value in found.items() if name.endswith("gamma"))
    assert len(fuse(chain(**switches)).nodes) < len(chain(**switches).nodes)


@each_combination
def test_switches_are_saved_with_the_model(switches, tmp_path):
    model = hg.Sequential([layers.Dense(3), BatchNormalization(**switches)], input_shape=(4,))
    hg.save(model, tmp_path / "m.safetensors")
    again = hg.load(tmp_path / "m.safetensors")["batch_normalization"]
    assert {name: getattr(again, name) for name in NAMES} == switches


@pytest.mark.parametrize("trainable", [True, False])
def test_of_a_file_that_knows_trainable_alone_the_others_are_as_that(trainable):
    config = BatchNormalization(trainable=trainable).config()
    del config["use_batch_statistics"], config["update_running_statistics"]
    bn = BatchNormalization.from_config(config)
    assert [getattr(bn, name) for name in NAMES] == [trainable] * 3


def test_they_are_in_a_checkpoint_and_survive_a_fit(tmp_path):
    x, y = normal(24, 4, dtype=np.float32), np.arange(24) % 2
    model = hg.Sequential(
        [layers.Dense(3), BatchNormalization(), layers.ReLU(), layers.Dense(2)], input_shape=(4,)
    )
    bn = model["batch_normalization"]
    trainer = hg.Trainer(model, losses.CrossEntropy(), optim.SGD(0.1))
    trainer.fit(x, y, batch_size=8)
    bn.use_batch_statistics, bn.trainable = False, False
    mean, gamma = bn.running_mean.value.copy(), bn.gamma.value.copy()
    trainer.fit(x, y, batch_size=8)
    assert [getattr(bn, name) for name in NAMES] == [False, True, False]
    assert bn.updates.value == 6
    assert not np.array_equal(bn.running_mean.value, mean)
    np.testing.assert_array_equal(bn.gamma.value, gamma)
    trainer.save(tmp_path / "c.safetensors")
    again = hg.load(tmp_path / "c.safetensors")["batch_normalization"]
    assert [getattr(again, name) for name in NAMES] == [False, True, False]


def test_a_summary_counts_what_is_trained():
    model = hg.Sequential([BatchNormalization(use_batch_statistics=False)], input_shape=(4,))
    assert "frozen" not in model.summary()
    model["batch_normalization"].trainable = False
    assert "8 frozen" in model.summary()
