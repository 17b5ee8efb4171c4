"""What a batch normalization does with too few values, with none, with bad ones, far ones and short ones."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import ShapeError
from handgrad.kernels.select import tables
from handgrad.layers import BatchNormalization, Run
from handgrad.layers.fused_norm import BatchNormalizationAddReLU, BatchNormalizationReLU
from tests.layers.cases import normal
from tests.layers.normalizing import built

TRAINING = Run(training=True)
each_table = pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())

SINGLE = (
    "expected at least 2 values per channel in training, got 1; its variance is 0 and the output would not "
    'depend on the input: use larger batches or drop_last=True, on_single="running", freeze() the layer, or '
    "normalize over fewer axes"
)


@pytest.mark.parametrize("options", [{}, {"renorm": (3.0, 5.0)}, {"momentum": None}], ids=str)
def test_one_value_per_channel(options):
    bn = built((2,), name="bn", **options)
    for layer in (bn, BatchNormalizationReLU(bn)) if bn.plain else (bn,):
        with pytest.raises(ShapeError) as error:
            layer.forward(normal(1, 2), TRAINING)
        assert str(error.value) == f"bn (BatchNormalization): {SINGLE}"


def test_one_value_per_channel_in_a_ghost_batch_and_behind_a_mask():
    bn = built((2,), name="bn", ghost_size=1)
    with pytest.raises(ShapeError) as error:
        bn.forward(normal(3, 2), TRAINING)
    assert str(error.value) == f"bn (BatchNormalization): {SINGLE}"
    bn.ghost_size = None
    with pytest.raises(ShapeError) as error:
        bn.forward(normal(3, 2), Run(training=True, mask=np.array([False, True, False])))
    assert str(error.value) == f"bn (BatchNormalization): {SINGLE}"


@pytest.mark.parametrize(
    "options",
    [{}, {"renorm": (3.0, 5.0)}, {"momentum": None}, {"ghost_size": 4}, {"on_single": "running"}],
    ids=str,
)
@each_table
def test_an_empty_batch_keeps_its_shape_and_moves_nothing(options, kernels):
    bn = built((4, 3), np.float32, moved=2, **options)
    before = {name: b.value.copy() for name, b in bn.buffers().items()}
    run = Run(training=True, kernels=kernels)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        y, saved = bn.forward(normal(0, 4, 3, dtype=np.float32), run)
        dx = bn.backward(y, saved, run)
        bn.commit(saved)
    assert y.shape == dx.shape == (0, 4, 3)
    assert not np.any(bn.gamma.grad)
    for name, value in before.items():
        np.testing.assert_array_equal(bn.buffers()[name].value, value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("kind", ["alone", "relu", "add", "ghosts"])
def test_a_batch_that_is_not_finite_moves_nothing_and_is_told_of(bad, kind):
    bn = built((3, 4), moved=2, name="stage1.bn", ghost_size=2 if kind == "ghosts" else None)
    layer = {"relu": BatchNormalizationReLU, "add": BatchNormalizationAddReLU}.get(kind, lambda bn: bn)(bn)
    x = normal(5, 3, 4)
    x[1, 2, 1] = x[4, 0, 3] = bad
    before = {name: b.value.copy() for name, b in bn.buffers().items()}
    with np.errstate(invalid="ignore"):
        _, saved = layer.forward((x, x) if kind == "add" else x, TRAINING)
    with pytest.warns(UserWarning, match="not finite") as warned:
        layer.commit(layer.retained(saved))
    assert [str(w.message) for w in warned] == [
        "stage1.bn (BatchNormalization): the batch's mean or variance is not finite in channels 1, 3; the "
        "running statistics stay as they were"
    ]
    for name, value in before.items():
        np.testing.assert_array_equal(bn.buffers()[name].value, value)


@pytest.mark.parametrize(
    ("channels", "named"),
    [
        ([5], "channel 5"),
        (range(8), "channels 0, 1, 2, 3, 4, 5, 6, 7"),
        (range(1, 11), "channels 1, 2, 3, 4, 5, 6, 7, 8 and 2 more"),
    ],
    ids=["one", "eight", "ten"],
)
def test_channels_that_are_not_finite_are_named(channels, named):
    bn = built((12,))
    x = normal(5, 12)
    x[0, list(channels)] = np.nan
    saved = bn.forward(x, TRAINING)[1]
    with pytest.warns(UserWarning, match="not finite") as warned:
        bn.commit(saved)
    assert f"is not finite in {named}; " in str(warned[0].message)


@each_table
def test_values_whose_squares_overflow_move_nothing(kernels):
    bn = built((2,), np.float32)
    x = normal(50, 2, dtype=np.float32)
    x[:, 1] *= np.float32(1e30)
    with np.errstate(over="ignore", invalid="ignore"):
        saved = bn.forward(x, Run(training=True, kernels=kernels))[1]
    if np.isfinite(saved.var).all():  # kernels that square in float64
        bn.commit(saved)
        np.testing.assert_allclose(saved.var, x.astype(float).var(axis=0), rtol=1e-6)
        return
    with pytest.warns(UserWarning, match="is not finite in channel 1; "):
        bn.commit(saved)
    assert bn.updates.value == 0


def test_a_step_that_a_trainer_leaves_out_moves_nothing():
    """It is found before commit: by the loss, or a gradient."""
    chain = [layers.Dense(3), BatchNormalization(), layers.ReLU(), layers.Dense(2)]
    model = hg.Sequential(chain, input_shape=(4,))
    trainer = hg.Trainer(model, "cross_entropy", "sgd")
    x, y = normal(8, 4, dtype=np.float32), np.arange(8) % 2
    trainer.train_step(x, y)
    before = model.state()
    x[0, 0] = np.nan
    with pytest.raises(hg.errors.NonFiniteError):
        trainer.train_step(x, y)
    for name, value in model.state().items():
        np.testing.assert_array_equal(value, before[name])


@pytest.mark.parametrize("layer", [lambda bn: bn, BatchNormalizationReLU], ids=["alone", "relu"])
def test_a_layer_that_was_never_fitted_says_so_in_inference(layer):
    bn = built((2,), name="stage1.bn")
    with pytest.warns(UserWarning, match="running statistics") as warned:
        layer(bn).forward(normal(4, 2), Run())
    assert [str(w.message) for w in warned] == [
        "stage1.bn (BatchNormalization): the running statistics are still mean 0 and variance 1: they move "
        "in training, by commit(saved)"
    ]


@pytest.mark.parametrize(
    "rule", [optim.SGD(0.1, weight_decay=0.5), optim.AdamW(0.1, weight_decay=0.5)], ids=str
)
def test_weight_decay_leaves_gamma_and_beta_alone(rule):
    model = hg.Sequential([layers.Dense(3), BatchNormalization()], input_shape=(4,))
    model["batch_normalization"].beta.value[:] = 2
    before = model.state()
    model.zero_grad()
    rule.step(model.trainable_parameters(), hg.kernels.default_kernels())
    after = model.state()
    assert not np.array_equal(after["dense.weight"], before["dense.weight"])
    for name in ("gamma", "beta"):
        name = f"batch_normalization.{name}"
        np.testing.assert_array_equal(after[name], before[name])


def test_float16_in_statistics_in_float32_or_better():
    """Deviations of 300: squares of more than float16 can hold."""
    bn = built((3,), np.float16)
    x = (1000 + 300 * normal(4000, 3)).astype(np.float16)
    run = Run(training=True, kernels=tables()["reference"])
    y, saved = bn.forward(x, run)
    dx = bn.backward(y, saved, run)
    bn.commit(saved)
    assert y.dtype == dx.dtype == np.float16
    assert saved.mean.dtype == saved.var.dtype == bn.running_var.value.dtype == np.float64
    wide = x.astype(np.float64)
    np.testing.assert_allclose(saved.mean, wide.mean(axis=0), rtol=1e-7)
    np.testing.assert_allclose(saved.var, wide.var(axis=0), rtol=1e-6)
    expected, _ = built((3,)).forward(wide, TRAINING)
    np.testing.assert_allclose(y, expected, rtol=4e-3, atol=2e-3)


def test_bfloat16_in_statistics_in_float32_or_better():
    ml_dtypes = pytest.importorskip("ml_dtypes")
    for kernels in tables("bfloat16").values():
        bn = built((3,), np.float32)
        x = (1000 + 30 * normal(4000, 3)).astype(ml_dtypes.bfloat16)
        run = Run(training=True, kernels=kernels)
        y, saved = bn.forward(x, run)
        dx = bn.backward(y, saved, run)
        bn.commit(saved)
        assert y.dtype == dx.dtype == x.dtype
        assert saved.mean.dtype == saved.var.dtype == np.float64
        wide = x.astype(np.float64)
        np.testing.assert_allclose(saved.mean, wide.mean(axis=0), rtol=1e-7)
        np.testing.assert_allclose(saved.var, wide.var(axis=0), rtol=1e-6)


@pytest.mark.parametrize("options", [{"ghost_size": 40}, {"renorm": (1.5, 0.5)}, {}], ids=str)
def test_modes_in_bfloat16(options):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x, u = (normal(90, 3, seed=s, dtype=np.float32) for s in range(2))
    mask = np.arange(90) < 80
    found = []
    for dtype, precision in ((ml_dtypes.bfloat16, "bfloat16"), (np.float32, "float32")):
        bn = built((3,), np.float32, moved=1, **options)
        run = Run(training=True, kernels=next(iter(tables(precision).values())), mask=mask)
        y, saved = bn.forward(x.astype(dtype), run)
        dx = bn.backward(u.astype(dtype), saved, run)
        assert y.dtype == dx.dtype == dtype
        found.append((y, dx, bn.gamma.grad))
    for narrow, wide in zip(*found, strict=True):
        np.testing.assert_allclose(narrow.astype(float), wide, rtol=0.03, atol=0.03 * np.abs(wide).max())


BOUND = {"mean": 1e-7, "var": 2e-6}
"""The error of a mean, in standard deviations, and of a variance, relative, up to means of 1e6 in float32."""


@each_table
@pytest.mark.parametrize("mean", [0.0, 1.0, 1e3, 1e4, 1e5, 1e6, -1e6], ids=lambda m: f"{m:g}")
@pytest.mark.parametrize("rows", [2, 3, 64, 65, 1000, 70001])
@pytest.mark.parametrize("first", [0.0, 1000.0], ids=["", "first row far off"])
def test_statistics_stay_within_their_bound(kernels, mean, rows, first):
    x = (mean + normal(rows, 5, seed=rows)).astype(np.float32)
    x[0] += np.float32(first)  # what the compiled kernels shift by
    exact = x.astype(np.longdouble)
    mu = exact.mean(axis=0)
    var = ((exact - mu) ** 2).mean(axis=0)
    found_mean, found_var = kernels.batch_norm_statistics(x)
    assert np.max(np.abs(found_mean - mu) / np.sqrt(var)) < BOUND["mean"]
    assert np.max(np.abs(found_var - var) / var) < BOUND["var"]


@each_table
@pytest.mark.parametrize("mean", [0.0, 1e3, 1e6], ids=lambda m: f"{m:g}")
@pytest.mark.parametrize("options", [{}, {"ghost_size": 20}, {"renorm": (2.0, 1.0)}, {"mask": 1}], ids=str)
def test_outputs_and_gradients_far_from_zero(kernels, mean, options):
    x = (mean + normal(60, 4, 5)).astype(np.float32)
    u = normal(60, 4, 5, seed=1, dtype=np.float32)
    options = dict(options)
    mask = np.arange(60) < 50 if options.pop("mask", 0) else None
    found = []
    for dtype, table in ((np.float32, kernels), (np.float64, tables()["reference"])):
        bn = built((4, 5), dtype, moved=1, **options)
        bn.running_mean.assign(bn.running_mean.value + mean)
        run = Run(training=True, kernels=table, mask=mask)
        y, saved = bn.forward(x.astype(dtype), run)
        found.append((y, bn.backward(u.astype(dtype), saved, run)))
        assert found[-1][0].dtype == found[-1][1].dtype == dtype
    for narrow, wide in zip(*found, strict=True):
        assert np.abs(narrow - wide).max() < 3e-6


@pytest.mark.parametrize("threads", [1, 2])
def test_statistics_have_the_same_bits_again(threads):
    x = (1e3 + normal(5000, 33)).astype(np.float32)
    before = hg.get_threads()
    alone = built((33,), np.float32).forward(x, TRAINING)[1]
    try:
        hg.set_threads(threads)
        again = built((33,), np.float32).forward(x, TRAINING)[1]
    finally:
        hg.set_threads(before)
    np.testing.assert_array_equal(again.mean, alone.mean)
    np.testing.assert_array_equal(again.var, alone.var)


def unmoved_model(layers_of=3):
    chain = [
        layer for k in range(layers_of) for layer in (layers.Conv2D(2, 1), BatchNormalization(name=f"bn{k}"))
    ]
    return hg.Sequential([*chain, layers.ReLU()], input_shape=(4, 4, 2))


ALL_USES = {
    "predict": lambda model, x: model.predict(x, batch_size=4),
    "forward": lambda model, x: model.forward(x, Run()),
    "intermediates": lambda model, x: model.intermediates(x),
    "fold": lambda model, x: model.fold(),
    "a predictor": lambda model, x: hg.Predictor(model).predict(x),
    "fused": lambda model, x: hg.graph.fuse.fuse(model).predict(x),
}


@pytest.mark.parametrize("use", ALL_USES.values(), ids=ALL_USES)
def test_a_model_that_was_never_fitted_says_so_once_for_all_its_layers(use):
    model, x = unmoved_model(5), normal(4, 4, 4, 2, dtype=np.float32)
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        use(model, x)
    assert [str(w.message) for w in told] == [
        "5 layers: the running statistics of bn0, bn1, bn2 and 2 more are still mean 0 and variance 1: they "
        "move in training, by commit(trace)"
    ]
    assert told[0].filename == __file__


@pytest.mark.parametrize("use", ALL_USES.values(), ids=ALL_USES)
def test_statistics_from_elsewhere_are_not_taken_for_unfitted_ones(use):
    model, x = unmoved_model(), normal(4, 4, 4, 2, dtype=np.float32)
    for name in ("bn0", "bn1", "bn2"):
        model[name].running_mean.assign([0, 1])  # without a count of updates, as other programs save them
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        use(model, x)


def test_training_warns_of_the_layers_alone_that_normalize_by_what_never_moved():
    model, x = unmoved_model(), normal(4, 4, 4, 2, dtype=np.float32)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.forward(x, TRAINING)
    model["bn1"].freeze()
    with pytest.warns(
        UserWarning, match=r"^bn1 \(BatchNormalization\): the running statistics are still"
    ) as told:
        model.forward(x, TRAINING)
    assert len(told) == 1


def test_renormalization_comes_near_to_statistics_from_elsewhere():
    x = normal(16, 2)
    layers_ = [built((2,), renorm=(3.0, 5.0)) for _ in range(2)]
    for layer, updates in zip(layers_, (0, 1), strict=True):
        layer.running_mean.assign([1.0, 2.0])
        layer.running_var.assign([4.0, 0.5])
        layer.updates.assign(updates)
    (y, _), (z, _) = (layer.forward(x, TRAINING) for layer in layers_)
    np.testing.assert_array_equal(y, z)
