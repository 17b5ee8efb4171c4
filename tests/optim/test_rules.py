"""What each rule does under simple gradients, and what its constructor refuses."""

from __future__ import annotations

import numpy as np
import pytest

from handgrad.errors import ArgumentError
from handgrad.layers.parameter import Parameter
from handgrad.optim import SGD, Adadelta, Adagrad, Adam, AdamW, RMSprop

RULES = [SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW]
every_rule = pytest.mark.parametrize("rule", RULES)


def moves(optimizer, gradients, start=0.0):
    """Return how far one number goes at each step."""
    p = Parameter(np.array([start]))
    places = [start]
    for g in gradients:
        p.zero_grad()
        p.accumulate(np.array([g]))
        optimizer.step({"p": p})
        places.append(float(p.value[0]))
    return np.diff(places)


def test_adam_under_a_constant_gradient_moves_by_the_learning_rate_at_every_step():
    # the seed: no step count in the bias correction, so the step grew to 2 lr and then fell to 0.3 lr
    for g in (1e-3, 1.0, 1e3):
        np.testing.assert_allclose(moves(Adam(0.01), [g] * 3000), -0.01, rtol=2e-5)


def test_momentum_adds_gradients_up_to_a_step_of_one_over_one_minus_momentum():
    # the seed: gradients were damped by 1 - momentum, so momentum did not speed anything up
    steps = moves(SGD(0.1, momentum=0.9), [2.0] * 400)
    assert steps[0] == pytest.approx(-0.2)
    assert steps[1] == pytest.approx(-0.2 * 1.9)
    assert steps[-1] == pytest.approx(-0.2 / (1 - 0.9))


def test_dampening_equal_to_momentum_averages_gradients():
    steps = moves(SGD(0.1, momentum=0.9, dampening=0.9), [2.0] * 50)
    np.testing.assert_allclose(steps, -0.2)


def test_nesterov_takes_gradients_as_every_rule_does_and_looks_one_step_ahead():
    # the seed: it asked for a function that computes gradients, and failed at its first call
    plain = moves(SGD(0.1, momentum=0.5), [2.0, 2.0, 0.0])
    ahead = moves(SGD(0.1, momentum=0.5, nesterov=True), [2.0, 2.0, 0.0])
    np.testing.assert_allclose(plain, [-0.2, -0.3, -0.15])
    np.testing.assert_allclose(ahead, [-0.3, -0.35, -0.075])


def test_nesterov_converges_faster_than_plain_descent_on_a_narrow_valley():
    def distance(optimizer):
        p, curvature = Parameter(np.ones(2)), np.array([1.0, 100.0])
        for _ in range(100):
            p.zero_grad()
            p.accumulate(curvature * p.value)
            optimizer.step({"p": p})
        return np.abs(p.value).max()

    assert distance(SGD(0.01, momentum=0.8, nesterov=True)) < 1e-2 * distance(SGD(0.01))


def test_adagrad_steps_shrink_as_one_over_the_root_of_the_step_number():
    steps = moves(Adagrad(0.1), [3.0] * 100)
    np.testing.assert_allclose(steps, -0.1 / np.sqrt(np.arange(1, 101)))


def test_adadelta_first_step_depends_on_rho_and_epsilon_alone():
    for g in (1.0, 100.0):
        assert moves(Adadelta(rho=0.9, epsilon=1e-6), [g])[0] == pytest.approx(-1e-3 / np.sqrt(0.1), rel=1e-4)


def test_rmsprop_step_settles_at_the_learning_rate_whatever_the_gradient():
    for g in (1e-2, 1e3):
        assert moves(RMSprop(0.1, rho=0.9), [g] * 200)[-1] == pytest.approx(-0.1, rel=1e-5)


def test_weight_decay_in_adam_is_scaled_with_the_gradient_but_not_in_adamw():
    # with a decay only, Adam moves by lr whatever the decay is, AdamW by lr*weight_decay*p
    for decay in (0.1, 0.5):
        assert moves(Adam(0.01, weight_decay=decay), [0.0], start=3.0)[0] == pytest.approx(-0.01)
        assert moves(AdamW(0.01, weight_decay=decay), [0.0], start=3.0)[0] == pytest.approx(-0.03 * decay)


@pytest.mark.parametrize("rule", [SGD, Adagrad, Adadelta, RMSprop, Adam])
def test_weight_decay_is_the_gradient_of_half_its_square(rule):
    def free():
        return moves(rule(), [0.5 + 0.3 * 2.0], start=2.0)

    np.testing.assert_array_equal(moves(rule(weight_decay=0.3), [0.5], start=2.0), free())
    assert moves(rule(weight_decay=0.3), [0.0], start=2.0)[0] < 0


@every_rule
def test_defaults_have_no_decay_but_adamw(rule):
    assert rule().weight_decay == (0.01 if rule is AdamW else 0.0)
    assert rule().groups == ()
    assert rule().global_clipnorm is None


@pytest.mark.parametrize(
    ("rule", "lr"),
    [(SGD, 0.01), (Adagrad, 0.01), (Adadelta, 1.0), (RMSprop, 0.01), (Adam, 1e-3), (AdamW, 1e-3)],
)
def test_default_learning_rates_are_those_documented(rule, lr):
    assert rule().learning_rate == lr
    assert f"default {lr}" in rule.__doc__


@every_rule
def test_numpy_numbers_do_not_change_the_dtype(rule):
    p = Parameter(np.ones(3, np.float32))
    for _ in range(2):
        p.accumulate(np.ones(3, np.float32))
        rule(np.float64(0.1), weight_decay=np.float64(0.1)).step({"p": p})
    assert p.value.dtype == np.float32


@every_rule
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": -0.1}, "lr of at least 0, got -0.1"),
        ({"lr": np.nan}, "lr of at least 0, got nan"),
        ({"lr": np.inf}, "lr of at least 0, got inf"),
        ({"lr": "fast"}, "lr of at least 0, got 'fast'"),
        ({"lr": True}, "lr of at least 0, got True"),
        ({"weight_decay": -1e-4}, "weight_decay of at least 0, got -0.0001"),
        ({"global_clipnorm": 0}, "global_clipnorm greater than 0, got 0"),
        ({"groups": ("*.bias",)}, "groups to be a sequence of Group, got ('*.bias',)"),
        ({"groups": 3}, "groups to be a sequence of Group, got 3"),
    ],
)
def test_arguments_of_every_rule_are_checked_at_construction(rule, arguments, message):
    with pytest.raises(ArgumentError) as error:
        rule(**arguments)
    assert str(error.value) == f"{rule.__name__}: expected {message}"


@pytest.mark.parametrize(
    ("rule", "arguments", "message"),
    [
        (SGD, {"momentum": 1.0}, "momentum of at least 0 and less than 1, got 1.0"),
        (SGD, {"momentum": -0.1}, "momentum of at least 0 and less than 1, got -0.1"),
        (SGD, {"dampening": -0.1}, "dampening of at least 0, got -0.1"),
        (
            SGD,
            {"nesterov": True},
            "momentum greater than 0 and dampening 0 with nesterov=True, got momentum=0.0, dampening=0.0",
        ),
        (
            SGD,
            {"nesterov": True, "momentum": 0.9, "dampening": 0.1},
            "momentum greater than 0 and dampening 0 with nesterov=True, got momentum=0.9, dampening=0.1",
        ),
        (Adagrad, {"initial_accumulator_value": -1}, "initial_accumulator_value of at least 0, got -1"),
        (Adagrad, {"epsilon": -1}, "epsilon of at least 0, got -1"),
        (Adadelta, {"rho": 1}, "rho of at least 0 and less than 1, got 1"),
        (Adadelta, {"epsilon": 0}, "epsilon greater than 0, got 0"),
        (RMSprop, {"rho": 1.5}, "rho of at least 0 and less than 1, got 1.5"),
        (RMSprop, {"momentum": 1.5}, "momentum of at least 0 and less than 1, got 1.5"),
        (RMSprop, {"epsilon": -1}, "epsilon of at least 0, got -1"),
        (Adam, {"beta_1": 1.0}, "beta_1 of at least 0 and less than 1, got 1.0"),
        (Adam, {"beta_2": -0.1}, "beta_2 of at least 0 and less than 1, got -0.1"),
        (AdamW, {"epsilon": -1}, "epsilon of at least 0, got -1"),
    ],
)
def test_arguments_of_single_rules_are_checked_at_construction(rule, arguments, message):
    with pytest.raises(ArgumentError) as error:
        rule(**arguments)
    assert str(error.value) == f"{rule.__name__}: expected {message}"


@pytest.mark.parametrize("rule", [Adagrad, Adadelta, RMSprop, Adam, AdamW])
def test_all_but_the_learning_rate_is_by_keyword(rule):
    assert rule(0.5).learning_rate == 0.5
    with pytest.raises(TypeError, match="positional"):
        rule(0.5, 0.9)


def test_sgd_takes_momentum_by_position_and_flags_by_keyword():
    assert (SGD(0.5, 0.9).learning_rate, SGD(0.5, 0.9).momentum) == (0.5, 0.9)
    with pytest.raises(TypeError, match="positional"):
        SGD(0.5, 0.9, True)
