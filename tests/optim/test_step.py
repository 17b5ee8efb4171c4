"""One step: what it moves, what it leaves alone, and that memory's arrangement changes nothing."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import tracemalloc

import numpy as np
import pytest

from handgrad.errors import ArgumentError
from handgrad.kernels import default_kernels
from handgrad.layers.packing import pack
from handgrad.layers.parameter import Parameter
from handgrad.optim import SGD, Adadelta, Adagrad, Adam, AdamW, Constant, Group, RMSprop, Step
from handgrad.optim.optimizer import global_norm

OPTIMIZERS = {
    "SGD": lambda **more: SGD(0.1, momentum=0.9, dampening=0.2, **more),
    "Adagrad": lambda **more: Adagrad(0.1, **more),
    "Adadelta": lambda **more: Adadelta(**more),
    "RMSprop": lambda **more: RMSprop(0.1, momentum=0.5, centered=True, **more),
    "Adam": lambda **more: Adam(0.1, **more),
    "AdamW": lambda **more: AdamW(0.1, **more),
}
every_optimizer = pytest.mark.parametrize("make", OPTIMIZERS.values(), ids=OPTIMIZERS)


@every_optimizer
def test_writes_values_in_place_and_leaves_gradients(make, parameters):
    arrays = {name: (p.value, p.grad) for name, p in parameters.items()}
    for p in parameters.values():
        p.accumulate(np.ones(p.shape))
    make(weight_decay=0.1, global_clipnorm=0.5).step(parameters)
    for name, p in parameters.items():
        assert p.value is arrays[name][0]
        assert p.grad is arrays[name][1]
        np.testing.assert_array_equal(p.grad, 1)


@every_optimizer
def test_moves_exactly_the_parameters_it_is_given(make, parameters, train):
    before = {name: p.value.copy() for name, p in parameters.items()}
    after = train(make(weight_decay=0.1), parameters, 0, 3, lambda _, name: name == "bn.beta")
    for name, value in after.items():
        assert (value != before[name]).all() == (name == "bn.beta")
        assert (value == before[name]).all() == (name != "bn.beta")


@every_optimizer
def test_packed_and_loose_parameters_move_alike(make, new_parameters, train, same):
    packed = train(make(weight_decay=0.1, global_clipnorm=2.0), new_parameters(packed=True), 0, 6)
    loose = train(make(weight_decay=0.1, global_clipnorm=2.0), new_parameters(packed=False), 0, 6)
    same(packed, loose)


@every_optimizer
def test_parameters_packed_between_two_steps_go_on(make, new_parameters, train, same):
    unbroken = train(make(), new_parameters(packed=False), 0, 6)
    optimizer, parameters = make(), new_parameters(packed=False)
    train(optimizer, parameters, 0, 3)
    pack(parameters.values())
    same(train(optimizer, parameters, 3, 6), unbroken)


@every_optimizer
def test_freezing_layers_midway_keeps_what_each_has_gathered(make, new_parameters, train, same):
    def trained(step, name):
        return name.startswith("dense") or not 3 <= step < 6

    one, each = make(weight_decay=0.1), {name: make(weight_decay=0.1) for name in new_parameters()}
    together = train(one, new_parameters(), 0, 10, trained)
    alone = {}
    for name, optimizer in each.items():
        alone |= {
            name: train(
                optimizer,
                new_parameters(),
                0,
                10,
                lambda step, other, name=name: other == name and trained(step, name),
            )[name]
        }
    same(together, alone)


def test_a_frozen_layer_keeps_its_own_count_of_steps(parameters, train):
    optimizer = Adam()
    train(optimizer, parameters, 0, 7, lambda step, name: step >= 4 or not name.startswith("conv"))
    state = optimizer.state()
    assert state["step"] == optimizer.iterations == 7
    assert state["step/conv.weight"] == 3
    assert state["step/dense.weight"] == 7


def test_freezing_a_small_layer_does_not_keep_the_state_of_large_ones_twice():
    parameters = {"large": Parameter(np.zeros(10**5)), "small": Parameter(np.zeros(10))}
    pack(parameters.values())
    optimizer = Adam()
    tracemalloc.start()
    optimizer.step(parameters)
    all_of_it, _ = tracemalloc.get_traced_memory()
    optimizer.step({"large": parameters["large"]})
    without_small, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert without_small < 1.1 * all_of_it


def test_the_first_step_after_a_long_freeze_is_a_first_step(parameters):
    optimizer = Adam(0.1)
    for p in parameters.values():
        p.accumulate(np.full(p.shape, 3.0))
    for _ in range(50):
        optimizer.step({"dense.bias": parameters["dense.bias"]})
    before = parameters["conv.weight"].value.copy()
    optimizer.step(parameters)
    np.testing.assert_allclose(before - parameters["conv.weight"].value, 0.1, rtol=1e-6)


def test_one_call_moves_all_parameters_that_move_alike(parameters):
    calls = []

    def adam(p, g, m, v, **numbers):
        calls.append((p.size, numbers["weight_decay"]))

    kernels = dataclasses.replace(default_kernels(), adam=adam)
    optimizer = Adam(weight_decay=0.1)
    optimizer.step(parameters, kernels)
    assert calls == [(14, 0.1), (8, 0.0)]
    calls.clear()
    del parameters["bn.beta"]
    optimizer.step(parameters, kernels)
    assert calls == [(14, 0.1), (2, 0.0), (4, 0.0)]


def test_no_decay_on_biases_gamma_and_beta_by_default(parameters):
    before = {name: p.value.copy() for name, p in parameters.items()}
    SGD(0.1, weight_decay=0.5).step(parameters)
    for name, p in parameters.items():
        factor = 0.95 if name.endswith("weight") else 1.0
        np.testing.assert_allclose(p.value, factor * before[name])


def test_groups_scale_the_learning_rate_and_replace_the_decay(parameters):
    for p in parameters.values():
        p.accumulate(np.ones(p.shape))
    before = {name: p.value.copy() for name, p in parameters.items()}
    SGD(
        0.1,
        weight_decay=0.5,
        groups=[Group("bn.gamma", weight_decay=0.2), Group(("conv.*", "bn.*"), lr_scale=0.1)],
    ).step(parameters)
    rules = {
        "conv.weight": (0.01, 0.5),
        "bn.gamma": (0.1, 0.2),
        "bn.beta": (0.01, 0.0),
        "dense.weight": (0.1, 0.5),
        "dense.bias": (0.1, 0.0),
    }
    for name, (lr, decay) in rules.items():
        np.testing.assert_allclose(parameters[name].value, before[name] - lr * (1 + decay * before[name]))


def test_groups_change_nothing_but_what_they_say(new_parameters, train, same):
    plain = train(Adam(0.1, weight_decay=0.1), new_parameters(), 0, 6)
    grouped = train(
        Adam(0.1, weight_decay=0.1, groups=[Group("conv.*"), Group("*.bias")]), new_parameters(), 0, 6
    )
    same(plain, grouped)


@pytest.mark.parametrize(
    ("groups", "message"),
    [
        (
            [Group("stage1.*")],
            "SGD: expected Group('stage1.*') to match a parameter, got none of conv.weight, bn.gamma,"
            " bn.beta, dense.weight, ... (5 names)",
        ),
        (
            [Group("bn.*"), Group("*.gamma")],
            "SGD: expected Group('*.gamma') to match a parameter, got none that an earlier group has not"
            " taken; put the narrower group first",
        ),
    ],
)
def test_a_group_that_matches_nothing_is_an_error_before_anything_moves(parameters, groups, message):
    before = {name: p.value.copy() for name, p in parameters.items()}
    optimizer = SGD(0.1, weight_decay=0.1, groups=groups)
    with pytest.raises(ArgumentError) as error:
        optimizer.step(parameters)
    assert str(error.value) == message
    assert optimizer.iterations == 0
    assert optimizer.state() == {"step": 0}
    for name, p in parameters.items():
        np.testing.assert_array_equal(p.value, before[name])


def test_a_group_may_wait_for_layers_that_are_frozen_at_first(parameters, train):
    optimizer = SGD(0.1, groups=[Group("conv.*", lr_scale=0.1)])
    optimizer.check(parameters)
    train(optimizer, parameters, 0, 2, lambda _, name: not name.startswith("conv"))
    assert optimizer.iterations == 2


def test_a_parameter_with_two_names_is_an_error_rather_than_moved_twice(parameters):
    parameters["again.weight"] = parameters["conv.weight"]
    with pytest.raises(ArgumentError) as error:
        SGD().step(parameters)
    assert (
        str(error.value) == "SGD: expected each parameter once, got conv.weight and again.weight for the same"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"match": ""}, "Group: expected match to be a pattern over parameter names, or several, got ''"),
        ({"match": ()}, "Group: expected match to be a pattern over parameter names, or several, got ()"),
        ({"match": "*", "lr_scale": -1}, "Group: expected lr_scale of at least 0, got -1"),
        ({"match": "*", "weight_decay": -1}, "Group: expected weight_decay of at least 0, got -1"),
    ],
)
def test_groups_are_checked_at_construction(arguments, message):
    with pytest.raises(ArgumentError) as error:
        Group(**arguments)
    assert str(error.value) == message


@pytest.mark.parametrize("packed", [True, False])
def test_clipping_scales_all_gradients_together_to_the_norm(packed, new_parameters):
    parameters = new_parameters(packed=packed)
    before = {name: p.value.copy() for name, p in parameters.items()}
    for p in parameters.values():
        p.accumulate(np.full(p.shape, 3.0))
    norm = 3.0 * np.sqrt(22)
    assert global_norm(parameters, default_kernels()) == pytest.approx(norm, rel=1e-15)
    SGD(1.0, global_clipnorm=0.5).step(parameters)
    moved = np.concatenate([(before[name] - p.value).ravel() for name, p in parameters.items()])
    np.testing.assert_allclose(moved, 0.5 / (norm + 1e-6) * 3.0)


def test_clipping_leaves_small_gradients_alone(new_parameters, train, same):
    same(
        train(SGD(0.1), new_parameters(), 0, 3), train(SGD(0.1, global_clipnorm=1e3), new_parameters(), 0, 3)
    )


def test_the_norm_of_huge_float32_gradients_does_not_overflow(new_parameters):
    parameters = new_parameters(dtype=np.float32)
    for p in parameters.values():
        p.accumulate(np.full(p.shape, 1e30, np.float32))
    assert global_norm(parameters, default_kernels()) == pytest.approx(1e30 * np.sqrt(22), rel=1e-6)
    before = parameters["conv.weight"].value.copy()
    SGD(1.0, global_clipnorm=np.sqrt(22)).step(parameters)
    np.testing.assert_allclose(before - parameters["conv.weight"].value, 1.0, rtol=1e-5)


@pytest.mark.parametrize(
    ("value", "dtype"), [(1e38, np.float32), (3e38, np.float32), (1e200, np.float64), (1.7e308, np.float64)]
)
@pytest.mark.parametrize("most", [1e-3, np.sqrt(22)])
def test_gradients_of_every_size_are_clipped(value, dtype, most, new_parameters):
    """Also where float64 does not hold the squares, or the norm, and float32 not the factor."""
    parameters = new_parameters(dtype=dtype)
    for p in parameters.values():
        p.accumulate(np.full(p.shape, value, dtype))
    before = {name: p.value.copy() for name, p in parameters.items()}
    SGD(1.0, global_clipnorm=most).step(parameters)
    for name, p in parameters.items():
        np.testing.assert_allclose(before[name] - p.value, most / np.sqrt(22), rtol=1e-3)


def test_schedules_are_asked_with_the_number_of_steps_done(parameters):
    for p in parameters.values():
        p.accumulate(np.ones(p.shape))
    optimizer = SGD(Step(1.0, every=2, gamma=0.5))
    rates, moves = [], []
    for _ in range(5):
        before = parameters["bn.beta"].value.copy()
        rates.append(optimizer.learning_rate)
        optimizer.step(parameters)
        moves.append(float((before - parameters["bn.beta"].value)[0]))
    assert rates == [1.0, 1.0, 0.5, 0.5, 0.25]
    assert moves == pytest.approx(rates)
    assert optimizer.iterations == 5


@every_optimizer
def test_a_constant_schedule_is_a_number(make, new_parameters, train, same):
    number, schedule = make(), make()
    schedule.lr = Constant(number.lr)
    same(train(number, new_parameters(), 0, 4), train(schedule, new_parameters(), 0, 4))


def test_numbers_may_be_changed_between_two_steps(parameters):
    optimizer = SGD(0.1)
    for p in parameters.values():
        p.accumulate(np.ones(p.shape))
    optimizer.step(parameters)
    before = parameters["conv.weight"].value.copy()
    optimizer.lr, optimizer.weight_decay = 0.5, 0.2
    optimizer.step(parameters)
    np.testing.assert_allclose(parameters["conv.weight"].value, before - 0.5 * (1 + 0.2 * before))
    before = parameters["conv.weight"].value.copy()
    optimizer.groups = (Group("conv.*", weight_decay=0.0, lr_scale=0.1),)
    optimizer.step(parameters)
    np.testing.assert_allclose(parameters["conv.weight"].value, before - 0.05)
    optimizer.momentum = 0.9
    optimizer.step(parameters)
    assert {"velocity/conv.weight", "velocity/bn.beta"} <= optimizer.state().keys()


def test_a_step_without_parameters_counts_as_one():
    optimizer = Adam()
    optimizer.step({})
    assert optimizer.state() == {"step": 1}


@every_optimizer
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda x: pickle.loads(pickle.dumps(x))])
def test_a_copy_of_model_and_optimizer_goes_on_alone(make, duplicate, new_parameters, train, same):
    optimizer, parameters = make(), new_parameters()
    train(optimizer, parameters, 0, 3)
    other, others = duplicate((optimizer, parameters))
    unbroken = train(optimizer, parameters, 3, 6)
    same(train(other, others, 3, 6), unbroken)


def test_float32_parameters_and_state_stay_float32(new_parameters, train):
    for make in OPTIMIZERS.values():
        optimizer, parameters = make(weight_decay=0.1, global_clipnorm=1.0), new_parameters(dtype=np.float32)
        train(optimizer, parameters, 0, 3)
        assert all(p.value.dtype == np.float32 for p in parameters.values())
        assert {a.dtype for a in optimizer.state().values() if isinstance(a, np.ndarray)} == {np.dtype("f4")}
