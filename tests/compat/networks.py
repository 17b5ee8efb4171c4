"""Small networks and data that several tests use."""

import numpy as np

from handgrad.compat import mlfromscratch as m
from handgrad.rng import Stream


def normal(*shape, seed=0):
    return Stream((seed,)).normal(shape, dtype=np.float64)


def one_hot(n, classes, seed=0):
    return m.to_categorical(Stream((seed,)).integers(0, classes, (n,)), classes)


def network(*layers, loss=m.CrossEntropy, optimizer=None, seed=0, dtype=np.float64, **arguments):
    """Return a network of the layers, in float64."""
    clf = m.NeuralNetwork(optimizer or m.Adam(), loss, **arguments)
    clf.seed, clf.dtype = seed, dtype
    for layer in layers:
        clf.add(layer)
    return clf


def alone(layer, shape, optimizer=None):
    """Return a layer made ready for inputs of a shape, in float64."""
    layer.set_input_shape(shape)
    layer.initialize(optimizer or m.StochasticGradientDescent(1.0))
    return layer


def convnet(**arguments):
    return network(
        m.Conv2D(4, (3, 3), input_shape=(2, 6, 5)),
        m.Activation("relu"),
        m.BatchNormalization(),
        m.MaxPooling2D(stride=2),
        m.Flatten(),
        m.Dense(3),
        m.Activation("softmax"),
        **arguments,
    )


def images(n=20):
    return normal(n, 2, 6, 5), one_hot(n, 3)
