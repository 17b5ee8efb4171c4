"""Batch normalizations of PyTorch, flax and Keras: what comes from them computes, and trains on, as there."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import io
from handgrad.errors import ArgumentError, BuildError
from handgrad.layers import BatchNormalization, Run
from tests.layers.cases import normal
from tests.layers.normalizing import built

TRAINING = Run(training=True)


@pytest.mark.parametrize("ours", [0.9, 0.99, 0.5, 0.0, 1.0, 0.997, None])
def test_momentum_there_and_back(ours):
    theirs = io.to_torch_momentum(ours)
    assert theirs == (None if ours is None else pytest.approx(1 - ours, abs=1e-15))
    assert io.from_torch_momentum(theirs) == ours


def test_momentum_out_of_range():
    with pytest.raises(ArgumentError) as error:
        io.from_torch_momentum(1.1)
    assert str(error.value) == "from_torch_momentum: expected momentum of at least 0 and at most 1, got 1.1"


def module(torch, **options):
    """Return a module that has seen two batches."""
    made = torch.nn.BatchNorm2d(3, dtype=torch.float64, **options)
    with torch.no_grad():
        for seed, p in enumerate(made.parameters()):
            p.copy_(torch.tensor(0.5 + normal(3, seed=seed)))
    for seed in range(2):
        made(nchw(torch, 1 + 2 * normal(4, 5, 6, 3, seed=seed)))
    return made


def nchw(torch, x):
    return torch.tensor(x).permute(0, 3, 1, 2)


OPTIONS = {
    "as it is": {},
    "momentum": {"momentum": 0.3, "eps": 1e-3},
    "cumulative": {"momentum": None},
    "no parameters": {"affine": False},
    "no statistics": {"track_running_stats": False},
}
each_option = pytest.mark.parametrize("options", OPTIONS.values(), ids=OPTIONS)


def assert_agree(torch, bn, theirs):
    """In inference, in training, and in the statistics and the inference after it."""
    for training in (False, True, False):
        theirs.train(training)
        x = 1 + 2 * normal(4, 5, 6, 3, seed=7)
        y, saved = bn.forward(x, Run(training=training))
        bn.commit(saved)
        z = theirs(nchw(torch, x)).permute(0, 2, 3, 1)
        np.testing.assert_allclose(y, z.detach().numpy(), rtol=1e-12, atol=1e-12)
    if bn.running_statistics:
        np.testing.assert_allclose(bn.running_var.value, theirs.running_var.numpy(), rtol=1e-13)
        assert int(bn.updates.value) == int(theirs.num_batches_tracked)


@each_option
def test_from_pytorch(options):
    torch = pytest.importorskip("torch")
    theirs = module(torch, **options)
    named = {name: options[name] for name in ("momentum", "eps") if name in options}
    bn = io.batch_norm_from_torch(theirs.state_dict(), dtype="float64", **named)
    assert_agree(torch, bn, theirs)


@each_option
def test_to_pytorch_and_back(options):
    torch = pytest.importorskip("torch")
    theirs = module(torch, **options)
    named = {name: options[name] for name in ("momentum", "eps") if name in options}
    bn = io.batch_norm_from_torch(theirs.state_dict(), dtype="float64", **named)
    again = torch.nn.BatchNorm2d(3, dtype=torch.float64, **options)
    again.load_state_dict({name: torch.tensor(a) for name, a in io.batch_norm_to_torch(bn).items()})
    for name, value in theirs.state_dict().items():
        assert torch.equal(again.state_dict()[name], value), name
    assert_agree(torch, bn, again)


@pytest.mark.parametrize("kind", ["biased", "unbiased"])
def test_either_estimate_goes_to_pytorch_as_inference_takes_it(kind):
    torch = pytest.importorskip("torch")
    bn = built((5, 6, 3), running_variance=kind, momentum=0.8, debias=True)
    for seed in range(2):
        bn.commit(bn.forward(1 + normal(4, 5, 6, 3, seed=seed), TRAINING)[1])
    theirs = torch.nn.BatchNorm2d(3, dtype=torch.float64).eval()
    theirs.load_state_dict({name: torch.tensor(a) for name, a in io.batch_norm_to_torch(bn).items()})
    x = normal(4, 5, 6, 3, seed=7)
    z = theirs(nchw(torch, x)).permute(0, 2, 3, 1).detach().numpy()
    np.testing.assert_allclose(bn.forward(x, Run())[0], z, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("options", [{"scale": False}, {"center": False}], ids=str)
def test_pytorch_has_both_parameters_or_none(options):
    bn = built((3,), **options)
    state = io.batch_norm_to_torch(bn)
    np.testing.assert_array_equal(state["weight"], bn.gamma.value if bn.gamma else np.ones(3))
    np.testing.assert_array_equal(state["bias"], bn.beta.value if bn.beta else np.zeros(3))


def test_flax_there_and_back():
    params = {"scale": normal(3), "bias": normal(3, seed=1)}
    stats = {"mean": normal(3, seed=2), "var": 0.1 + normal(3, seed=3) ** 2}
    bn = io.batch_norm_from_flax(params, stats, momentum=0.9, epsilon=0.01, dtype="float64")
    x = normal(4, 3, seed=4)
    expected = params["scale"] * (x - stats["mean"]) / np.sqrt(stats["var"] + 0.01) + params["bias"]
    np.testing.assert_allclose(bn.forward(x, Run())[0], expected, rtol=1e-13)
    found = io.batch_norm_to_flax(bn)
    for there, here in zip(found, (params, stats), strict=True):
        assert there.keys() == here.keys()
        for name, value in here.items():
            np.testing.assert_array_equal(there[name], value)
    bn.commit(bn.forward(x, TRAINING)[1])  # ra_var = momentum*ra_var + (1 - momentum)*var, biased
    np.testing.assert_allclose(bn.running_var.value, 0.9 * stats["var"] + 0.1 * x.var(axis=0), rtol=1e-13)


@pytest.mark.parametrize(("center", "scale"), [(True, True), (True, False), (False, True), (False, False)])
def test_keras_there_and_back(center, scale):
    weights = [normal(3, seed=s) ** 2 + 0.1 for s in range(2 + center + scale)]
    bn = io.batch_norm_from_keras(weights, center=center, scale=scale, dtype="float64")
    assert (bn.momentum, bn.epsilon, bn.running_variance) == (0.99, 1e-3, "biased")
    x = normal(4, 3, seed=4)
    gamma = weights[0] if scale else 1
    beta = weights[int(scale)] if center else 0
    expected = gamma * (x - weights[-2]) / np.sqrt(weights[-1] + 1e-3) + beta
    np.testing.assert_allclose(bn.forward(x, Run())[0], expected, rtol=1e-13)
    for found, given in zip(io.batch_norm_to_keras(bn), weights, strict=True):
        np.testing.assert_array_equal(found, given)


def test_what_comes_in_can_become_part_of_a_model_of_images():
    bn = io.batch_norm_from_flax({}, {"mean": np.ones(3), "var": np.ones(3)})
    model = hg.Sequential([bn], input_shape=(4, 5, 3))
    assert model.predict(np.ones((2, 4, 5, 3))).max() == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: io.batch_norm_from_torch({"weight": np.ones(3), "bias": np.ones(2)}),
            "batch_norm_from_torch: expected vectors of one length, a number for each channel, got gamma "
            "(3,), beta (2,)",
        ),
        (
            lambda: io.batch_norm_from_torch({}),
            "batch_norm_from_torch: expected vectors of one length, a number for each channel, got none",
        ),
        (
            lambda: io.batch_norm_from_keras([np.ones(3)] * 3),
            "batch_norm_from_keras weights: expected 4 arrays, gamma, beta, running_mean, running_var, got "
            "3; give center and scale as the layer has them",
        ),
        (
            lambda: io.batch_norm_to_flax(BatchNormalization()),
            "batch_norm_to_flax: expected a built layer, got one that has no parameters yet",
        ),
    ],
)
def test_what_does_not_fit(call, message):
    with pytest.raises((ArgumentError, BuildError)) as error:
        call()
    assert str(error.value) == message
