"""What is assigned to an optimizer is checked as in its constructor, and parameters come by name."""

from __future__ import annotations

import copy
import pickle
from functools import partial

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import ArgumentError
from handgrad.layers.parameter import Parameter

RULES = {
    "SGD": partial(optim.SGD, momentum=0.9),
    "Adagrad": optim.Adagrad,
    "Adadelta": optim.Adadelta,
    "RMSprop": optim.RMSprop,
    "Adam": optim.Adam,
    "AdamW": optim.AdamW,
    "Muon": optim.Muon,
}

WRONG = [
    ("SGD", "lr", -1, "lr of at least 0, got -1"),
    ("Adam", "lr", float("nan"), "lr of at least 0, got nan"),
    ("Adam", "lr", "0.1", "lr of at least 0, got '0.1'"),
    ("Adam", "weight_decay", -1, "weight_decay of at least 0, got -1"),
    ("Adam", "global_clipnorm", 0, "global_clipnorm greater than 0, got 0"),
    ("Adam", "groups", ["a"], "groups to be a sequence of Group, got ['a']"),
    ("Adam", "beta_1", 1, "beta_1 of at least 0 and less than 1, got 1"),
    ("AdamW", "beta_2", 1.5, "beta_2 of at least 0 and less than 1, got 1.5"),
    ("Adam", "epsilon", -1e-8, "epsilon of at least 0, got -1e-08"),
    ("SGD", "momentum", 1.0, "momentum of at least 0 and less than 1, got 1.0"),
    ("SGD", "dampening", -0.1, "dampening of at least 0, got -0.1"),
    ("RMSprop", "rho", 2, "rho of at least 0 and less than 1, got 2"),
    ("Adadelta", "epsilon", 0, "epsilon greater than 0, got 0"),
    ("Adagrad", "initial_accumulator_value", -1, "initial_accumulator_value of at least 0, got -1"),
    ("Muon", "ns_steps", 0, "ns_steps to be a whole number of at least 1, got 0"),
]


@pytest.mark.parametrize(
    "again", [lambda o: o, copy.copy, copy.deepcopy, lambda o: pickle.loads(pickle.dumps(o))]
)
@pytest.mark.parametrize(("rule", "name", "value", "text"), WRONG)
def test_an_argument_that_means_nothing_is_refused_when_it_is_assigned(rule, name, value, text, again):
    optimizer = again(RULES[rule]())
    before = optimizer.config()
    with pytest.raises(ArgumentError) as error:
        setattr(optimizer, name, value)
    assert str(error.value) == f"{rule}: expected {text}"
    assert optimizer.config() == before


def test_arguments_that_do_not_fit_together_are_refused():
    optimizer = optim.SGD(0.1, momentum=0.9, nesterov=True)
    with pytest.raises(ArgumentError, match="expected momentum greater than 0 and dampening 0"):
        optimizer.momentum = 0.0
    assert optimizer.momentum == 0.9


def test_what_means_something_can_be_assigned():
    optimizer = optim.Adam(0.1)
    optimizer.lr = np.float32(0.5)
    optimizer.beta_1 = 0.5
    optimizer.lr = optim.schedules.Cosine(0.2, 5)
    optimizer.groups = [optim.Group("a", lr_scale=0.5)]
    optimizer.note = "anything"
    assert optimizer.learning_rate == 0.2


def test_an_argument_of_several_optimizers_is_one_of_one_of_them():
    several = optim.MultiOptimizer({"*.bias": optim.SGD(0.1), "*": optim.Adam(0.1)})
    for name in ("lr", "weight_decay", "global_clipnorm", "groups"):
        with pytest.raises(ArgumentError) as error:
            setattr(several, name, 0.5)
        assert str(error.value) == (
            f"MultiOptimizer: expected {name} to be set of one of its optimizers, got {name}=0.5; "
            f"set optimizers['*.bias'].{name}"
        )


@pytest.mark.parametrize("rate", [-0.1, float("nan"), float("inf")])
def test_a_schedule_that_gives_no_rate_is_refused_before_the_step(rate):
    class Own(optim.Schedule):
        def __call__(self, step):
            return rate if step else 0.1

    p = Parameter(np.ones(3))
    optimizer = optim.Adam(Own())
    optimizer.step({"p": p})
    before, state = p.value.copy(), optimizer.state()
    with pytest.raises(ArgumentError) as error:
        optimizer.step({"p": p})
    assert str(error.value) == f"Adam: expected lr of step 1 of at least 0, got {rate!r}"
    np.testing.assert_array_equal(p.value, before)
    for name, value in optimizer.state().items():
        np.testing.assert_array_equal(value, state[name])


def test_a_function_is_no_learning_rate():
    with pytest.raises(ArgumentError) as error:
        optim.SGD(lambda step: 0.1)
    assert str(error.value) == (
        "SGD: expected lr to be a number of at least 0 or a Schedule, got the function <lambda>; make it a "
        "subclass of handgrad.optim.Schedule, whose __call__ takes the step's number"
    )
    with pytest.raises(ArgumentError) as error:
        optim.SGD(optim.schedules.Cosine)
    assert str(error.value) == (
        "SGD: expected lr to be a number of at least 0 or a Schedule, got the class Cosine; "
        "create the schedule"
    )


@pytest.mark.parametrize("make", [optim.SGD, lambda: optim.MultiOptimizer({"*": optim.SGD()})])
def test_a_model_is_no_dict_of_parameters(make):
    model = hg.Sequential([layers.Dense(2)], input_shape=(2,))
    optimizer = make()
    for call in (
        lambda: optimizer.step(model),
        lambda: optimizer.check(model),
        lambda: optimizer.load_state(optimizer.state(), model),
    ):
        with pytest.raises(ArgumentError) as error:
            call()
        assert str(error.value) == (
            f"{type(optimizer).__name__}: expected a dict of parameters by name, got a Sequential; "
            "give it model.trainable_parameters()"
        )
    with pytest.raises(ArgumentError) as error:
        optimizer.step(list(model.parameters().values()))
    assert str(error.value).endswith(": expected a dict of parameters by name, got a list")


def test_arguments_are_taken_over_from_a_configuration():
    a, b = optim.Adam(0.1), optim.Adam(optim.schedules.Cosine(0.2, 5), beta_1=0.5)
    a.step({"p": Parameter(np.ones(3))})
    a.load_config(b.config())
    assert a.config() == b.config()
    assert a.iterations == 1
    with pytest.raises(ArgumentError):
        a.load_config(optim.SGD(0.1).config())
    assert a.config() == b.config()
    several = optim.MultiOptimizer({"*": optim.SGD(0.1)})
    with pytest.raises(ArgumentError, match="with other arguments"):
        several.load_config(optim.MultiOptimizer({"*": optim.Adam(0.1)}).config())
