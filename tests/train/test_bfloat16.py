"""Training with activations in bfloat16."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, models, optim
from handgrad.bench import workloads
from handgrad.bench.workloads import Workload
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.kernels import tables
from handgrad.kernels.cpu.algorithm import IN_PAIRS, IN_REGISTERS
from handgrad.train import Callback
from tests.graph.test_fuse import blocks
from tests.kernels.tables import in_bfloat16
from tests.train.parts import assert_same, cnn, dense, everything, images, points

ml_dtypes = pytest.importorskip("ml_dtypes")

TABLES = in_bfloat16()
OWN_PRODUCTS = [name for name in TABLES if name.endswith((IN_PAIRS, IN_REGISTERS))]
each_table = pytest.mark.parametrize("table", TABLES.values(), ids=TABLES.keys())


def trainer(model=None, lr=0.05, **options):
    options = {"precision": "bfloat16", "metrics": ["accuracy"]} | options
    return hg.Trainer(model or cnn(), "cross_entropy", optim.SGD(lr, momentum=0.9), **options)


@pytest.mark.parametrize("name", ["cpu", *OWN_PRODUCTS])
def test_a_network_learns_as_in_float32(name):
    """Digits: the losses of all epochs, and how well it does in the end."""
    data = hg.data.digits()
    found = {}
    for precision in ("float32", "bfloat16"):
        t = hg.Trainer(
            models.small_cnn((8, 8, 1), 10, width=8),
            "cross_entropy",
            optim.Adam(3e-3),
            ["accuracy"],
            precision=precision,
            kernels=None if name == "cpu" or precision == "float32" else TABLES[name],
        )
        history = t.fit(data.x_train, data.y_train, epochs=6, batch_size=64)
        found[precision] = history["loss"], t.evaluate(data.x_test, data.y_test)
    (exact, test_exact), (rounded, test_rounded) = found["float32"], found["bfloat16"]
    assert exact[-1] < 0.3 * exact[0]
    np.testing.assert_allclose(rounded, exact, rtol=0.05)
    assert rounded != exact
    assert test_exact["accuracy"] > 0.9
    assert abs(test_rounded["accuracy"] - test_exact["accuracy"]) < 0.02


@each_table
def test_parameters_gradients_and_buffers_stay_what_they_are(table):
    t = trainer(kernels=table)
    t.fit(*images(), epochs=1, batch_size=24)
    assert all(p.value.dtype == p.grad.dtype == np.float32 for p in t.model.parameters().values())
    assert t.model.state()["bn.running_mean"].dtype == np.float64
    assert {a.dtype.kind for a in everything(t).values() if isinstance(a, np.ndarray)} <= set("fiu")


@each_table
def test_what_flows_is_bfloat16_from_the_first_product_on(table):
    model = cnn()
    run = hg.Run(training=True, kernels=table)
    x, y = images(6)
    forward, backward = {}, {}
    z, trace = model.forward(x, run, watch=lambda node, a: forward.setdefault(node.name, a.dtype.name))
    _, dz = losses.CrossEntropy()(z, y, table)
    model.backward(dz, trace, run, watch=lambda node, a: backward.setdefault(node.name, a.dtype.name))
    assert forward == backward == dict.fromkeys([n.name for n in model.nodes], "bfloat16")


def test_steps_are_near_those_of_float32_on_every_table():
    """Losses of a residual network with every layer that a ResNet has, at a rate that amplifies nothing."""
    workload = Workload("r", "r", lambda: models.resnet20((9, 8, 3), 10, width=4), 12)
    model = workload.model
    x, y = workload.data(model())

    def values(table):
        t = hg.Trainer(model(), "cross_entropy", optim.SGD(0.001, 0.9), kernels=table)
        return [t.train_step(x, y) for _ in range(4)]

    exact = values(tables()["cpu" if "cpu" in tables() else "reference"])
    for name, table in TABLES.items():
        found = values(table)
        assert found != exact
        np.testing.assert_allclose(found, exact, rtol=0.015, err_msg=name)


def test_torch_in_autocast_loses_as_much():
    torch_of = pytest.importorskip("handgrad.bench.pytorch")
    pytest.importorskip("torch")
    workload = Workload("r", "r", lambda: models.resnet20((16, 16, 3), 10, width=8), 16)
    steps = 5
    exact, ours = (workloads.step(workload, p) for p in ("float32", "bfloat16"))
    theirs = torch_of.training_step(workload, "channels_last", "bfloat16")
    exact, ours, theirs = (np.array([f() for _ in range(steps)]) for f in (exact, ours, theirs))
    np.testing.assert_allclose(ours, theirs, rtol=0.02)
    assert np.abs(ours - exact).max() < 3 * np.abs(theirs - exact).max()


def samples(n=24):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 5, 4, 2)) + y[:, None, None, None]).astype(np.float32), y


@each_table
def test_layers_fused_and_layers_apart_train_alike(table):
    def losses_of(fuse):
        t = trainer(blocks(dtype="float32"), kernels=table, fuse=fuse)
        return t.fit(*samples(), epochs=3, batch_size=8)["loss"]

    np.testing.assert_allclose(losses_of(True), losses_of(False), rtol=0.03)


@pytest.mark.parametrize(
    "layer", [layers.GELU(), layers.Softmax(), layers.AveragePooling2D(2), layers.UpSampling2D(2)]
)
def test_layers_without_functions_of_their_own_train(layer):
    model = hg.Sequential(
        [layers.Conv2D(3, 3), layer, layers.Flatten(), layers.Dense(10)], input_shape=(8, 8, 1)
    )
    first, *_, last = trainer(model, 0.01).fit(*images(), epochs=4, batch_size=16)["loss"]
    assert last < first


@pytest.mark.parametrize("loss", ["binary_cross_entropy", "mean_squared_error"])
def test_other_losses_train(loss):
    x, y = points()
    model = hg.Sequential([layers.Dense(4), layers.ReLU(), layers.Dense(1)], input_shape=(4,))
    t = hg.Trainer(model, loss, optim.SGD(0.1), ["mean_absolute_error"], precision="bfloat16")
    history = t.fit(x, (y == 0).astype(np.float32), epochs=20)
    assert history["loss"][-1] < 0.9 * history["loss"][0]


def test_a_recurrent_network_trains():
    x = hg.rng.Stream((1,)).normal((48, 5, 3))
    y = (x.sum(axis=(1, 2)) > 0).astype(int)
    model = hg.Sequential([layers.SimpleRNN(6), layers.Dense(2)], input_shape=(5, 3))
    history = trainer(model, 0.1).fit(x, y, epochs=15, batch_size=16)
    assert history["accuracy"][-1] > 0.85


def test_metrics_see_float32():
    seen = set()

    def watched(z, y):
        seen.add(z.dtype)
        return np.zeros(len(z))

    t = trainer(dense(), metrics=[watched, "accuracy", "top5_accuracy"])
    t.fit(*points(), validation=points(6, 1))
    assert seen == {np.dtype(np.float32)}


def test_a_resumed_run_ends_bit_for_bit_where_an_unbroken_one_ends(tmp_path):
    unbroken = trainer()
    unbroken.fit(*images(), epochs=3, batch_size=20)

    class Save(Callback):
        def on_epoch_end(self, epoch, logs):
            if epoch == 0:
                self.trainer.save(tmp_path / "t.safetensors")

    trainer().fit(*images(), epochs=2, batch_size=20, callbacks=[Save()])
    resumed = trainer()
    resumed.load(tmp_path / "t.safetensors")
    resumed.fit(*images(), epochs=3, batch_size=20, initial_epoch=0)
    assert_same(everything(resumed), everything(unbroken))


def test_a_run_of_one_precision_goes_on_in_another(tmp_path):
    t = trainer()
    t.fit(*images(), epochs=1, batch_size=24)
    t.save(tmp_path / "t.safetensors")
    other = trainer(precision="float32")
    with pytest.warns(UserWarning, match=": precision was bfloat16 and is float32, which it keeps$"):
        other.load(tmp_path / "t.safetensors")
    other.fit(*images(), epochs=1, batch_size=24)
    assert other.history["loss"][1] < other.history["loss"][0]


def test_what_is_not_finite_is_named():
    class Poison(Callback):
        def on_train_batch_begin(self, batch):
            if batch == 2:
                self.trainer.model.parameters()["bn.gamma"].value[...] = 3e38

    with pytest.raises(NonFiniteError) as error:
        trainer().fit(*images(), batch_size=16, callbacks=[Poison()])
    assert "epoch 1, step 3: expected finite values, got" in str(error.value)
    assert "first in the output of bn (BatchNormalization)" in str(error.value)


def test_a_model_of_another_dtype_is_refused():
    with pytest.raises(ArgumentError) as error:
        trainer(dense(dtype="float64"))
    assert str(error.value) == (
        "Trainer precision: expected a model of dtype float32 for bfloat16, got one of float64; build the "
        "model with dtype float32, which its parameters keep in training"
    )


def test_memory_of_activations_is_half():
    """Of what a forward saves, but for the input and the masks of one byte."""
    held = {}
    for precision in ("float32", "bfloat16"):
        table = next(iter(tables(precision).values()))
        model = cnn()
        x, _ = images(32)
        _, trace = model.forward(x, hg.Run(training=True, kernels=table))
        saved = {id(a): a for s in trace.saved for a in s if isinstance(a, np.ndarray) and a.ndim == 4}
        held[precision] = sum(a.nbytes for a in saved.values() if a.dtype.itemsize > 1 and a.shape[-1] > 1)
    assert held["bfloat16"] == held["float32"] / 2
