"""Optimizers and schedules are PyTorch's: kept in golden/optim.npz, and live where torch is installed."""

from __future__ import annotations

import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from handgrad import optim
from handgrad.layers.packing import pack
from handgrad.layers.parameter import Parameter
from handgrad.optim import schedules

GOLDEN = Path(__file__).parents[1] / "golden"
SCRIPT = runpy.run_path(str(GOLDEN / "make_optim_losses.py"))
RULES = json.loads(str(np.load(GOLDEN / "optim.npz")["rules"]))
SCHEDULES = json.loads(str(np.load(GOLDEN / "optim.npz")["schedules"]))


def trajectory(config, start, target, noise, dtype):
    """Return where our optimizer is after each step, (steps, size)."""
    parameters = {name: Parameter(p.astype(dtype)) for name, p in SCRIPT["split"](start).items()}
    pack(parameters.values())
    targets = SCRIPT["split"](target.astype(dtype))
    optimizer = optim.get(config)
    places = []
    for noise_t in noise.astype(dtype):
        for name, n in SCRIPT["split"](noise_t).items():
            p = parameters[name]
            p.zero_grad()
            p.accumulate(n + (p.value - targets[name]) / 2)
        optimizer.step(parameters)
        places.append(np.concatenate([p.value.ravel() for p in parameters.values()]))
    return np.stack(places)


def test_kept_values_are_those_of_the_rules_the_script_lists():
    assert {name: rule[0] for name, rule in SCRIPT["RULES"].items()} == RULES
    assert {name: schedule[0] for name, schedule in SCRIPT["SCHEDULES"].items()} == SCHEDULES


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-11), ("float32", 1e-6)])
@pytest.mark.parametrize("name", RULES)
def test_fifty_steps_agree_with_kept_values(name, dtype, tolerance):
    golden = np.load(GOLDEN / "optim.npz")
    places = trajectory(RULES[name], golden["start"], golden["target"], golden["noise"], dtype)
    assert places.dtype == dtype
    np.testing.assert_allclose(
        places[SCRIPT["KEPT"]], golden[f"{name}/{dtype}"], rtol=tolerance, atol=tolerance
    )


@pytest.mark.parametrize("name", RULES)
def test_fifty_steps_agree_live(name):
    pytest.importorskip("torch")
    problem = SCRIPT["problem"](7)
    ours = trajectory(RULES[name], *problem, "float64")
    np.testing.assert_allclose(
        ours, SCRIPT["torch_trajectory"](name, *problem, "float64"), rtol=1e-11, atol=1e-11
    )


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_agree_with_kept_values(name):
    golden = np.load(GOLDEN / "optim.npz")[f"{name}/lr"]
    schedule = schedules.get(SCHEDULES[name])
    np.testing.assert_allclose([schedule(t) for t in range(len(golden))], golden, rtol=1e-12, atol=1e-16)


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_agree_live(name):
    pytest.importorskip("torch")
    schedule = schedules.get(SCHEDULES[name])
    np.testing.assert_allclose(
        [schedule(t) for t in range(40)], SCRIPT["torch_schedule"](name), rtol=1e-12, atol=1e-16
    )


def test_a_layer_that_is_frozen_for_a_while_agrees_live():
    torch = pytest.importorskip("torch")
    start, _, noise = SCRIPT["problem"](3)
    ours = {name: Parameter(p.copy()) for name, p in SCRIPT["split"](start).items()}
    pack(ours.values())
    theirs = {name: torch.nn.Parameter(torch.tensor(p)) for name, p in SCRIPT["split"](start).items()}
    optimizer, torch_optimizer = optim.Adam(0.1), torch.optim.Adam(theirs.values(), lr=0.1)
    for t, noise_t in enumerate(noise):
        for name, n in SCRIPT["split"](noise_t).items():
            ours[name].zero_grad()
            ours[name].accumulate(n)
            theirs[name].grad = torch.tensor(n) if name == "weight" or t not in range(5, 20) else None
        optimizer.step({name: p for name, p in ours.items() if theirs[name].grad is not None})
        torch_optimizer.step()
    for name, p in ours.items():
        np.testing.assert_allclose(p.value, theirs[name].detach().numpy(), rtol=1e-12, atol=1e-12)
