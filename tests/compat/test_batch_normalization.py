"""Per-feature batch normalization is exactly that of the formulas it was written from."""

import numpy as np
import pytest

from handgrad import layers
from handgrad.compat import mlfromscratch as m
from handgrad.compat.mlfromscratch import parts
from handgrad.errors import ShapeError
from handgrad.layers import Init, Run
from tests.compat.networks import alone, network, normal, one_hot

EPS = 0.01
SHAPES = [(7,), (3, 5, 4), (6, 2)]


class Formulas:
    """What is normalized by, and the gradients, written out."""

    def __init__(self, shape, momentum):
        self.gamma, self.beta = 1 + 0.3 * normal(*shape, seed=5), normal(*shape, seed=6)
        self.momentum, self.mean, self.var = momentum, None, None

    def forward(self, X):
        mean = X.sum(axis=0) / len(X)
        var = ((X - mean) ** 2).sum(axis=0) / len(X)
        first = self.mean is None
        self.mean = mean if first else self.momentum * self.mean + (1 - self.momentum) * mean
        self.var = var if first else self.momentum * self.var + (1 - self.momentum) * var
        self.centred, self.s = X - mean, (var + EPS) ** -0.5
        return self.gamma * self.centred * self.s + self.beta

    def backward(self, dy):
        n = len(dy)
        self.dgamma, self.dbeta = (dy * self.centred * self.s).sum(axis=0), dy.sum(axis=0)
        through_var = self.centred * self.s**2 * (dy * self.centred).sum(axis=0)
        return self.gamma * self.s / n * (n * dy - dy.sum(axis=0) - through_var)

    def infer(self, X):
        return self.gamma * (X - self.mean) / np.sqrt(self.var + EPS) + self.beta


@pytest.mark.parametrize("shape", SHAPES)
def test_forward_backward_running_statistics_and_inference_to_1e_12(shape):
    wanted = Formulas(shape, 0.9)
    layer = alone(m.BatchNormalization(momentum=0.9), shape)
    layer.gamma, layer.beta = wanted.gamma, wanted.beta
    for step in range(4):
        X, dy = 3 + 2 * normal(9, *shape, seed=step), normal(9, *shape, seed=50 + step)
        gamma, beta = wanted.gamma, wanted.beta
        np.testing.assert_allclose(layer.forward_pass(X), wanted.forward(X), rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer.backward_pass(dy), wanted.backward(dy), rtol=0, atol=1e-12)
        wanted.gamma, wanted.beta = gamma - wanted.dgamma, beta - wanted.dbeta  # a step of learning rate 1
        np.testing.assert_allclose(layer.gamma, wanted.gamma, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer.beta, wanted.beta, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer.running_mean, wanted.mean, rtol=0, atol=1e-12)
        np.testing.assert_allclose(layer.running_var, wanted.var, rtol=0, atol=1e-12)
    X = normal(5, *shape, seed=99)
    np.testing.assert_allclose(layer.forward_pass(X, training=False), wanted.infer(X), rtol=0, atol=1e-12)


def test_our_own_layer_with_these_settings_is_the_same():
    shape = (5, 4, 3)
    wanted = Formulas(shape, 0.99)
    bn = layers.BatchNormalization(axis=(1, 2, 3), epsilon=EPS, momentum=0.99, running_variance="biased")
    bn.build(shape, Init(dtype=np.float64))
    bn.gamma.assign(wanted.gamma)
    bn.beta.assign(wanted.beta)
    X, dy, run = 3 + normal(9, *shape), normal(9, *shape, seed=1), Run(training=True)
    y, saved = bn.forward(X, run)
    np.testing.assert_allclose(y, wanted.forward(X), rtol=0, atol=1e-12)
    np.testing.assert_allclose(bn.backward(dy, saved, run), wanted.backward(dy), rtol=0, atol=1e-12)
    np.testing.assert_allclose(bn.gamma.grad, wanted.dgamma, rtol=0, atol=1e-12)
    np.testing.assert_allclose(bn.beta.grad, wanted.dbeta, rtol=0, atol=1e-12)


def test_every_pixel_has_its_own_gamma_and_beta():
    layer = alone(m.BatchNormalization(), (2, 3, 4))
    assert layer.gamma.shape == layer.running_var.shape == (2, 3, 4)
    assert layer.parameters() == 48
    assert (layer.momentum, layer.eps) == (0.99, 0.01)


def test_frozen_it_takes_the_running_statistics_as_constants():
    layer = alone(m.BatchNormalization(), (4,))
    layer.forward_pass(normal(8, 4))
    layer.trainable = False
    mean, var = layer.running_mean.copy(), layer.running_var.copy()
    X, dy = 5 + normal(8, 4, seed=1), normal(8, 4, seed=2)
    np.testing.assert_allclose(layer.forward_pass(X), (X - mean) / np.sqrt(var + EPS), rtol=1e-13)
    np.testing.assert_allclose(layer.backward_pass(dy), dy / np.sqrt(var + EPS), rtol=1e-13)
    assert (layer.gamma == 1).all()
    assert (layer.running_mean == mean).all()


def test_frozen_before_any_training_it_has_no_statistics_yet():
    layer = m.BatchNormalization()
    layer.trainable = False
    alone(layer, (4,))
    with pytest.warns(UserWarning, match="running statistics"):
        layer.forward_pass(normal(8, 4))
    layer.trainable = True
    X = 5 + normal(8, 4)
    layer.forward_pass(X)
    np.testing.assert_allclose(layer.running_mean, X.mean(axis=0), rtol=1e-13)


def test_inference_moves_nothing_and_warns_before_there_are_statistics():
    clf = network(m.Dense(3, input_shape=(4,)), m.BatchNormalization(), loss=m.SquareLoss)
    with pytest.warns(UserWarning, match="the running statistics are still mean 0 and variance 1"):
        clf.predict(normal(5, 4))
    assert (clf.layers[1].running_mean == 0).all()
    clf.train_on_batch(normal(8, 4), normal(8, 3))
    before = clf.layers[1].running_mean.copy()
    clf.predict(normal(5, 4, seed=3))
    clf.test_on_batch(normal(5, 4, seed=3), normal(5, 3))
    assert (clf.layers[1].running_mean == before).all()


def test_one_sample_cannot_be_trained_on():
    clf = network(m.Dense(3, input_shape=(4,)), m.BatchNormalization(), m.Activation("softmax"))
    with pytest.raises(ShapeError) as caught:
        clf.train_on_batch(normal(1, 4), one_hot(1, 3))
    assert str(caught.value).startswith(
        "batch_normalization (BatchNormalization): expected at least 2 values"
    )


@pytest.mark.parametrize("n", [9, 13])
def test_a_rest_of_one_sample_is_left_out_of_the_epoch(n):
    clf = network(m.Dense(3, input_shape=(4,)), m.BatchNormalization(), m.Activation("softmax"))
    training, _ = clf.fit(normal(n, 4), one_hot(n, 3), n_epochs=2, batch_size=4)
    assert len(training) == 2


def test_the_first_batch_in_training_sets_the_running_statistics_but_an_empty_one_does_not():
    from handgrad.compat.mlfromscratch import parts

    bn = parts.BatchNormalization(axis=1, momentum=0.9, epsilon=EPS, running_variance="biased")
    bn.build((3,), Init(dtype=np.float64))
    run = Run(training=True)
    bn.commit(bn.forward(np.empty((0, 3)), run)[1])
    assert int(bn.updates.value) == 0
    X = normal(6, 3)
    bn.commit(bn.forward(X, run)[1])
    np.testing.assert_allclose(bn.running_var.value, X.var(axis=0), rtol=1e-13)
    assert int(bn.updates.value) == 1


def test_the_first_batch_does_not_take_the_place_of_statistics_from_elsewhere():
    layer = parts.BatchNormalization(momentum=0.5)
    layer.build((2,))
    layer.running_mean.assign([4.0, -2.0])
    x = normal(8, 2)
    _, saved = layer.forward(x, Run(training=True))
    layer.commit(saved)
    np.testing.assert_allclose(layer.running_mean.value, 0.5 * np.array([4.0, -2.0]) + 0.5 * x.mean(axis=0))
