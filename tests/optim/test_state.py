"""State and configuration: a run that is taken up again ends bit for bit where the unbroken one ends."""

from __future__ import annotations

import json

import numpy as np
import pytest

from handgrad import optim
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.optim import (
    SGD,
    Adadelta,
    Adagrad,
    Adam,
    AdamW,
    Cosine,
    Group,
    OneCycle,
    Optimizer,
    RMSprop,
    WarmUp,
)

OPTIMIZERS = [
    SGD(0.1, weight_decay=0.1),
    SGD(0.1, momentum=0.9, dampening=0.3, groups=[Group("bn.*", lr_scale=0.5)]),
    SGD(OneCycle(0.3, steps=12), momentum=0.9, nesterov=True),
    Adagrad(0.1, initial_accumulator_value=0.1),
    Adadelta(rho=0.95),
    RMSprop(0.1, momentum=0.5, centered=True),
    Adam(WarmUp(Cosine(0.1, steps=8), steps=4), global_clipnorm=1.5),
    AdamW(0.1, groups=(Group(("*.gamma", "*.beta"), weight_decay=0.1),)),
]
every_optimizer = pytest.mark.parametrize(
    "config", [o.config() for o in OPTIMIZERS], ids=map(repr, OPTIMIZERS)
)


def frozen_for_a_while(step, name):
    return not (name.startswith("conv") and 2 <= step < 8)


@every_optimizer
@pytest.mark.parametrize("saved_at", [1, 5, 9])
def test_a_run_goes_on_bit_for_bit_from_its_state(config, saved_at, new_parameters, train, same):
    unbroken = train(optim.get(config), new_parameters(), 0, 12, frozen_for_a_while)
    first, parameters = optim.get(config), new_parameters()
    train(first, parameters, 0, saved_at, frozen_for_a_while)
    again, others = optim.get(json.loads(json.dumps(first.config()))), new_parameters(seed=99)
    for name, p in others.items():
        p.assign(parameters[name].value)
    again.load_state(first.state(), others)
    assert again.iterations == saved_at
    same(train(again, others, saved_at, 12, frozen_for_a_while), unbroken)


@every_optimizer
def test_state_round_trip_is_exact_and_copied(config, parameters, train, same):
    first, second = optim.get(config), optim.get(config)
    train(first, parameters, 0, 3)
    state = first.state()
    second.load_state(state)
    same(second.state(), state)
    for value in state.values():
        if isinstance(value, np.ndarray):
            value[...] = 7
    kept = second.state()
    assert all((a != 7).any() for a in [*first.state().values(), *kept.values()] if isinstance(a, np.ndarray))


def test_state_has_flat_names_and_the_shapes_of_parameters(parameters, train):
    optimizer = Adam()
    assert optimizer.state() == {"step": 0}
    train(optimizer, parameters, 0, 2)
    state = optimizer.state()
    assert state.keys() == {"step"} | {f"{slot}/{name}" for slot in ("step", "m", "v") for name in parameters}
    for name, p in parameters.items():
        assert state[f"m/{name}"].shape == p.shape
        assert state[f"step/{name}"] == 2


def test_counts_may_come_back_as_arrays_and_loading_replaces_what_was_there(parameters, train, same):
    optimizer = Adam()
    train(optimizer, parameters, 0, 2)
    state = optimizer.state()
    train(optimizer, parameters, 2, 5)
    optimizer.load_state({k: np.asarray(v) for k, v in state.items()})
    assert optimizer.iterations == 2
    assert type(optimizer.state()["step/conv.weight"]) is int
    same(optimizer.state(), state)


def change(**changes):
    """Return a function that changes a state; None takes an entry away."""

    def apply(state):
        state |= {k.replace("__", "/").replace("_", "."): v for k, v in changes.items()}
        return {k: v for k, v in state.items() if v is not None}

    return apply


ADAM = "Adam: expected "


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change(step=None), ADAM + "step in the state, got nothing of that name"),
        (change(step=-1), ADAM + "step to be a number of steps, got -1"),
        (change(step=1.5), ADAM + "step to be a number of steps, got 1.5"),
        (change(step__bn_beta="x"), ADAM + "step/bn.beta to be a number of steps, got 'x'"),
        (
            change(velocity__bn_beta=np.zeros(2)),
            ADAM + "state named step/..., m/..., v/..., got 'velocity/bn.beta';"
            " load it into the kind of optimizer that saved it",
        ),
        (
            change(lr=0.1),
            ADAM + "state named step/..., m/..., v/..., got 'lr';"
            " load it into the kind of optimizer that saved it",
        ),
        (change(v__bn_beta=None), ADAM + "v/bn.beta in the state, got nothing of that name"),
        (change(step__bn_beta=None), ADAM + "step/bn.beta in the state, got nothing of that name"),
        (
            change(v__bn_beta=np.zeros(3)),
            ADAM + "one shape and dtype for all state of bn.beta,"
            " got m of (2,) and float64, v of (3,) and float64",
        ),
        (
            change(m__bn_beta=np.zeros(3), v__bn_beta=np.zeros(3)),
            ADAM + "m/bn.beta of shape (2,) and float64, got shape (3,) and float64;"
            " the state was saved with another model",
        ),
        (
            change(m__bn_beta=np.zeros(2, "f4"), v__bn_beta=np.zeros(2, "f4")),
            ADAM + "m/bn.beta of shape (2,) and float64, got shape (2,) and float32;"
            " the state was saved with another model",
        ),
        (
            change(step__head=1, m__head=np.zeros(3), v__head=np.zeros(3)),
            ADAM
            + "state of the model's parameters, got that of head; the state was saved with another model",
        ),
    ],
)
def test_a_state_that_does_not_fit_is_an_error_before_anything_changes(
    damage, message, parameters, train, same
):
    optimizer = Adam()
    train(optimizer, parameters, 0, 2)
    before = optimizer.state()
    with pytest.raises(CheckpointError) as error:
        optimizer.load_state(damage(optimizer.state()), parameters)
    assert str(error.value) == message
    same(optimizer.state(), before)


def test_a_state_loaded_without_parameters_is_checked_by_the_first_step(parameters, new_parameters, train):
    saved = Adam()
    train(saved, parameters, 0, 2)
    state = change(m__bn_beta=np.zeros(3), v__bn_beta=np.zeros(3))(saved.state())
    optimizer, others = Adam(), new_parameters(seed=1)
    optimizer.load_state(state)
    before = {name: p.value.copy() for name, p in others.items()}
    with pytest.raises(CheckpointError) as error:
        optimizer.step(others)
    assert str(error.value) == (
        "Adam: expected m/bn.beta of shape (2,) and float64, got shape (3,) and float64;"
        " the state was saved with another model"
    )
    assert optimizer.iterations == 2
    for name, p in others.items():
        np.testing.assert_array_equal(p.value, before[name])


@every_optimizer
def test_config_round_trip_through_json(config):
    optimizer = optim.get(json.loads(json.dumps(config)))
    assert type(optimizer).__name__ == config["class"]
    assert optimizer.config() == config
    assert type(optimizer).from_config(config).config() == config
    assert all(isinstance(g, Group) for g in optimizer.groups)


def test_config_holds_every_argument_and_plain_numbers():
    config = Adam(np.float32(0.5), groups=[Group("*.bias", weight_decay=0.0)]).config()
    assert config == {
        "class": "Adam",
        "lr": 0.5,
        "weight_decay": 0.0,
        "groups": [{"match": "*.bias", "lr_scale": 1.0, "weight_decay": 0.0}],
        "global_clipnorm": None,
        "beta_1": 0.9,
        "beta_2": 0.999,
        "epsilon": 1e-08,
    }


@pytest.mark.parametrize("name", ["SGD", "sgd", "Adagrad", "adadelta", "rmsprop", "adam", "AdamW"])
def test_get_takes_names_in_upper_and_lower_case(name):
    assert type(optim.get(name)).__name__.lower() == name.lower()


def test_get_returns_an_optimizer_itself():
    optimizer = SGD()
    assert optim.get(optimizer) is optimizer


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.get("lion"),
            "optimizer: expected one of SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Muon, MultiOptimizer "
            "or an Optimizer, got 'lion'",
        ),
        (
            lambda: optim.get({"class": "SGD", "learning_rate": 0.1}),
            "SGD: expected arguments among lr, weight_decay, groups, global_clipnorm, momentum, nesterov,"
            " dampening, got 'learning_rate'",
        ),
        (lambda: SGD.from_config({"class": "Adam"}), "SGD: expected class SGD, got Adam"),
        (
            lambda: optim.get({"class": "SGD", "lr": {"class": "Zigzag"}}),
            "schedule: expected one of Constant, Step, Cosine, Linear, OneCycle, WarmUp, "
            "got {'class': 'Zigzag'}",
        ),
    ],
)
def test_unknown_names_and_arguments_are_errors(make, message):
    with pytest.raises(ArgumentError) as error:
        make()
    assert str(error.value) == message


def test_a_rule_of_ones_own_has_state_and_configuration(new_parameters, train, same):
    class Heavy(Optimizer):
        def slots(self):
            return {"b": 1.0}

        def update(self, p, g, slots, *, lr, weight_decay, t, kernels):
            slots["b"][...] = 0.5 * slots["b"] + g
            p -= lr / t * slots["b"]

    optimizer, parameters = Heavy(0.1), new_parameters()
    train(optimizer, parameters, 0, 3)
    again = Heavy.from_config(optimizer.config())
    again.load_state(optimizer.state())
    values = {name: p.value.copy() for name, p in parameters.items()}
    unbroken = train(optimizer, parameters, 3, 5)
    for name, p in parameters.items():
        p.assign(values[name])
    same(train(again, parameters, 3, 5), unbroken)
