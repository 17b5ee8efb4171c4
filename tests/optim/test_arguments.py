"""Whatever is given for an argument of an optimizer or a schedule, it is taken or refused on purpose."""

from __future__ import annotations

import inspect
import json

import numpy as np
import pytest

from handgrad import losses, optim
from handgrad.errors import ArgumentError, BuildError, HandgradError
from handgrad.layers import Parameter
from tests.layers.test_arguments import ANYTHING

KINDS = {
    optim.SGD: {},
    optim.Adagrad: {},
    optim.Adadelta: {},
    optim.RMSprop: {},
    optim.Adam: {},
    optim.AdamW: {},
    optim.Muon: {},
    optim.Group: {"match": "*"},
    optim.Constant: {"lr": 0.1},
    optim.Step: {"lr": 0.1, "every": 2},
    optim.Cosine: {"lr": 0.1, "steps": 5},
    optim.Linear: {"lr": 0.1, "steps": 5},
    optim.OneCycle: {"max_lr": 0.1, "steps": 5},
    optim.WarmUp: {"lr": 0.1, "steps": 5},
    optim.MultiOptimizer: {"optimizers": {"*": optim.SGD()}},
}


def used(made):
    """Take three steps, and make it again from its configuration."""
    optimizer = made
    if not isinstance(made, optim.Optimizer):
        group = isinstance(made, optim.Group)
        optimizer = optim.SGD(0.1, groups=(made,)) if group else optim.SGD(made)
    parameters = {"a.weight": Parameter(np.ones((3, 2), np.float32))}
    parameters["a.weight"].accumulate(np.full((3, 2), 0.5))
    for _ in range(3):
        optimizer.step(parameters)
    assert np.isfinite(parameters["a.weight"].value).all()
    type(made).from_config(json.loads(json.dumps(made.config())))


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.__name__)
def test_an_argument_is_taken_or_refused(kind):
    refused = 0
    for name in inspect.signature(kind).parameters:
        for what, value in ANYTHING.items():
            try:
                used(kind(**{**KINDS[kind], name: value}))
            except ArgumentError:
                refused += 1
            except Exception as error:
                raise AssertionError(f"{kind.__name__}({name}={value!r}), {what}") from error
    assert refused > 15


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (
            lambda: optim.SGD(0.1, momentum=0.9, nesterov="yes"),
            "SGD: expected nesterov to be True or False, got 'yes'",
        ),
        (lambda: optim.RMSprop(centered=2), "RMSprop: expected centered to be True or False, got 2"),
        (lambda: optim.Muon(keep_norm=None), "Muon: expected keep_norm to be True or False, got None"),
        (
            lambda: optim.Group(3),
            "Group: expected match to be a pattern over parameter names, or several, got 3",
        ),
        (
            lambda: optim.Cosine.from_config({"lr": 0.1}),
            "Cosine: expected the argument steps, got lr",
        ),
        (
            lambda: optim.get({"class": "SGD", "lr": {"class": "Step", "lr": 0.1}}),
            "Step: expected the argument every, got lr",
        ),
        (
            lambda: optim.Group.from_config({"lr_scale": 0.1}),
            "Group: expected the argument match, got lr_scale",
        ),
        (lambda: optim.SGD.from_config("SGD"), "SGD: expected a dict of arguments, got 'SGD'"),
        (
            lambda: losses.CrossEntropy("0.1"),
            "CrossEntropy: expected label_smoothing in [0, 1], got '0.1'",
        ),
        (lambda: losses.CrossEntropy(True), "CrossEntropy: expected label_smoothing in [0, 1], got True"),
        (
            lambda: losses.CrossEntropy(float("nan")),
            "CrossEntropy: expected label_smoothing in [0, 1], got nan",
        ),
    ],
)
def test_messages(make, message):
    with pytest.raises(HandgradError) as error:
        make()
    assert str(error.value) == message


def test_a_rule_or_schedule_without_its_method_says_which():
    parameters = {"p": Parameter(np.ones(2))}
    with pytest.raises(BuildError) as error:
        optim.Optimizer(0.1).step(parameters)
    assert str(error.value) == (
        "Optimizer: expected a class with a method update(p, g, slots, *, lr, weight_decay, t, kernels), "
        "got none; "
        "write update in it"
    )
    with pytest.raises(BuildError) as error:
        optim.Schedule()(0)
    assert str(error.value) == (
        "Schedule: expected a class with a method __call__(step), got none; write __call__ in it"
    )


def test_0_and_1_stand_for_flags():
    used(optim.SGD(0.1, momentum=0.9, nesterov=1))
    used(optim.Muon(nesterov=0, keep_norm=np.True_))
