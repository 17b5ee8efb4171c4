"""Every optimizer moves an array as its definition says, and several networks can share one."""

import copy

import numpy as np
import pytest

from handgrad.compat import mlfromscratch as m
from handgrad.errors import ShapeError
from tests.compat.networks import network, normal, one_hot


def sgd(gradients, lr, momentum):
    w, v = 0.0, 0.0
    for g in gradients:
        v = momentum * v + (1 - momentum) * g
        w = w - lr * v
        yield w


def nesterov(gradients, lr, momentum):
    # in shifted variables: w is the point ahead, where the gradient was taken
    w, v = 0.0, 0.0
    for g in gradients:
        v = momentum * v + lr * g
        w = w - momentum * v - lr * g
        yield w


def adagrad(gradients, lr):
    w, s = 0.0, 0.0
    for g in gradients:
        s = s + g**2
        w = w - lr * g / np.sqrt(s)
        yield w


def adadelta(gradients, rho, eps):
    w, v, u = 0.0, 0.0, 0.0
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        d = np.sqrt(u + eps) / np.sqrt(v + eps) * g
        u = rho * u + (1 - rho) * d**2
        w = w - d
        yield w


def rmsprop(gradients, lr, rho):
    w, v = 0.0, 0.0
    for g in gradients:
        v = rho * v + (1 - rho) * g**2
        w = w - lr * g / np.sqrt(v)
        yield w


def adam(gradients, lr, b1, b2):
    w, mean, square = 0.0, 0.0, 0.0
    for t, g in enumerate(gradients, 1):
        mean = b1 * mean + (1 - b1) * g
        square = b2 * square + (1 - b2) * g**2
        w = w - lr * (mean / (1 - b1**t)) / np.sqrt(square / (1 - b2**t))
        yield w


CASES = {
    "sgd": (m.StochasticGradientDescent(), sgd, (0.01, 0)),
    "sgd with momentum": (m.StochasticGradientDescent(0.1, 0.9), sgd, (0.1, 0.9)),
    "nesterov": (m.NesterovAcceleratedGradient(), nesterov, (0.001, 0.4)),
    "adagrad": (m.Adagrad(), adagrad, (0.01,)),
    "adadelta": (m.Adadelta(), adadelta, (0.95, 1e-6)),
    "rmsprop": (m.RMSprop(), rmsprop, (0.01, 0.9)),
    "adam": (m.Adam(), adam, (0.001, 0.9, 0.999)),
    "adam of a GAN": (m.Adam(learning_rate=0.0002, b1=0.5), adam, (0.0002, 0.5, 0.999)),
}


@pytest.mark.parametrize("case", CASES)
def test_steps(case):
    optimizer, definition, settings = CASES[case]
    gradients = 2 + 3 * normal(20, 6)
    w = np.zeros(6)
    for g, wanted in zip(gradients, definition(gradients, *settings), strict=True):
        before = w.copy()
        moved = optimizer.update(w, g)
        assert (w == before).all()
        w = moved
        np.testing.assert_allclose(w, wanted, rtol=1e-6, atol=1e-9)


def test_momentum_averages_gradients():
    optimizer, w = m.StochasticGradientDescent(learning_rate=1, momentum=0.9), np.zeros(1)
    steps = []
    for _ in range(200):
        moved = optimizer.update(w, [1.0])
        steps.append(float(w[0] - moved[0]))
        w = moved
    assert steps[0] == pytest.approx(0.1)
    assert steps[-1] == pytest.approx(1.0)


def test_adam_keeps_its_step_size_under_a_constant_gradient():
    optimizer, w = m.Adam(learning_rate=0.5), np.zeros(1)
    for _ in range(2000):
        moved = optimizer.update(w, [3.0])
        assert float(w[0] - moved[0]) == pytest.approx(0.5, rel=1e-6)
        w = moved


def test_nesterov_without_momentum_is_gradient_descent():
    np.testing.assert_allclose(m.NesterovAcceleratedGradient(0.5, 0).update([1.0], [1.0]), [0.5])


def test_a_copy_has_a_state_of_its_own():
    optimizer = m.Adagrad(1.0)
    other = copy.copy(optimizer)
    optimizer.update([0.0], [1.0])
    np.testing.assert_allclose(other.update([0.0], [1.0]), [-1.0])


def test_an_optimizer_is_for_arrays_of_one_shape():
    optimizer = m.Adam()
    optimizer.update(np.zeros(3), np.ones(3))
    with pytest.raises(ShapeError):
        optimizer.update(np.zeros(4), np.ones(4))


def test_networks_that_share_an_optimizer_have_states_of_their_own():
    X, y = normal(8, 4), one_hot(8, 3)

    def trained(optimizer, before):
        clf = network(m.Dense(3, input_shape=(4,)), m.Activation("softmax"), optimizer=optimizer)
        for other in before:
            other.train_on_batch(X, y)
        clf.train_on_batch(X, y)
        return clf.layers[0].W

    shared = m.Adam()
    busy = network(m.Dense(3, input_shape=(4,)), m.Activation("softmax"), optimizer=shared, seed=1)
    np.testing.assert_array_equal(trained(shared, [busy] * 5), trained(m.Adam(), []))
