"""Parameters and buffers: who writes them, and how they lie in memory."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, HandgradError, ShapeError
from handgrad.layers import Buffer, Parameter
from handgrad.layers.packing import Gradients, pack, span_view, spans


def parameters():
    """Return three parameters, the middle one not decayed, with gradients."""
    made = [
        Parameter(np.arange(6, dtype=np.float32).reshape(2, 3), name="a"),
        Parameter(np.full(4, 7, np.float32), decay=False, name="b"),
        Parameter(np.full((1, 2), 9, np.float32), name="c"),
    ]
    for p in made:
        p.accumulate(p.value + 1)
    return made


def test_gradients_add_up_until_set_to_zero():
    p = Parameter(np.zeros((2,), np.float32))
    p.accumulate(np.array([1.0, 2.0]))
    p.accumulate(np.array([10.0, 20.0]))
    assert p.grad.tolist() == [11, 22]
    assert p.grad.dtype == np.float32
    p.zero_grad()
    assert p.grad.tolist() == [0, 0]


@pytest.mark.parametrize("kind", [Parameter, Buffer])
def test_assign_copies_and_wants_the_same_shape(kind):
    held = kind(np.zeros((2, 3)), name="conv.weight")
    place = held.value
    source = np.ones((2, 3))
    held.assign(source)
    source[...] = 5
    assert held.value is place
    np.testing.assert_array_equal(held.value, 1)
    with pytest.raises(ShapeError) as error:
        held.assign(np.ones(3))
    assert str(error.value) == "conv.weight: expected shape (2, 3), got (3,)"
    np.testing.assert_array_equal(held.value, 1)


def test_pack_keeps_every_number_and_puts_decayed_ones_first():
    made = parameters()
    values, grads = [p.value.copy() for p in made], [p.grad.copy() for p in made]
    pack(made)
    for p, value, grad in zip(made, values, grads, strict=True):
        np.testing.assert_array_equal(p.value, value)
        np.testing.assert_array_equal(p.grad, grad)
    a, b, c = made
    assert a.value.base is b.value.base is c.value.base
    assert a.grad.base is b.grad.base is c.grad.base
    np.testing.assert_array_equal(a.value.base, [*range(6), 9, 9, 7, 7, 7, 7])


def test_packed_parameters_stay_where_they_are_when_packed_again():
    made = parameters()
    pack(made[:2])
    places = [p.value for p in made[:2]]
    pack(made)
    assert all(p.value is place for p, place in zip(made, places, strict=False))
    assert made[2].value.base is not made[0].value.base


def test_dtypes_do_not_mix():
    wide = Parameter(np.array([1 + 1e-12]))
    made = [*parameters(), wide]
    pack(made)
    assert [p.value.dtype.name for p in made] == ["float32"] * 3 + ["float64"]
    assert wide.value[0] == 1 + 1e-12


def test_spans_are_runs_side_by_side():
    made = parameters()
    pack(made)
    a, b, c = made
    assert spans([b, a, c]) == [[a, c, b]]
    assert spans([a, b]) == [[a], [b]]
    loose = parameters()
    assert sorted(len(run) for run in spans(loose)) == [1, 1, 1]


def test_a_span_is_one_view():
    a, b, c = made = parameters()
    pack(made)
    value, grad = span_view([c, b])
    value[...] = -1
    grad *= 2
    np.testing.assert_array_equal(c.value, -1)
    np.testing.assert_array_equal(b.value, -1)
    np.testing.assert_array_equal(a.value.ravel(), np.arange(6))
    np.testing.assert_array_equal(b.grad, 16)
    np.testing.assert_array_equal(a.grad.ravel(), np.arange(1, 7))
    flat, _ = span_view([a])
    assert flat.shape == (6,)
    assert np.shares_memory(flat, a.value)


def test_gradients_are_as_few_vectors_as_there_are_runs():
    a, b, c = made = parameters()
    gradients = Gradients()
    assert len(gradients.vectors(made)) == 3
    pack(made)
    (whole,) = gradients.vectors(made)
    assert gradients.vectors(made)[0] is whole
    whole[...] = 7
    for p in made:
        np.testing.assert_array_equal(p.grad, 7)
    (part,) = gradients.vectors([c, b])
    part[...] = 8
    assert (a.grad == 7).all()
    assert (b.grad == 8).all()
    assert (c.grad == 8).all()


def test_packing_nothing_is_fine():
    pack([])
    assert spans([]) == []


def test_a_parameter_of_any_memory_order_can_be_written_through_its_span():
    source = np.arange(6.0).reshape(2, 3).T
    p = Parameter(source)
    for _ in range(2):
        value, grad = span_view([p])
        value += 1
        grad += 1
        pack([p])
    np.testing.assert_array_equal(p.value, source + 2)
    np.testing.assert_array_equal(p.grad, 2)
    np.testing.assert_array_equal(source, np.arange(6.0).reshape(2, 3).T)


def test_repr_names_shape_and_dtype():
    assert (
        repr(Parameter(np.zeros((2, 3), np.float32), name="w"))
        == "Parameter('w', shape=(2, 3), dtype=float32)"
    )
    assert repr(Buffer(np.zeros(3), name="m")) == "Buffer('m', shape=(3,), dtype=float64)"


@pytest.mark.parametrize("kind", [Parameter, Buffer])
def test_what_is_assigned_to_value_is_copied_into_place(kind):
    held = kind(np.zeros((2, 3), np.float32), name="dense.weight")
    place = held.value
    source = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    held.value = source
    assert held.value is place
    np.testing.assert_array_equal(place, source)
    source[...] = 9
    np.testing.assert_array_equal(place, np.arange(6).reshape(2, 3))
    held.value = [[1, 2, 3], [4, 5, 6]]
    held.value += 1
    held.value[0, 0] = -1
    held.value *= 2
    assert held.value is place
    np.testing.assert_array_equal(place, [[-2, 6, 8], [10, 12, 14]])


@pytest.mark.parametrize("kind", [Parameter, Buffer])
def test_what_it_is_made_of_is_not_written(kind):
    source = np.zeros(3)
    held = kind(source)
    held.value[...] = 5
    assert source.tolist() == [0, 0, 0]


def test_a_square_matrix_can_be_assigned_its_own_transpose():
    p = Parameter(np.arange(9.0).reshape(3, 3))
    p.value = p.value.T
    np.testing.assert_array_equal(p.value, np.arange(9).reshape(3, 3).T)


def test_a_gradient_that_is_assigned_is_copied_into_place():
    p = Parameter(np.zeros(2, np.float32))
    place = p.grad
    p.grad = np.array([1.0, 2.0])
    p.grad += 1
    p.grad *= 2
    assert p.grad is place
    assert place.tolist() == [4, 6]


def weight(shape=(2, 3)):
    return Parameter(np.ones(shape, np.float32), name="dense.weight")


REFUSED = {
    "another shape": ("value", np.zeros(3), ShapeError, "dense.weight: expected shape (2, 3), got (3,)"),
    "a transpose": (
        "value",
        np.zeros((3, 2)),
        ShapeError,
        "dense.weight: expected shape (2, 3), got (3, 2); transposed it fits: value.T",
    ),
    "complex numbers": (
        "value",
        np.zeros((2, 3), complex),
        ArgumentError,
        "dense.weight: expected an array of float32, got complex128",
    ),
    "words": ("value", [["a"] * 3] * 2, ArgumentError, "dense.weight: expected an array of float32, got <U1"),
    "nothing": ("value", None, ArgumentError, "dense.weight: expected an array of float32, got NoneType"),
    "a parameter": (
        "value",
        weight(),
        ArgumentError,
        "dense.weight: expected an array of float32, got Parameter; give its value",
    ),
    "rows of two lengths": (
        "value",
        [[1, 2, 3], [4]],
        ArgumentError,
        "dense.weight: expected an array of float32, got rows of different lengths",
    ),
    "0 as a gradient": (
        "grad",
        0,
        ShapeError,
        "dense.weight grad: expected shape (2, 3), got (); zero_grad() sets it to zero",
    ),
    "no gradient": (
        "grad",
        None,
        ArgumentError,
        "dense.weight grad: expected an array of float32, got NoneType; zero_grad() sets it to zero",
    ),
}


@pytest.mark.parametrize(("name", "value", "kind", "message"), REFUSED.values(), ids=REFUSED)
def test_what_does_not_fit_is_refused_and_changes_nothing(name, value, kind, message):
    p = weight()
    p.grad[...] = 1
    with pytest.raises(HandgradError) as error:
        setattr(p, name, value)
    assert type(error.value) is kind
    assert str(error.value) == message
    assert (p.value == 1).all()
    assert (p.grad == 1).all()


def test_filters_in_the_order_of_pytorch_are_told_how_to_fit():
    p = Parameter(np.ones((3, 5, 2, 4)), name="conv.weight")
    torch_order = np.zeros((4, 2, 3, 5))
    with pytest.raises(ShapeError) as error:
        p.value = torch_order
    assert str(error.value) == (
        "conv.weight: expected shape (3, 5, 2, 4), got (4, 2, 3, 5); with its axes in the order (rows, "
        "columns, "
        "input, output) it fits: value.transpose(2, 3, 1, 0)"
    )
    p.value = torch_order.transpose(2, 3, 1, 0)
    assert (p.value == 0).all()


def test_a_count_does_not_become_a_fraction():
    count = Buffer(np.zeros((), np.int64), name="updates")
    with pytest.raises(ArgumentError) as error:
        count.value = 2.5
    assert str(error.value) == (
        'updates: expected an array of int64, got float64; convert it with astype("int64")'.replace('"', "'")
    )
    count.value = 3
    assert count.value == 3


def test_copies_and_pickles_hold_the_same_numbers():
    p = weight()
    p.grad[...] = 2
    for again in (copy.deepcopy(p), pickle.loads(pickle.dumps(p))):
        assert again.value is not p.value
        np.testing.assert_array_equal(again.value, p.value)
        np.testing.assert_array_equal(again.grad, p.grad)
        assert again.name == "dense.weight"


def test_a_model_whose_weight_was_assigned_is_trained_at_that_weight():
    model = hg.Sequential([layers.Dense(3, name="dense")], input_shape=(2,))
    w = np.arange(6.0).reshape(3, 2)
    model["dense"].weight.value = w.T
    trainer = hg.Trainer(model, "mean_squared_error", hg.optim.SGD(0.1))
    x, y = np.ones((4, 2), np.float32), np.zeros((4, 3), np.float32)
    losses = [trainer.train_step(x, y) for _ in range(30)]
    assert not np.allclose(model["dense"].weight.value, w.T)
    assert np.abs(model.predict(x)).max() < 0.1
    assert len(losses) == 30
