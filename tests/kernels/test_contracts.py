"""Every table of kernels refuses the same arguments, with the same words: nothing is broadcast by mistake."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields

import numpy as np
import pytest

from handgrad.errors import DataError, HandgradError, ShapeError
from handgrad.geometry import Window
from handgrad.kernels import Kernels, default_kernels
from handgrad.kernels.reference import REFERENCE
from tests.kernels.calls import CALLS, Call, converter
from tests.kernels.tables import each_compiled, each_table

each_call = pytest.mark.parametrize("call", CALLS, ids=str)
FREE = {"bias_backward", "dense_backward_input", "pad2d_backward", "upsample2d_backward"}
"""The gradients that take any number of samples: no other argument says how many there are."""


def said(call, table):
    """Return the error that a call ends in, as text, or its results."""
    try:
        with np.errstate(all="ignore"):
            return call.run(converter(np.float32), table)
    except HandgradError as error:
        return f"{type(error).__name__} {error}"


def changed(call):
    """Yield the call with one argument that is something else."""
    for i, a in enumerate(call.args):
        if isinstance(a, np.ndarray):
            no_floats = () if i else (None, a.tolist(), a.astype(np.int16))
            for other in (*shapes(a), *no_floats):
                yield call.with_args((*call.args[:i], other, *call.args[i + 1 :]))


def shapes(a):
    yield a[None]
    yield a.reshape(-1)[0:1].reshape(())
    for axis in range(a.ndim):
        for n in {1, 2 * a.shape[axis], a.shape[axis] - 1} - {a.shape[axis]}:
            yield np.resize(a, (*a.shape[:axis], n, *a.shape[axis + 1 :])).view(type(a))


@each_compiled
@each_call
def test_compiled_kernels_refuse_what_the_reference_refuses(call, table):
    for other in changed(call):
        expected, found = said(other, REFERENCE), said(other, table)
        if isinstance(expected, str) or isinstance(found, str):
            assert found == expected
        for a, b in zip(found, expected, strict=True):
            assert np.shape(a) == np.shape(b)


@each_table
@pytest.mark.parametrize(
    "call", [c for c in CALLS if "_backward" in c.kernel and c.kernel not in FREE], ids=str
)
def test_a_gradient_of_fewer_or_more_samples_is_refused(call, table):
    dy = call.args[0]
    for wrong in (dy[:1], np.concatenate([dy, dy]), dy[:0], dy[0], dy[None]):
        if wrong.shape != dy.shape:
            other = said(call.with_args((wrong, *call.args[1:])), table)
            assert isinstance(other, str), f"{wrong.shape} is taken for {dy.shape}"
            assert other.startswith(f"ShapeError {call.kernel} ")


@each_table
@pytest.mark.parametrize("name", ["add", "relu_backward", "mean_squared_error", "binary_cross_entropy"])
def test_nothing_is_broadcast(name, table):
    a = np.ones((4, 3), np.float32)
    for b in (a[:1], a[:, :1], a[0], np.float32(1) * a[0, 0].reshape(())):
        with pytest.raises(ShapeError):
            getattr(table, name)(a, b)


@each_table
@pytest.mark.parametrize("name", ["sgd", "adagrad", "adam", "muon"])
def test_an_update_moves_nothing_by_a_gradient_of_another_shape(name, table):
    options = {
        "sgd": {},
        "adagrad": {"epsilon": 1e-7},
        "adam": {"t": 1, "beta_1": 0.9, "beta_2": 0.99, "epsilon": 1e-7},
        "muon": {"momentum": 0.9, "nesterov": True, "ns_steps": 5, "scale": 1.0, "keep_norm": False},
    }[name]
    p = np.ones((4, 3), np.float32)
    state = [np.zeros_like(p) for _ in range({"sgd": 0, "adam": 2}.get(name, 1))]
    for g in (p[:1].copy(), p[0].copy(), np.ones((), np.float32)):
        with pytest.raises(ShapeError):
            getattr(table, name)(p, g, *state, lr=0.1, **options)
    assert (p == 1).all()
    assert not any(a.any() for a in state)


@each_table
def test_the_text_says_what_was_expected_and_what_came(table):
    x, window = np.ones((3, 4, 4, 2), np.float32), Window((2, 2), (2, 2))
    _, tap = table.max_pool2d(x, window)
    with pytest.raises(ShapeError) as error:
        table.max_pool2d_backward(np.ones((1, 2, 2, 2), np.float32), tap, x.shape, window)
    assert str(error.value) == "max_pool2d_backward dy: expected shape (3, 2, 2, 2), got (1, 2, 2, 2)"
    with pytest.raises(DataError) as error:
        table.relu_backward(None, x)
    assert str(error.value) == "relu_backward dy: expected an array, got None"
    with pytest.raises(DataError) as error:
        table.relu_backward(x, x.astype(int))
    assert str(error.value) == (
        "relu_backward x: expected floating-point numbers, got dtype int64; convert them: astype(np.float32)"
    )


@each_table
def test_activations_of_two_precisions_are_computed_in_the_larger_one(table):
    x, w = np.random.default_rng(0).normal(size=(2, 4, 4)).astype(np.float32)
    y = table.dense(x, w.astype(np.float64), None)
    np.testing.assert_allclose(y, x @ w, rtol=1e-5)
    assert y.dtype == np.float64


def test_every_kernel_of_the_reference_has_its_text_and_can_be_copied():
    assert all(getattr(REFERENCE, f.name).__doc__ for f in fields(Kernels))
    again = pickle.loads(pickle.dumps(copy.deepcopy(REFERENCE)))
    x = np.array([-1.0, 2.0])
    np.testing.assert_array_equal(again.relu(x), [0, 2])
    assert again.origins() == REFERENCE.origins()


def test_a_mistake_in_no_array_is_not_renamed():
    with pytest.raises(TypeError):
        default_kernels().conv2d(np.ones((1, 4, 4, 2), np.float32))
    with pytest.raises(AttributeError):
        default_kernels().max_pool2d(np.ones((1, 4, 4, 2), np.float32), "2x2")


def test_a_call_names_its_kernel():
    assert str(Call("relu", (np.ones(2),), note="of two")) == "relu-of two"
