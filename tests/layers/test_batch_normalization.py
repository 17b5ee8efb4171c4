"""Batch normalization: far means, choices of axes, running statistics, and the formulas it grew from."""

from __future__ import annotations

import copy
import itertools

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers
from handgrad.errors import ArgumentError, ShapeError
from handgrad.layers import BatchNormalization, Init, Run
from tests.layers.cases import normal

TRAINING = Run(training=True)


def built(shape, dtype=np.float64, **options):
    """Return a built layer whose gamma and beta are not 1 and 0."""
    bn = BatchNormalization(**options)
    bn.build(shape, Init(dtype=dtype))
    for seed, p in enumerate(bn.parameters().values()):
        p.assign(p.value + normal(*p.shape, seed=50 + seed, dtype=dtype) / 2)
    return bn


# --- far means ----------------------------------------------------------------------------------------


def far(bn, x, dy):
    """Return outputs and gradients in training, then in inference with the same statistics."""
    y, saved = bn.forward(x, TRAINING)
    dx = bn.backward(dy, saved, TRAINING)
    bn.momentum = 0.0
    bn.commit(saved)
    z, saved = bn.forward(x, Run())
    return {"y": y, "dx": dx, "y in inference": z, "dx in inference": bn.backward(dy, saved, Run())}


@pytest.mark.parametrize("mean", [1e4, 1e5, 1e6, -1e6, 1e7], ids=lambda m: f"{m:g}")
@pytest.mark.parametrize(("shape", "axis"), [((64, 6, 6, 3), -1), ((256, 4), -1), ((40, 3, 3, 2), (1, 2, 3))])
def test_float32_stays_within_1e_6_of_float64_far_from_zero(mean, shape, axis):
    """At a mean of 1e6 one float32 step is 0.06; PyTorch's channels-last layout is off by 5 at 1e5."""
    x = (mean + normal(*shape)).astype(np.float32)
    dy = normal(*shape, seed=1, dtype=np.float32)
    narrow = far(built(shape[1:], np.float32, axis=axis), x, dy)
    wide = far(built(shape[1:], np.float64, axis=axis), x.astype(float), dy.astype(float))
    for name in wide:
        assert narrow[name].dtype == np.float32
        assert np.abs(narrow[name] - wide[name]).max() < 2e-6, name


def test_running_statistics_far_from_zero_are_right():
    x = (1e6 + normal(500, 2)).astype(np.float32)
    bn = built((2,), np.float32, momentum=0.0)
    bn.commit(bn.forward(x, TRAINING)[1])
    np.testing.assert_allclose(bn.running_mean.value, x.astype(float).mean(axis=0), rtol=1e-13)
    np.testing.assert_allclose(bn.running_var.value, x.astype(float).var(axis=0, ddof=1), rtol=1e-6)


@pytest.mark.parametrize("value", [0.0, 3.0, 1e6])
def test_constant_input_gives_beta_and_finite_gradients(value):
    x = np.full((6, 2), value, np.float32)
    bn = built((2,), np.float32)
    y, saved = bn.forward(x, TRAINING)
    dx = bn.backward(normal(6, 2, dtype=np.float32), saved, TRAINING)
    np.testing.assert_array_equal(y, np.broadcast_to(bn.beta.value, y.shape))
    assert np.isfinite(dx).all()


def test_large_epsilon_counts_as_variance():
    x = normal(9, 2)
    bn = built((2,), epsilon=100.0, scale=False, center=False)
    y, _ = bn.forward(x, TRAINING)
    np.testing.assert_allclose(y, (x - x.mean(axis=0)) / np.sqrt(x.var(axis=0) + 100), rtol=1e-13)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_number_that_is_not_finite_spoils_its_own_channel_alone(bad):
    x = normal(5, 2)
    x[3, 1] = bad
    with np.errstate(invalid="ignore"):
        y, _ = built((2,)).forward(x, TRAINING)
    assert np.isfinite(y[:, 0]).all()
    assert np.isnan(y[:, 1]).all()


# --- axes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("axis", "over", "features"),
    [
        (-1, (0, 1, 2), (4,)),
        (3, (0, 1, 2), (4,)),
        (1, (0, 2, 3), (2,)),
        (2, (0, 1, 3), (3,)),
        ((1, 3), (0, 2), (2, 4)),
        ((-1, 1), (0, 2), (2, 4)),
        ((1, 2), (0, 3), (2, 3)),
        ((1, 2, 3), (0,), (2, 3, 4)),
    ],
    ids=str,
)
def test_statistics_are_over_all_axes_but_those_kept(axis, over, features):
    x, dy = normal(5, 2, 3, 4), normal(5, 2, 3, 4, seed=1)
    bn = built((2, 3, 4), axis=axis, epsilon=0.02)
    assert bn.gamma.shape == bn.running_var.shape == features
    shape = [1 if a in over else n for a, n in enumerate(x.shape)]
    gamma, beta = bn.gamma.value.reshape(shape), bn.beta.value.reshape(shape)
    mean, var = x.mean(axis=over, keepdims=True), x.var(axis=over, keepdims=True)
    s, m = 1 / np.sqrt(var + 0.02), x.size // np.prod(features)
    xhat = (x - mean) * s
    dgamma, dbeta = np.sum(dy * xhat, axis=over), np.sum(dy, axis=over)
    dx = gamma * s * (dy - (dbeta.reshape(shape) + xhat * dgamma.reshape(shape)) / m)

    y, saved = bn.forward(x, TRAINING)
    found = bn.backward(dy, saved, TRAINING)
    bn.commit(saved)
    close = {"rtol": 1e-12, "atol": 1e-14}
    np.testing.assert_allclose(y, gamma * xhat + beta, **close)
    np.testing.assert_allclose(found, dx, **close)
    np.testing.assert_allclose(bn.gamma.grad, dgamma, **close)
    np.testing.assert_allclose(bn.beta.grad, dbeta, **close)
    np.testing.assert_allclose(bn.running_mean.value, 0.01 * mean.reshape(features), **close)
    unbiased = var.reshape(features) * m / (m - 1)
    np.testing.assert_allclose(bn.running_var.value, 0.99 + 0.01 * unbiased, **close)


@pytest.mark.parametrize("axis", [0, 4, -5, (1, 1), (1, -3), (), (0, 1), "channels", True, 1.0], ids=str)
def test_axes_that_mean_nothing(axis):
    with pytest.raises(ArgumentError) as error:
        BatchNormalization(axis=axis, name="bn").build((2, 3, 4))
    assert str(error.value) == (
        "bn (BatchNormalization) axis: expected an axis or several different ones in 1..3, or negative, "
        f"got {axis!r}; axis 0 is the batch"
        + ("; the number of channels is found by build" if axis == 4 else "")
    )


# --- running statistics -------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["unbiased", "biased"])
@pytest.mark.parametrize("momentum", [0.0, 0.9, 1.0])
def test_running_statistics_follow_their_formula(kind, momentum):
    bn = built((3, 2), momentum=momentum, running_variance=kind)
    mean, var = np.zeros(2), np.ones(2)
    for seed in range(4):
        x = 2 + 3 * normal(5, 3, 2, seed=seed)
        bn.commit(bn.forward(x, TRAINING)[1])
        mean = momentum * mean + (1 - momentum) * x.mean(axis=(0, 1))
        var = momentum * var + (1 - momentum) * x.var(axis=(0, 1), ddof=int(kind == "unbiased"))
    np.testing.assert_allclose(bn.running_mean.value, mean, rtol=1e-13)
    np.testing.assert_allclose(bn.running_var.value, var, rtol=1e-13)
    assert bn.updates.value == 4


def test_only_commit_moves_the_running_statistics():
    bn = built((2,))
    before = {name: b.value.copy() for name, b in bn.buffers().items()}
    x = normal(5, 2)
    y, saved = bn.forward(x, TRAINING)
    bn.backward(y, saved, TRAINING)
    for name, b in bn.buffers().items():
        np.testing.assert_array_equal(b.value, before[name])
    bn.commit(saved)
    assert bn.updates.value == 1


def test_statistics_of_a_forward_in_inference_are_not_committed():
    bn = built((2,))
    bn.commit(bn.forward(normal(5, 2), TRAINING)[1])
    before = bn.running_mean.value.copy()
    bn.commit(bn.forward(normal(5, 2, seed=1), Run())[1])
    bn.freeze()
    bn.commit(bn.forward(normal(5, 2, seed=2), TRAINING)[1])
    np.testing.assert_array_equal(bn.running_mean.value, before)
    assert bn.updates.value == 1


def test_an_empty_batch_moves_nothing():
    bn = built((3, 2))
    y, saved = bn.forward(np.zeros((0, 3, 2)), TRAINING)
    assert bn.backward(y, saved, TRAINING).shape == (0, 3, 2)
    bn.commit(saved)
    assert bn.updates.value == 0
    np.testing.assert_array_equal(bn.running_mean.value, 0)
    assert not np.any(bn.gamma.grad)


def test_backward_uses_the_statistics_its_forward_used_also_after_a_commit():
    bn = built((2,), momentum=0.0)
    bn.commit(bn.forward(normal(5, 2), TRAINING)[1])
    x, dy = normal(5, 2, seed=1), normal(5, 2, seed=2)
    _, saved = bn.forward(x, Run())
    bn.backward(dy, saved, Run())
    alone = bn.gamma.grad.copy()
    bn.commit(bn.forward(100 + normal(5, 2, seed=3), TRAINING)[1])
    bn.gamma.zero_grad()
    bn.backward(dy, saved, Run())
    np.testing.assert_array_equal(bn.gamma.grad, alone)


def test_inference_before_any_commit_warns_once_per_forward_and_computes_with_0_and_1():
    bn = BatchNormalization(name="bn", epsilon=3.0)
    bn.build((2,), Init(dtype=np.float64))
    x = normal(4, 2)
    with pytest.warns(UserWarning, match="running statistics") as warned:
        y, _ = bn.forward(x, Run())
    assert [str(w.message) for w in warned] == [
        "bn (BatchNormalization): the running statistics are still mean 0 and variance 1: they move in "
        "training, by commit(saved)"
    ]
    np.testing.assert_allclose(y, x / 2, rtol=1e-15)


def test_one_value_per_channel_in_training_is_an_error_that_names_the_ways_out():
    bn = BatchNormalization(axis=(1, 2, 3), name="bn")
    bn.build((2, 2, 1))
    with pytest.raises(ShapeError) as error:
        bn.forward(np.ones((1, 2, 2, 1), np.float32), TRAINING)
    assert str(error.value) == (
        "bn (BatchNormalization): expected at least 2 values per channel in training, got 1; its variance is "
        "0 and the output would not depend on the input: use larger batches or drop_last=True, "
        'on_single="running", freeze() the layer, or normalize over fewer axes'
    )
    bn.freeze()
    with pytest.warns(UserWarning, match="running statistics"):
        assert bn.forward(np.ones((1, 2, 2, 1), np.float32), TRAINING)[0].shape == (1, 2, 2, 1)


def test_frozen_is_inference_in_forward_and_backward():
    x, dy = normal(6, 3, 2), normal(6, 3, 2, seed=1)
    bn = built((3, 2))
    bn.commit(bn.forward(x, TRAINING)[1])
    y, saved = bn.forward(x, Run())
    dx = bn.backward(dy, saved, Run())
    bn.freeze()
    frozen_y, saved = bn.forward(x, TRAINING)
    np.testing.assert_array_equal(frozen_y, y)
    np.testing.assert_array_equal(bn.backward(dy, saved, TRAINING), dx)
    np.testing.assert_allclose(dx, bn.gamma.value / np.sqrt(bn.running_var.value + 1e-5) * dy, rtol=1e-13)
    bn.unfreeze()
    assert not np.allclose(bn.forward(x, TRAINING)[0], y)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"momentum": 1.5}, "expected momentum of at least 0 and at most 1, got 1.5"),
        ({"momentum": float("nan")}, "expected momentum of at least 0 and at most 1, got nan"),
        ({"momentum": "fast"}, "expected momentum of at least 0 and at most 1, got 'fast'"),
        ({"epsilon": 0.0}, "expected epsilon greater than 0, got 0.0"),
        ({"running_variance": "sample"}, 'running_variance: expected "unbiased" or "biased", got \'sample\''),
        ({"on_single": "skip"}, 'on_single: expected "error" or "running", got \'skip\''),
        ({"ghost_size": 0}, "expected ghost_size to be a whole number of at least 1, got 0"),
        ({"renorm": 3.0}, "renorm: expected two numbers, how large r and how far from 0 d may be, got 3.0"),
        ({"renorm": (0.5, 1)}, "renorm: expected the largest r of at least 1, got 0.5"),
        ({"renorm": (2, -1)}, "renorm: expected the largest d of at least 0, got -1"),
        (
            {"running_statistics": False, "renorm": (2, 1)},
            ": expected running_statistics, which renorm takes, got running_statistics=False",
        ),
        (
            {"running_statistics": False, "on_single": "running"},
            ': expected running_statistics, which on_single="running" takes, got running_statistics=False',
        ),
    ],
    ids=lambda v: "" if isinstance(v, str) else list(v)[-1],
)
def test_arguments_that_mean_nothing(options, message):
    with pytest.raises(ArgumentError) as error:
        BatchNormalization(**options).build((3,))
    assert str(error.value) in (
        f"BatchNormalization {message}",
        f"BatchNormalization: {message}",
        f"BatchNormalization{message}",
    )


@pytest.mark.parametrize("batches", [1, 3])
def test_debiased_statistics_forget_what_they_began_with(batches):
    bn = BatchNormalization(momentum=0.9, debias=True)
    bn.build((2,), Init(dtype=np.float64))
    means, variances, weights = [], [], []
    for i in range(batches):
        x = 5 + 2 * normal(8, 2, seed=i)
        bn.commit(bn.forward(x, TRAINING)[1])
        means.append(x.mean(axis=0))
        variances.append(x.var(axis=0, ddof=1))
        weights.append(0.9 ** (batches - 1 - i))
    x = normal(4, 2, seed=9)
    mean, var = np.average(means, 0, weights), np.average(variances, 0, weights)
    np.testing.assert_allclose(bn.forward(x, Run())[0], (x - mean) / np.sqrt(var + 1e-5), rtol=1e-12)


@pytest.mark.parametrize("center", [True, False])
@pytest.mark.parametrize("scale", [True, False])
def test_parameters_are_absent_where_not_asked_for(center, scale):
    bn = BatchNormalization(center=center, scale=scale)
    bn.build((3, 4))
    assert set(bn.parameters()) == {name for name, there in (("gamma", scale), ("beta", center)) if there}
    assert not any(p.decay for p in bn.parameters().values())
    assert bn.running_mean.value.dtype == np.float64


# --- the formulas the project grew from ---------------------------------------------------------------


class PerFeature:
    """Statistics per feature over the batch axis, epsilon 0.01, as in the post the project grew from."""

    def __init__(self, shape, momentum=0.99):
        self.momentum, self.eps = momentum, 0.01
        self.gamma, self.beta = np.ones(shape), np.zeros(shape)
        self.running_mean = self.running_var = None

    def forward_pass(self, X, training=True):
        if self.running_mean is None:
            self.running_mean = np.mean(X, axis=0)
            self.running_var = np.var(X, axis=0)
        if training:
            mean = np.mean(X, axis=0)
            var = np.var(X, axis=0)
            self.running_mean = self.momentum * self.running_mean + (1 - self.momentum) * mean
            self.running_var = self.momentum * self.running_var + (1 - self.momentum) * var
        else:
            mean = self.running_mean
            var = self.running_var
        self.X_centered = X - mean
        self.stddev_inv = 1 / np.sqrt(var + self.eps)
        X_norm = self.X_centered * self.stddev_inv
        return self.gamma * X_norm + self.beta

    def backward_pass(self, accum_grad):
        X_norm = self.X_centered * self.stddev_inv
        grad_gamma = np.sum(accum_grad * X_norm, axis=0)
        grad_beta = np.sum(accum_grad, axis=0)
        batch_size = accum_grad.shape[0]
        accum_grad = (
            (1 / batch_size)
            * self.gamma
            * self.stddev_inv
            * (
                batch_size * accum_grad
                - np.sum(accum_grad, axis=0)
                - self.X_centered * self.stddev_inv**2 * np.sum(accum_grad * self.X_centered, axis=0)
            )
        )
        return accum_grad, grad_gamma, grad_beta


@pytest.mark.parametrize(
    ("shape", "axis"), [((5,), -1), ((3, 4, 2), (1, 2, 3))], ids=["vector", "feature map"]
)
@pytest.mark.parametrize("momentum", [0.99, 0.5])
def test_per_feature_normalization_is_that_of_the_post(shape, axis, momentum):
    old = PerFeature(shape, momentum)
    bn = built(shape, axis=axis, epsilon=0.01, momentum=momentum, running_variance="biased")
    old.gamma, old.beta = bn.gamma.value.copy(), bn.beta.value.copy()
    close = {"rtol": 1e-12, "atol": 1e-12}
    for seed in range(3):
        x, dy = 2 * normal(7, *shape, seed=seed) - 1, normal(7, *shape, seed=10 + seed)
        if seed == 0:  # there the first batch is what the running statistics begin with, too
            bn.running_mean.assign(x.mean(axis=0))
            bn.running_var.assign(x.var(axis=0))
        y, saved = bn.forward(x, TRAINING)
        np.testing.assert_allclose(y, old.forward_pass(x), **close)
        bn.gamma.zero_grad()
        bn.beta.zero_grad()
        dx, dgamma, dbeta = old.backward_pass(dy)
        np.testing.assert_allclose(bn.backward(dy, saved, TRAINING), dx, **close)
        np.testing.assert_allclose(bn.gamma.grad, dgamma, **close)
        np.testing.assert_allclose(bn.beta.grad, dbeta, **close)
        bn.commit(saved)
        np.testing.assert_allclose(bn.running_mean.value, old.running_mean, **close)
        np.testing.assert_allclose(bn.running_var.value, old.running_var, **close)
    x = normal(7, *shape, seed=20)
    np.testing.assert_allclose(bn.forward(x, Run())[0], old.forward_pass(x, training=False), **close)


# --- in a network -------------------------------------------------------------------------------------


def test_bias_before_a_normalization_gets_no_gradient():
    """Which is why it is worth leaving out; and the check must not be confused by a gradient of zero."""
    model = hg.Sequential(
        [layers.Conv2D(3, 3), BatchNormalization(), layers.ReLU(), layers.Flatten(), layers.Dense(2)],
        input_shape=(5, 4, 2),
    )
    x = normal(6, 5, 4, 2)
    for method, training in itertools.product(("complex", "central"), (True, False)):
        assert hg.testing.gradcheck(model, x, method=method, training=training).ok
    copied = copy.deepcopy(model)
    y, trace = copied.forward(x, TRAINING)
    copied.backward(normal(*y.shape, dtype=np.float32), trace, TRAINING)
    bias, weight = (copied.parameters()[f"conv2d.{n}"].grad for n in ("bias", "weight"))
    assert np.abs(bias).max() < 1e-5 * np.abs(weight).max()
