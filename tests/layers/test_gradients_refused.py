"""Every backward refuses what is no gradient of its output, and touches no parameter's gradient then."""

from __future__ import annotations

import copy

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import DataError, HandgradError, ShapeError
from handgrad.kernels.reference import REFERENCE
from handgrad.layers import Merge, Run
from handgrad.layers.fused import Measured
from handgrad.layers.fused_conv import FusedConv2D
from handgrad.layers.fused_norm import (
    BatchNormalizationAddReLU,
    BatchNormalizationReLU,
    DeferredBatchNormalizationReLU,
)
from tests.layers.cases import CASES, Case, names

modes = pytest.mark.parametrize("training", [True, False], ids=["training", "inference"])
each_case = pytest.mark.parametrize("case", CASES, ids=names)
CONV, IMAGES = layers.Conv2D(3, 3, padding="same"), (4, 5, 2)


def outputs(case, run, dtype=np.float32):
    """Return a built layer, its output, what it saved, and a gradient."""
    layer = case.new(dtype)
    y, saved = layer.forward(case.input(dtype=dtype), run)
    return layer, y, saved, np.random.default_rng(3).normal(size=y.shape).astype(dtype)


def wrong_shapes(dy):
    """Yield gradients of other shapes, which are all those of some other output."""
    yield dy[:-1].copy()
    yield np.concatenate([dy, dy])
    yield dy[:0]
    yield dy[0]
    yield dy[None]
    yield dy[..., None]
    yield dy.sum(keepdims=True) if dy.size > 1 else dy[:0]
    yield np.ones((), dy.dtype)
    for axis in range(1, dy.ndim):
        yield np.repeat(dy, 2, axis)
        yield dy[(slice(None),) * axis + (slice(0, -1),)]
    if dy.ndim > 2:
        yield dy.reshape(len(dy), -1)


def others(dy):
    """Yield what is no array of floating-point numbers."""
    yield from (None, 1.0, "dy", dy.tolist(), np.ma.masked_array(dy))
    yield from (dy.astype(dtype) for dtype in (int, np.uint8, bool, np.complex64, object, str))


def assert_refused(layer, dy, saved, run, kind, **options):
    before = {name: p.grad.copy() for name, p in layer.parameters().items()}
    with pytest.raises(HandgradError) as error:
        layer.backward(dy, saved, run, **options)
    assert type(error.value) is kind
    assert str(error.value).startswith(f"{layer.where} backward: expected dy ")
    for name, p in layer.parameters().items():
        np.testing.assert_array_equal(p.grad, before[name])


@modes
@each_case
def test_a_gradient_of_another_shape_is_refused(case, training):
    run = Run(training=training)
    layer, _, saved, dy = outputs(case, run)
    for wrong in wrong_shapes(dy):
        if wrong.shape != dy.shape:
            assert_refused(layer, wrong, saved, run, ShapeError)
            assert_refused(layer, wrong, saved, run, ShapeError, need_dx=False)


@modes
@each_case
def test_what_is_no_array_of_floating_point_numbers_is_refused(case, training):
    run = Run(training=training)
    layer, _, saved, dy = outputs(case, run)
    for wrong in others(dy):
        assert_refused(layer, wrong, saved, run, DataError)


def unusual(dy):
    """Yield equal gradients that lie in memory as few do."""
    strided = np.repeat(dy, 2, axis=-1)[..., ::2]
    locked = dy.copy()
    locked.flags.writeable = False
    apart = np.frombuffer(b"x" + dy.tobytes(), np.uint8)[1:].view(dy.dtype).reshape(dy.shape)
    yield from (strided, np.asfortranarray(dy), dy[::-1][::-1], locked, apart)


@modes
@each_case
@pytest.mark.parametrize("kernels", [None, REFERENCE], ids=["compiled", "reference"])
def test_a_gradient_may_lie_in_memory_as_it_likes(case, training, kernels):
    run = Run(training=training) if kernels is None else Run(training=training, kernels=kernels)
    layer, _, saved, dy = outputs(case, run)
    wanted = results(layer, dy, saved, run)
    for same in unusual(dy):
        for a, b in zip(results(layer, same, saved, run), wanted, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-6)


@each_case
def test_a_gradient_may_have_another_precision(case):
    run = Run(training=True)
    layer, _, saved, dy = outputs(case, run)
    for a, b in zip(
        results(layer, dy.astype(np.float64), saved, run), results(layer, dy, saved, run), strict=True
    ):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
    layer, _, saved, dy = outputs(case, run, np.float64)
    narrow = dy.astype(np.float32)
    wanted = results(layer, narrow.astype(np.float64), saved, run)
    for a, b in zip(results(layer, narrow, saved, run), wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)


def results(layer, dy, saved, run):
    """Return dx and the parameters' gradients."""
    for p in layer.parameters().values():
        p.zero_grad()
    dx = layer.backward(dy, saved, run)
    return [
        *(dx if isinstance(layer, Merge) else (dx,)),
        *(p.grad.copy() for p in layer.parameters().values()),
    ]


FUSED = [
    Case("convolution", FusedConv2D(CONV), IMAGES),
    Case("convolution that measures", FusedConv2D(CONV, layers.BatchNormalization()), IMAGES),
    Case("normalization and relu", BatchNormalizationReLU(layers.BatchNormalization()), IMAGES),
    Case("normalization not computed", DeferredBatchNormalizationReLU(layers.BatchNormalization()), IMAGES),
    Case(
        "normalization, sum and relu",
        BatchNormalizationAddReLU(layers.BatchNormalization()),
        (IMAGES, IMAGES),
    ),
]


@modes
@pytest.mark.parametrize("case", FUSED, ids=names)
def test_fused_layers_refuse_as_those_they_are_made_of(case, training):
    run = Run(training=training)
    layer = copy.deepcopy(case.layer)
    layer.build(case.shape)
    layer.commit(layer.forward(case.input(seed=1, dtype=np.float32), Run(training=True))[1])
    y, saved = layer.forward(case.input(dtype=np.float32), run)
    y = y.x if isinstance(y, Measured) else y
    dy = np.ones(y.shape, np.float32)
    for wrong in wrong_shapes(dy):
        if wrong.shape != dy.shape:
            assert_refused(layer, wrong, saved, run, ShapeError)
    for wrong in others(dy):
        assert_refused(layer, wrong, saved, run, DataError)


def test_the_gradient_of_one_image_is_no_gradient_of_64():
    pool, run = layers.MaxPooling2D(2, name="pool"), Run(training=True)
    pool.build((64, 64, 16))
    y, saved = pool.forward(np.ones((64, 64, 64, 16), np.float32), run)
    with pytest.raises(ShapeError) as error:
        pool.backward(y[:1].copy(), saved, run)
    assert str(error.value) == (
        "pool (MaxPooling2D) backward: expected dy of the output's shape (64, 32, 32, 16), "
        "got (1, 32, 32, 16); dy and saved belong to one forward"
    )


def test_what_another_input_saved_is_refused():
    conv, run = layers.Conv2D(3, 3), Run()
    conv.build((8, 8, 2))
    y, _ = conv.forward(np.ones((2, 8, 8, 2), np.float32), run)
    for shape in [(3, 8, 8, 2), (2, 9, 8, 2)]:
        _, saved = conv.forward(np.ones(shape, np.float32), run)
        assert_refused(conv, y, saved, run, ShapeError)


def test_integers_are_told_how_they_become_a_gradient():
    relu, run = layers.ReLU(), Run()
    relu.build((3,))
    y, saved = relu.forward(np.ones((2, 3), np.float32), run)
    with pytest.raises(DataError) as error:
        relu.backward(y.astype(int), saved, run)
    assert str(error.value) == (
        "ReLU backward: expected dy of floating-point numbers, as the output of float32, got dtype int64; "
        "convert it: dy.astype('float32')"
    )
    with pytest.raises(DataError) as error:
        relu.backward(None, saved, run)
    assert str(error.value) == "ReLU backward: expected dy to be a NumPy array, got None"


def test_a_frozen_layer_refuses_too():
    dense, run = layers.Dense(4), Run(training=True)
    dense.build((3,))
    dense.freeze()
    y, saved = dense.forward(np.ones((2, 3), np.float32), run)
    assert_refused(dense, y[:1], saved, run, ShapeError, need_dx=False)


def test_masked_rows_and_shares_of_a_batch_do_not_change_what_is_refused():
    bn, run = layers.BatchNormalization(), Run(training=True, mask=np.array([True, True, False]))
    bn.build((4,))
    y, saved = bn.forward(hg.rng.Stream((1,)).normal((3, 4)), run)
    assert_refused(bn, y[:2], saved, run, ShapeError)
    assert bn.backward(y, saved, run).shape == y.shape
