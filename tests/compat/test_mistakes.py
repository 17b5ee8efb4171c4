"""Mistakes in a program: one clear error each, and nothing changed."""

import numpy as np
import pytest

from handgrad import optim
from handgrad.compat import mlfromscratch as m
from handgrad.errors import ArgumentError, BuildError, DataError, ShapeError
from tests.compat.networks import convnet, images, network, normal


def first_layer_without_shape():
    network(m.Dense(3))


def not_a_layer():
    network(m.Dense)


def twice_flattened():
    network(m.Flatten(input_shape=(1, 4, 4)), m.Dense(3), m.Dense(2), m.Conv2D(2, (3, 3)))


MESSAGES = [
    (
        first_layer_without_shape,
        BuildError,
        "dense (Dense): expected input_shape, without the batch axis, got none; give it to the first layer: "
        "input_shape=(channels, height, width) or (features,)",
    ),
    (
        not_a_layer,
        BuildError,
        "NeuralNetwork add: expected a layer, got <class 'handgrad.compat.mlfromscratch.layers.Dense'>; "
        "create it: Dense(...)",
    ),
    (
        twice_flattened,
        ShapeError,
        "conv2d (Conv2D): expected images (channels, height, width), got shape (2,)",
    ),
    (
        lambda: network().predict(normal(2, 3)),
        BuildError,
        "NeuralNetwork: expected layers, got none; add some",
    ),
    (
        lambda: network(optimizer=optim.Adam()),
        ArgumentError,
        "NeuralNetwork optimizer: expected an optimizer of handgrad.compat.mlfromscratch, such as Adam(), "
        f"got {optim.Adam()!r}",
    ),
    (
        lambda: network(loss="mse"),
        ArgumentError,
        "NeuralNetwork loss: expected CrossEntropy or SquareLoss of handgrad.compat.mlfromscratch, got 'mse'",
    ),
    (
        lambda: convnet().predict(normal(3, 6, 5, 2)),
        ShapeError,
        "Graph: expected a batch of shape (n, 2, 6, 5), got shape (3, 6, 5, 2)",
    ),
]


@pytest.mark.parametrize(("mistake", "kind", "message"), MESSAGES)
def test_messages(mistake, kind, message):
    with pytest.raises(kind) as caught:
        mistake()
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("mistake", "kind"),
    [
        (lambda clf: clf.fit(*images(), n_epochs=1, batch_size=0), ArgumentError),
        (lambda clf: clf.fit(*images(), n_epochs=-1, batch_size=4), ArgumentError),
        (lambda clf: clf.fit(images()[0], images(7)[1], n_epochs=1, batch_size=4), DataError),
        (lambda clf: clf.train_on_batch(*images(0)), DataError),
        (lambda clf: clf.test_on_batch(*images(0)), DataError),
    ],
)
def test_mistakes_change_nothing(mistake, kind):
    clf = convnet()
    W = clf.layers[0].W.copy()
    with pytest.raises(kind):
        mistake(clf)
    np.testing.assert_array_equal(clf.layers[0].W, W)
    assert clf.errors == {"training": [], "validation": []}


def test_a_layer_that_does_not_fit_is_not_added():
    clf = network(m.Dense(3, input_shape=(4,)))
    with pytest.raises(ShapeError):
        clf.add(m.Conv2D(2, (3, 3)))
    assert len(clf.layers) == 1
    clf.add(m.Dense(2))
    assert clf.predict(normal(1, 4)).shape == (1, 2)
