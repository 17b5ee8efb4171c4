from __future__ import annotations

import numpy as np
import pytest

from handgrad import optim
from handgrad.errors import ArgumentError
from handgrad.kernels.reference.muon import orthogonalize
from handgrad.layers.packing import pack
from handgrad.layers.parameter import Parameter
from handgrad.optim import Group, Muon


def matrices():
    rng = np.random.default_rng(0)
    shapes = {"conv.weight": (3, 3, 2, 5), "dense.weight": (4, 3)}
    parameters = {name: Parameter(rng.normal(size=shape), name=name) for name, shape in shapes.items()}
    pack(parameters.values())
    for p in parameters.values():
        p.accumulate(rng.normal(size=p.shape))
    return parameters


@pytest.mark.parametrize(
    ("adjust", "scale"),
    [
        ("none", lambda rows, columns: 1.0),
        ("original", lambda rows, columns: max(1.0, columns / rows) ** 0.5),
        ("match_rms_adamw", lambda rows, columns: 0.2 * max(rows, columns) ** 0.5),
    ],
)
def test_each_parameter_is_a_matrix_of_its_own(adjust, scale):
    parameters = matrices()
    before = {name: p.value.copy() for name, p in parameters.items()}
    Muon(0.1, momentum=0.5, adjust=adjust, ns_steps=3, nesterov=False).step(parameters)
    for name, p in parameters.items():
        g = p.grad.reshape(-1, p.shape[-1])
        u = orthogonalize(g, 3) * scale(*g.shape)
        np.testing.assert_allclose(p.value, before[name] - 0.1 * u.reshape(p.shape), rtol=1e-12)


def test_agrees_with_pytorch_but_for_its_bfloat16():
    torch = pytest.importorskip("torch")
    if not hasattr(torch.optim, "Muon"):
        pytest.skip("this PyTorch has no Muon")
    rng = np.random.default_rng(3)
    w = rng.normal(size=(16, 6)).astype(np.float32)  # (inputs, outputs); theirs is (outputs, inputs)
    ours = Parameter(w.copy())
    theirs = torch.nn.Parameter(torch.tensor(w.T.copy()))
    a = Muon(0.1, momentum=0.9, weight_decay=0.1)
    b = torch.optim.Muon([theirs], lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(4):
        g = rng.normal(size=w.shape).astype(np.float32)
        ours.zero_grad()
        ours.accumulate(g)
        a.step({"w": ours})
        theirs.grad = torch.tensor(g.T.copy())
        b.step()
    moved = np.abs(ours.value - w).max()
    assert np.abs(ours.value - theirs.detach().numpy().T).max() < 0.03 * moved


def test_a_bias_is_refused_before_anything_moves():
    parameters = matrices() | {"dense.bias": Parameter(np.zeros(3))}
    before = parameters["conv.weight"].value.copy()
    for attempt in (Muon().check, Muon().step):
        with pytest.raises(ArgumentError) as error:
            attempt(parameters)
        assert str(error.value) == (
            "Muon: expected matrices and filters, of two axes or more, got dense.bias of shape (3,); "
            'give it to another rule: MultiOptimizer({"*.weight": Muon(), "*": Adam()})'
        )
    np.testing.assert_array_equal(parameters["conv.weight"].value, before)


def test_a_group_may_wait_for_layers_that_are_frozen_at_first():
    parameters = matrices()
    optimizer = Muon(0.1, groups=[Group("dense.*", lr_scale=0.5)])
    optimizer.check(parameters)
    optimizer.step({"conv.weight": parameters["conv.weight"]})
    optimizer.step(parameters)
    assert optimizer.iterations == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"momentum": 1.0}, "Muon: expected momentum of at least 0 and less than 1, got 1.0"),
        ({"ns_steps": 0}, "Muon: expected ns_steps to be a whole number of at least 1, got 0"),
        (
            {"adjust": "torch"},
            'Muon: expected adjust to be "original", "match_rms_adamw" or "none", got \'torch\'',
        ),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ArgumentError) as error:
        Muon(**arguments)
    assert str(error.value) == message


def test_groups_config_and_state_work_as_for_every_rule():
    optimizer = Muon(0.1, groups=[Group("dense.*", lr_scale=0.0)], keep_norm=True)
    again = optim.get(optimizer.config())
    assert again.config() == optimizer.config()
    unbroken, broken = matrices(), matrices()
    for _ in range(4):
        optimizer.step(unbroken)
    for _ in range(2):
        again.step(broken)
    resumed = optim.get(optimizer.config())
    resumed.load_state(again.state(), broken)
    for _ in range(2):
        resumed.step(broken)
    for name in unbroken:
        np.testing.assert_array_equal(unbroken[name].value, broken[name].value)
