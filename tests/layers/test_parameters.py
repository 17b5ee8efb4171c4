"""Parameters and buffers: who writes them, and how they lie in memory."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.errors import ShapeError
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
