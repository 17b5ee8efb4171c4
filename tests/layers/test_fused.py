"""Layers made of layers keep the contract, have right gradients, and compute what those layers do."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import BuildError, ShapeError
from handgrad.kernels.select import tables
from handgrad.layers import Add, BatchNormalization, Init, ReLU, Run
from handgrad.layers.fused import BatchNormalizationAddReLU, BatchNormalizationReLU
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
