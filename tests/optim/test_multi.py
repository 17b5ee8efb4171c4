from __future__ import annotations

import numpy as np
import pytest

from handgrad import optim
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.layers.parameter import Parameter
from handgrad.optim import SGD, Adam, Linear, MultiOptimizer, Muon


def make():
    return MultiOptimizer(
        {"dense.*": Adam(0.1), "*.weight": Muon(Linear(0.1, 5)), "*": SGD(0.1, momentum=0.9)}
    )


def test_each_parameter_moves_as_by_its_own_optimizer(new_parameters, train):
    together = train(make(), new_parameters(), 0, 6)
    alone = {}
    for name in together:
        rule = Adam(0.1) if name.startswith("dense") else SGD(0.1, momentum=0.9)
        rule = Muon(Linear(0.1, 5)) if name == "conv.weight" else rule
        alone |= {name: train(rule, new_parameters(), 0, 6, lambda _, n, name=name: n == name)[name]}
    for name, value in together.items():
        np.testing.assert_allclose(value, alone[name], rtol=1e-13, err_msg=name)


def test_a_resumed_run_is_the_unbroken_one(new_parameters, train):
    unbroken = train(make(), new_parameters(), 0, 6)
    first, parameters = make(), new_parameters()
    train(first, parameters, 0, 3)
    second = optim.get(first.config())
    second.load_state(first.state(), parameters)
    assert second.iterations == 3
    resumed = train(second, parameters, 3, 6)
    for name, value in unbroken.items():
        np.testing.assert_array_equal(value, resumed[name])


def test_schedules_go_on_while_all_of_an_optimizer_is_frozen(new_parameters, train):
    optimizer = make()
    train(optimizer, new_parameters(), 0, 5, lambda step, name: step != 2 or name != "conv.weight")
    assert [o.iterations for o in optimizer.optimizers.values()] == [5, 5, 5]
    assert optimizer.learning_rate == 0.1


def test_nothing_moves_where_a_later_rule_does_not_fit():
    parameters = {"a.weight": Parameter(np.ones((2, 2))), "b.bias": Parameter(np.ones(2))}
    for p in parameters.values():
        p.accumulate(np.ones(p.shape))
    with pytest.raises(ArgumentError):
        MultiOptimizer({"a.*": SGD(0.1), "*": Muon()}).step(parameters)
    np.testing.assert_array_equal(parameters["a.weight"].value, 1)


def test_it_shows_its_optimizers():
    assert repr(MultiOptimizer({"*": SGD(0.5)})).startswith("MultiOptimizer({'*': SGD(lr=0.5,")


def test_what_does_not_fit_is_refused_and_nothing_changes(new_parameters, train):
    parameters = new_parameters()
    before = {name: p.value.copy() for name, p in parameters.items()}
    with pytest.raises(ArgumentError) as error:
        MultiOptimizer({"conv.*": SGD(0.1), "bn.*": SGD(0.1)}).step(parameters)
    assert str(error.value) == (
        "MultiOptimizer: expected a pattern that matches dense.weight, got 'conv.*', 'bn.*'; "
        'add "*" as the last one'
    )
    with pytest.raises(ArgumentError) as error:
        MultiOptimizer({"*": SGD(0.1), "bn.*": SGD(0.2)}).check(parameters)
    assert str(error.value) == (
        "MultiOptimizer: expected 'bn.*' to match a parameter that no earlier pattern has taken, "
        "got none of 5"
    )
    for name, p in parameters.items():
        np.testing.assert_array_equal(p.value, before[name])


@pytest.mark.parametrize("wrong", [{}, [SGD(0.1)], {"*": "sgd"}, dict.fromkeys(("a", "b"), SGD(0.1))])
def test_other_arguments_are_refused(wrong):
    with pytest.raises(ArgumentError) as error:
        MultiOptimizer(wrong)
    assert str(error.value) == (
        f"MultiOptimizer: expected a dict of patterns with an optimizer each, none of them twice, "
        f"got {wrong!r}"
    )


def test_a_state_that_does_not_fit_changes_nothing(new_parameters, train):
    optimizer, parameters = make(), new_parameters()
    train(optimizer, parameters, 0, 2)
    state = optimizer.state()
    damaged = dict(state)
    del damaged["2/velocity/bn.beta"]  # the last optimizer's: the first two have been loaded by then
    other = make()
    train(other, new_parameters(), 0, 5)
    kept = other.state()
    for wrong, message in (
        (damaged, "SGD: expected velocity/bn.beta in the state, got nothing of that name"),
        (
            {"step": 1, "7/step": 1},
            "MultiOptimizer: expected state of 3 optimizers, named 0/..., got '7/step'",
        ),
        ({}, "MultiOptimizer: expected step in the state, got nothing of that name"),
    ):
        with pytest.raises(CheckpointError) as error:
            other.load_state(wrong, parameters)
        assert str(error.value) == message
        for key, value in other.state().items():
            np.testing.assert_array_equal(value, kept[key])
