"""The convolutional network of ML-From-Scratch, on handgrad: only the import lines are others.

Trains on 60 % of the embedded digits and prints the accuracy on the other 40 %, and how long it took::

    python examples/ml_from_scratch_convnet.py
"""

import time

import numpy as np

from handgrad import data
from handgrad.compat.mlfromscratch import (
    Activation,
    Adam,
    BatchNormalization,
    Conv2D,
    CrossEntropy,
    Dense,
    Dropout,
    Flatten,
    NeuralNetwork,
    to_categorical,
)


def main(seed: int = 0, n_epochs: int = 50) -> float:
    """Train and test, with data and network of a seed; return the accuracy."""
    digits = data.digits(test_size=719, seed=seed)
    X_train = digits.x_train.transpose(0, 3, 1, 2)  # (samples, channels, height, width)
    X_test = digits.x_test.transpose(0, 3, 1, 2)
    y_train, y_test = to_categorical(digits.y_train), to_categorical(digits.y_test)

    clf = NeuralNetwork(optimizer=Adam(), loss=CrossEntropy, validation_data=(X_test, y_test))
    clf.seed = seed
    clf.add(Conv2D(n_filters=16, filter_shape=(3, 3), input_shape=(1, 8, 8), padding="same"))
    clf.add(Activation("relu"))
    clf.add(Dropout(0.25))
    clf.add(BatchNormalization())
    clf.add(Conv2D(n_filters=32, filter_shape=(3, 3), padding="same"))
    clf.add(Activation("relu"))
    clf.add(Dropout(0.25))
    clf.add(BatchNormalization())
    clf.add(Flatten())
    clf.add(Dense(256))
    clf.add(Activation("relu"))
    clf.add(Dropout(0.4))
    clf.add(BatchNormalization())
    clf.add(Dense(10))
    clf.add(Activation("softmax"))
    clf.summary(name="ConvNet")

    begin = time.perf_counter()
    training, validation = clf.fit(X_train, y_train, n_epochs=n_epochs, batch_size=256)
    seconds = time.perf_counter() - begin

    _, accuracy = clf.test_on_batch(X_test, y_test)
    agree = np.mean(np.argmax(clf.predict(X_test), axis=1) == np.argmax(y_test, axis=1))
    assert accuracy == agree, "what test_on_batch says is what predict gives"
    print(f"Loss: {training[-1]:.4f} in training, {validation[-1]:.4f} in validation")
    print(f"Accuracy: {accuracy:.4f}, {n_epochs} epochs in {seconds:.1f} s")
    return accuracy


if __name__ == "__main__":
    main()
