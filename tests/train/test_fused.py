"""Training with layers fused and with layers apart."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import NonFiniteError
from handgrad.kernels.select import tables
from tests.graph.test_fuse import blocks
from tests.train.parts import Recorder, assert_same, cnn, everything, images


def trainer(fuse, **options):
    """Return a trainer of two residual blocks with dropout."""
    dtype = options.pop("dtype", "float64")
    kernels = options.pop("kernels", None)
    model = blocks(dtype=dtype)
    return hg.Trainer(
        model, "cross_entropy", optim.SGD(0.05, momentum=0.9), ["accuracy"], kernels=kernels, fuse=fuse
    )


def samples(n=24, dtype="float64"):
    rng = np.random.default_rng(0)
    y = np.arange(n) % 3
    return (rng.normal(size=(n, 5, 4, 2)) + y[:, None, None, None]).astype(dtype), y


def assert_close(a, b, rtol, atol):
    assert a.keys() == b.keys()
    for name in a:
        if name == "history":
            for quantity in a[name]:
                np.testing.assert_allclose(a[name][quantity], b[name][quantity], rtol=rtol, atol=atol)
        else:
            np.testing.assert_allclose(a[name], b[name], rtol=rtol, atol=atol, err_msg=name)


def test_steps_are_the_same():
    one, two = (trainer(fuse) for fuse in (True, False))
    for t in (one, two):
        t.fit(*samples(), epochs=3, batch_size=8, validation=samples(9))
    assert len(one.graph.nodes) < len(one.model.nodes) == len(two.graph.nodes)
    assert_close(everything(one), everything(two), 1e-9, 1e-11)
    assert one.evaluate(*samples()) == pytest.approx(two.evaluate(*samples()), rel=1e-9)


@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
def test_steps_in_float32_are_the_same_but_for_rounding(kernels):
    one, two = (trainer(fuse, dtype="float32", kernels=kernels) for fuse in (True, False))
    for t in (one, two):
        t.fit(*samples(dtype="float32"), epochs=2, batch_size=8)
    assert_close(everything(one), everything(two), 1e-3, 1e-4)


def test_freezing_between_steps():
    one, two = (trainer(fuse) for fuse in (True, False))
    for t in (one, two):
        t.fit(*samples(), batch_size=8)
        t.model["batch_normalization_2"].freeze()
        before = t.model.state()
        t.fit(*samples(), batch_size=8)
        for name, value in t.model.state().items():
            changed = not np.array_equal(value, before[name])
            assert changed == (not name.startswith("batch_normalization_2.")), name
    assert_close(everything(one), everything(two), 1e-9, 1e-11)


def test_a_broken_run_goes_on_bit_for_bit(tmp_path):
    whole, broken, resumed = (trainer(True) for _ in range(3))
    whole.fit(*samples(), epochs=3, batch_size=8)
    broken.fit(*samples(), epochs=1, batch_size=8)
    broken.save(tmp_path / "run.safetensors")
    resumed.load(tmp_path / "run.safetensors")
    resumed.fit(*samples(), epochs=2, batch_size=8)
    assert_same(everything(whole), everything(resumed))


def test_what_is_saved_is_the_model_as_it_was_given(tmp_path):
    one, two = (hg.Trainer(cnn(), "cross_entropy", optim.SGD(0.1), fuse=fuse) for fuse in (True, False))
    for t in (one, two):
        t.fit(*images(32), batch_size=16)
        hg.io.save(t.model, tmp_path / f"{t is one}.safetensors")
    names = [[n.name for n in hg.io.load(tmp_path / f"{fused}.safetensors").nodes] for fused in (True, False)]
    assert names[0] == names[1] == [n.name for n in cnn().nodes]
    assert one.model.summary() == two.model.summary()
    assert list(one.model.intermediates(images(2)[0])) == names[0]


def test_callbacks_see_the_model():
    recorder = Recorder()
    t = hg.Trainer(cnn(), "cross_entropy", optim.SGD(0.1))
    t.fit(*images(32), batch_size=16, callbacks=[recorder])
    assert recorder.trainer.model["relu"] is t.model.nodes[2].layer


@pytest.mark.parametrize(
    ("broken", "where"),
    [
        ("batch_normalization_2.gamma", "in the parameter batch_normalization_2.gamma"),
        (None, "number 3 of the data set"),
    ],
)
def test_what_is_not_finite_is_named_as_without(broken, where):
    messages = []
    for fuse in (True, False):
        t, (x, y) = trainer(fuse), samples()
        if broken:
            t.model.parameters()[broken].value[1] = np.nan
        else:
            x[3] = np.inf
        with pytest.raises(NonFiniteError) as error:
            t.fit(x, y, batch_size=24)
        messages.append(str(error.value))
    assert messages[0] == messages[1]
    assert where in messages[0]


def test_a_value_that_overflows_is_found_in_the_layer_where_it_did():
    model = hg.Sequential(
        [
            layers.Dense(4, name="a"),
            layers.BatchNormalization(name="bn"),
            layers.ReLU(name="r"),
            layers.Dense(2),
        ],
        input_shape=(3,),
    )
    model["bn"].gamma.value[...] = 3e38
    t = hg.Trainer(model, "cross_entropy")
    with pytest.raises(NonFiniteError, match=r"first in the output of bn \(BatchNormalization\)"):
        t.fit(np.random.default_rng(0).normal(size=(8, 3)).astype(np.float32), np.arange(8) % 2, batch_size=8)
