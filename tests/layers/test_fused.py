"""Layers made of layers keep the contract, have right gradients, and compute what those layers do."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import BuildError, ShapeError
from handgrad.kernels.select import tables
from handgrad.layers import Add, BatchNormalization, Conv2D, Init, ReLU, Run
from handgrad.layers.fused import Measured, Normalized
from handgrad.layers.fused_conv import FusedConv2D
from handgrad.layers.fused_norm import (
    BatchNormalizationAddReLU,
    BatchNormalizationReLU,
    DeferredBatchNormalizationReLU,
)
from tests.layers.cases import Case, normal

OPTIONS = {
    "channels": ((4, 3, 5), {}),
    "features of a vector": ((5,), {}),
    "no center": ((3, 3, 2), {"center": False}),
    "no scale": ((3, 3, 2), {"scale": False}),
    "rows and channels": ((3, 4, 2), {"axis": (1, -1)}),
    "biased": ((3, 3, 2), {"momentum": 0.7, "running_variance": "biased"}),
}
CASES = [
    case
    for name, (shape, options) in OPTIONS.items()
    for case in (
        Case(f"relu: {name}", BatchNormalizationReLU(BatchNormalization(**options)), shape, 4),
        Case(f"add: {name}", BatchNormalizationAddReLU(BatchNormalization(**options)), (shape, shape), 4),
    )
]
each_case = pytest.mark.parametrize("case", CASES, ids=str)


@each_case
def test_contract(case):
    assert len(hg.testing.check_layer(case.layer, case.shape, batch=case.batch)) == 11


@each_case
@pytest.mark.parametrize("mode", ["training", "inference", "frozen"])
def test_gradients_by_complex_step(case, mode):
    layer = case.new(frozen=mode == "frozen")
    report = hg.testing.gradcheck(layer, case.input(), training=mode != "inference", method="complex")
    inputs = {"x0", "x1"} if case.name.startswith("add") else {"x"}
    assert set(report.errors) == inputs | (set() if mode == "frozen" else set(layer.parameters()))
    assert max(report.errors.values()) <= 1e-10


@each_case
def test_gradients_by_central_differences(case):
    hg.testing.gradcheck(case.new(), case.input(), method="central", tolerance=1e-5)


def apart(bn, x, dy, run):
    """Return y, the gradients of the inputs and of the parameters, from the layers one after the other."""
    add, relu = Add(), ReLU()
    x = x if isinstance(x, tuple) else (x,)
    add.build(tuple(a.shape[1:] for a in x))
    relu.build(x[0].shape[1:])
    z, of_bn = bn.forward(x[0], run)
    z, of_add = add.forward((z, *x[1:]), run)
    y, of_relu = relu.forward(z, run)
    dz = add.backward(relu.backward(dy, of_relu, run), of_add, run)
    dx = bn.backward(dz[0], of_bn, run), *dz[1:]
    bn.commit(of_bn)
    return y, *dx, *(p.grad.copy() for p in bn.parameters().values())


def at_once(fused, x, dy, run):
    """Return the same from the fused layer."""
    y, saved = fused.forward(x, run)
    dx = fused.backward(dy, saved, run)
    fused.commit(saved)
    dx = dx if isinstance(dx, tuple) else (dx,)
    return y, *dx, *(p.grad.copy() for p in fused.parameters().values())


@each_case
@pytest.mark.parametrize("mode", ["training", "inference", "frozen"])
@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_it_computes_what_its_layers_do(case, mode, kernels, dtype):
    one, two = (case.new(dtype, frozen=mode == "frozen") for _ in range(2))
    run = Run(training=mode != "inference", kernels=kernels)
    x = case.input(dtype=dtype)
    dy = normal(*(x[0] if isinstance(x, tuple) else x).shape, seed=5, dtype=dtype)
    expected, found = apart(two.normalization, x, dy, run), at_once(one, x, dy, run)
    exact = dtype == np.float64 or kernels is hg.kernels.select_kernels("reference")
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == dtype
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0 if exact else 1e-5, atol=0 if exact else 1e-5)
    for name, buffer in one.buffers().items():
        np.testing.assert_array_equal(buffer.value, two.buffers()[name].value)


def test_all_that_it_has_is_the_normalization_s():
    bn = BatchNormalization(name="bn")
    fused = BatchNormalizationReLU(bn)
    assert not fused.built
    fused.build((3,))
    assert bn.built
    assert fused.built
    assert fused.parameters() == bn.parameters() != {}
    assert fused.buffers() == bn.buffers() != {}
    assert (fused.name, fused.where) == ("bn", "bn (BatchNormalization)")
    bn.freeze()
    assert not fused.trainable
    fused.unfreeze()
    assert bn.trainable


def test_only_what_backward_needs_is_saved():
    x, r = normal(2, 6, 3)
    run = Run(training=True)
    one, two = (kind(BatchNormalization()) for kind in (BatchNormalizationReLU, BatchNormalizationAddReLU))
    one.build((3,), Init(dtype=np.float64))
    two.build(((3,), (3,)), Init(dtype=np.float64))
    saved = one.forward(x, run)[1]
    assert [a.shape for a in saved if isinstance(a, np.ndarray)] == [(6, 3), (3,), (3,), (3,)]
    assert saved.x is x
    y, saved = two.forward((x, r), run)
    assert saved.y is y
    assert saved.normalization.x is x


def test_multiply_adds():
    assert BatchNormalizationReLU(BatchNormalization()).multiply_adds((5, 6, 2)) == 60
    assert BatchNormalizationAddReLU(BatchNormalization()).multiply_adds(((5, 6, 2),) * 2) == 120


@pytest.mark.parametrize(
    ("shapes", "got"),
    [(((3,), (4,)), "(3,) and (4,)"), (((3,),), "(3,)"), (((3,),) * 3, "(3,) and (3,) and (3,)")],
)
def test_inputs_of_different_shapes(shapes, got):
    with pytest.raises(ShapeError) as error:
        BatchNormalizationAddReLU(BatchNormalization(name="bn")).build(shapes)
    assert str(error.value) == f"bn (BatchNormalization): expected two inputs of one shape, got {got}"


def test_one_value_per_channel_is_the_normalization_s_error():
    fused = BatchNormalizationReLU(BatchNormalization(name="bn"))
    with pytest.raises(BuildError, match=r"^bn "):
        fused.forward(normal(1, 3), Run(training=True))
    fused.build((3,))
    with pytest.raises(ShapeError, match=r"^bn .BatchNormalization.: expected at least 2 values per channel"):
        fused.forward(normal(1, 3), Run(training=True))


# convolutions

GEOMETRIES = {
    "padded": ((4, 5, 3), {"padding": "same", "use_bias": False}),
    "with bias": ((5, 3, 2), {}),
    "strided": ((5, 5, 2), {"strides": 2, "padding": 1}),
    "grouped": ((4, 4, 4), {"groups": 2}),
}
each_geometry = pytest.mark.parametrize(("shape", "options"), GEOMETRIES.values(), ids=GEOMETRIES)
each_mode = pytest.mark.parametrize("mode", ["training", "inference", "frozen"])


@each_geometry
def test_a_fused_convolution_keeps_the_contract(shape, options):
    layer = FusedConv2D(Conv2D(6, 3, **options))
    assert len(hg.testing.check_layer(layer, shape, batch=2)) == 11
    hg.testing.gradcheck(layer, normal(2, *shape), method="complex", tolerance=1e-10)


def three(shape, options, dtype, mode):
    """Return a normalization, a convolution, and a normalization after it; statistics have moved."""
    bn, conv, after = BatchNormalization(name="bn"), Conv2D(6, 3, **options), BatchNormalization(name="after")
    init = Init(hg.rng.Stream((7,)), np.dtype(dtype))
    out = conv.build(bn.build(shape, init), init)
    after.build(out, init)
    for layer, of, seed in ((bn, shape, 1), (after, out, 2)):
        _, saved = layer.forward(1 + 2 * normal(4, *of, seed=seed, dtype=dtype), Run(training=True))
        layer.commit(saved)
        layer.gamma.assign(0.5 + abs(normal(of[-1], seed=3)))
        layer.beta.assign(normal(of[-1], seed=4))
        if mode == "frozen":
            layer.freeze()
    return bn, conv, after


def walk(layers, x, dy, run):
    """Return what comes of a chain: y, dx, gradients and buffers; and what passed between the layers."""
    saved, between = [], []
    for layer in layers:
        x, kept = layer.forward(x, run)
        saved.append(kept)
        between.append(x)
    for layer, kept in zip(layers[::-1], saved[::-1], strict=True):
        dy = layer.backward(dy, kept, run)
        layer.commit(kept)
    owned = [p.grad.copy() for layer in layers for p in layer.parameters().values()]
    return [x, dy, *owned, *(b.value for layer in layers for b in layer.buffers().values())], between


@each_geometry
@each_mode
@pytest.mark.parametrize("kernels", tables().values(), ids=tables().keys())
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_convolution_between_normalizations_computes_what_these_layers_do(
    shape, options, mode, kernels, dtype
):
    run = Run(training=mode != "inference", kernels=kernels)
    x = normal(3, *shape, seed=5, dtype=dtype)
    bn, conv, after = three(shape, options, dtype, mode)
    relu = ReLU()
    relu.build(shape)
    dy = normal(3, *after.input_shape, seed=6, dtype=dtype)
    expected, _ = walk([bn, relu, conv, after, relu], x, dy, run)
    bn, conv, after = three(shape, options, dtype, mode)
    chain = [DeferredBatchNormalizationReLU(bn), FusedConv2D(conv, after), BatchNormalizationReLU(after)]
    found, between = walk(chain, x, dy, run)
    assert type(between[0]) is Normalized
    assert type(between[1]) is (Measured if mode == "training" else np.ndarray)
    tolerance = 1e-5 if dtype == np.float32 and kernels is not tables()["reference"] else 1e-12
    for a, b in zip(found, expected, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_allclose(a, b, rtol=tolerance, atol=30 * tolerance)


def test_images_that_are_deferred_are_never_computed():
    bn, conv, after = three((4, 4, 3), {"padding": "same"}, np.float32, "training")
    x, run = normal(2, 4, 4, 3, dtype=np.float32), Run(training=True)
    z, of_bn = DeferredBatchNormalizationReLU(bn).forward(x, run)
    assert z.x is of_bn.x is x
    assert (z.shape, z.ndim, z.dtype) == (x.shape, 4, x.dtype)
    _, of_conv = FusedConv2D(conv, after).forward(z, run)
    assert of_conv.x is z


@pytest.mark.parametrize("trainable", [True, False])
def test_another_gradient_of_the_images_is_added(trainable):
    layer = FusedConv2D(Conv2D(6, 3, padding="same"))
    layer.build((5, 4, 3))
    layer.trainable = trainable
    assert layer.layer.trainable == trainable
    run, x, dy = Run(), *(normal(2, 5, 4, c, dtype=np.float32, seed=c) for c in (3, 6))
    other = normal(2, 5, 4, 3, seed=9, dtype=np.float32)
    _, saved = layer.forward(x, run)
    alone, kept = layer.backward(dy, saved, run), other.copy()
    np.testing.assert_allclose(layer.backward(dy, saved, run, add=other), alone + other, rtol=1e-6, atol=1e-6)
    np.testing.assert_array_equal(other, kept)


def test_one_value_per_channel_is_the_next_normalization_s_error_after_a_fused_convolution():
    _, conv, after = three((3, 3, 2), {}, np.float32, "training")
    y, _ = FusedConv2D(conv, after).forward(normal(1, 3, 3, 2, dtype=np.float32), Run(training=True))
    with pytest.raises(
        ShapeError, match=r"^after .BatchNormalization.: expected at least 2 values per channel"
    ):
        BatchNormalizationReLU(after).forward(y, Run(training=True))
