"""Losses: their values, and that the gradient is the gradient of the value."""

import numpy as np
import pytest

from handgrad.compat import mlfromscratch as m
from handgrad.errors import BuildError, DataError, ShapeError
from tests.compat.networks import network, normal, one_hot


def dense(units, *after, **arguments):
    return network(m.Dense(units, input_shape=(4,)), *after, **arguments)


def moved(clf, X, y):
    """Return by how much one step of gradient descent at learning rate 1 lowers the weight, and its loss."""
    W = clf.layers[0].W.copy()
    loss, accuracy = clf.train_on_batch(X, y)
    return W, W - clf.layers[0].W, loss, accuracy


def slope(loss, W, direction, step=1e-6):
    return (loss(W + step * direction) - loss(W - step * direction)) / (2 * step)


def softmax_loss(z, y):
    z = z - z.max(axis=-1, keepdims=True)
    return -(y * (z - np.log(np.exp(z).sum(axis=-1, keepdims=True)))).sum(axis=-1).mean()


def sigmoid_loss(z, y):
    p = 1 / (1 + np.exp(-z))
    return -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()


def square_loss(z, y):
    return 0.5 * ((y - z) ** 2).mean()


@pytest.mark.parametrize(
    ("after", "loss", "value", "y"),
    [
        (["softmax"], m.CrossEntropy, softmax_loss, one_hot(6, 3)),
        (["sigmoid"], m.CrossEntropy, sigmoid_loss, (normal(6, 3) > 0) * 1.0),
        ([], m.SquareLoss, square_loss, normal(6, 3, seed=5)),
    ],
)
def test_the_step_follows_the_gradient_of_the_mean_that_is_reported(after, loss, value, y):
    clf = dense(3, *map(m.Activation, after), loss=loss, optimizer=m.StochasticGradientDescent(1.0))
    X = normal(6, 4)
    W, gradient, reported, _ = moved(clf, X, y)
    assert reported == pytest.approx(value(X @ W, y), rel=1e-12)
    direction = normal(4, 3, seed=8)
    wanted = slope(lambda W: value(X @ W, y), W, direction)
    assert (gradient * direction).sum() == pytest.approx(wanted, rel=1e-7)


def test_twice_the_batch_of_the_same_samples_gives_the_same_step():
    X, y = normal(6, 4), normal(6, 3, seed=5)
    steps = []
    for n in (1, 2):
        clf = dense(3, loss=m.SquareLoss, optimizer=m.StochasticGradientDescent(1.0))
        steps.append(moved(clf, np.tile(X, (n, 1)), np.tile(y, (n, 1)))[1])
    np.testing.assert_allclose(*steps, rtol=1e-12)


@pytest.mark.parametrize("last", ["softmax", "sigmoid"])
def test_a_confident_wrong_sample_has_a_gradient_and_a_finite_loss(last):
    clf = dense(2, m.Activation(last), optimizer=m.StochasticGradientDescent(1.0))
    clf.layers[0].W = [[1e4, -1e4]] * 4
    _, gradient, loss, accuracy = moved(clf, np.ones((1, 4)), np.array([[0.0, 1.0]]))
    assert abs(gradient).min() >= 0.5
    assert 1e4 < loss < 1e6
    assert accuracy == 0


def test_sequences_are_averaged_over_steps():
    X, y = normal(5, 6, 3), m.to_categorical(np.arange(30) % 3, 3).reshape(5, 6, 3)
    clf = network(m.RNN(4, input_shape=(6, 3)), m.Activation("softmax"))
    loss, accuracy = clf.test_on_batch(X, y)
    p = clf.predict(X)
    np.testing.assert_allclose(p.sum(axis=-1), 1, rtol=1e-12)
    assert loss == pytest.approx(-(y * np.log(p)).sum(axis=-1).mean(), rel=1e-12)
    assert accuracy == pytest.approx((p.argmax(axis=-1) == y.argmax(axis=-1)).mean())
    assert clf.train_on_batch(X, y) == pytest.approx((loss, accuracy))


def test_a_row_may_mark_several_classes_or_none():
    X, y = normal(3, 4), np.array([[1.0, 1, 0], [0, 0, 0], [0, 0, 1]])
    clf = dense(3, m.Activation("softmax"))
    p = clf.predict(X)
    assert clf.test_on_batch(X, y)[0] == pytest.approx(-(y * np.log(p)).sum() / 3, rel=1e-12)


def test_class_numbers_will_do_as_labels():
    X, y = normal(6, 4), one_hot(6, 3)
    clf = dense(3, m.Activation("softmax"))
    assert clf.test_on_batch(X, y.argmax(axis=1)) == clf.test_on_batch(X, y)


def test_accuracy_is_the_share_of_right_samples_and_nothing_with_square_loss():
    X = normal(8, 4)
    clf = dense(3, m.Activation("softmax"))
    right = clf.predict(X).argmax(axis=1)
    y = m.to_categorical(np.where(np.arange(8) < 6, right, (right + 1) % 3), 3)
    assert clf.test_on_batch(X, y)[1] == 0.75
    assert clf.train_on_batch(X, y)[1] == 0.75
    one = dense(1, m.Activation("sigmoid"))
    wanted = (one.predict(X) > 0.5) * 1.0
    assert one.test_on_batch(X, wanted)[1] == 1
    assert dense(3, loss=m.SquareLoss).test_on_batch(X, normal(8, 3))[1] == 0


def test_images_as_targets_keep_their_order():
    X, y = normal(4, 2, 5, 6), normal(4, 3, 5, 6, seed=1)
    clf = network(m.Conv2D(3, (3, 3), input_shape=(2, 5, 6)), loss=m.SquareLoss())
    assert clf.test_on_batch(X, y)[0] == pytest.approx(square_loss(clf.predict(X), y), rel=1e-12)


def test_cross_entropy_asks_for_probabilities_but_only_to_train():
    clf = dense(3, m.Activation("relu"))
    assert clf.predict(normal(2, 4)).shape == (2, 3)
    with pytest.raises(BuildError) as caught:
        clf.train_on_batch(normal(2, 4), one_hot(2, 3))
    assert str(caught.value) == (
        "CrossEntropy: expected a network that ends with Activation('softmax') or Activation('sigmoid'), got "
        "Activation('relu'); its outputs are no probabilities: add one, or use SquareLoss"
    )
    with pytest.raises(BuildError, match="got one without activation at its end"):
        dense(3).test_on_batch(normal(2, 4), one_hot(2, 3))


MISTAKES = [
    (
        np.zeros((2, 5)),
        ShapeError,
        "CrossEntropy: expected one-hot labels of the outputs' shape (2, 3), got (2, 5); "
        "to_categorical(y, n_col) makes them of class numbers",
    ),
    (
        np.array([[0.0, -1, 2], [1, 0, 0]]),
        DataError,
        "CrossEntropy: expected finite labels of at least 0, got others",
    ),
    (np.full((2, 3), np.nan), DataError, "CrossEntropy: expected finite labels of at least 0, got others"),
]


@pytest.mark.parametrize(("y", "kind", "message"), MISTAKES)
def test_labels_that_do_not_fit(y, kind, message):
    clf = dense(3, m.Activation("softmax"))
    W = clf.layers[0].W.copy()
    with pytest.raises(kind) as caught:
        clf.fit(normal(2, 4), y, n_epochs=1, batch_size=2)
    assert str(caught.value) == message
    np.testing.assert_array_equal(clf.layers[0].W, W)


def test_class_numbers_that_do_not_fit():
    with pytest.raises(DataError, match=r"^CrossEntropy: expected labels in 0\.\.2, got 3"):
        dense(3, m.Activation("softmax")).test_on_batch(normal(2, 4), np.array([1, 3]))


def test_square_loss_names_itself():
    with pytest.raises(ShapeError, match=r"^SquareLoss: expected labels of the outputs' shape"):
        dense(3, loss=m.SquareLoss).train_on_batch(normal(2, 4), normal(2, 5))
