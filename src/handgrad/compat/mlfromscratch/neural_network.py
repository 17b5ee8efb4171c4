"""The network: a list of layers that is trained."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import Any

import numpy as np

from handgrad.compat.mlfromscratch.layer import Layer, chain
from handgrad.compat.mlfromscratch.layers import Activation
from handgrad.compat.mlfromscratch.loss_functions import CrossEntropy, Loss
from handgrad.compat.mlfromscratch.optimizers import Optimizer
from handgrad.errors import ArgumentError, BuildError
from handgrad.graph import Graph
from handgrad.layers import Init
from handgrad.rng import Stream
from handgrad.train import Accuracy, Progress, Trainer
from handgrad.typing import Array, DTypeLike, is_integer


class NeuralNetwork:
    """A chain of layers, trained by one optimizer.

    Parameters
    ----------
    optimizer : Optimizer
        Such as ``Adam()``; several networks may be given the same one.
    loss : Loss
        ``CrossEntropy`` or ``SquareLoss``, as a class or an object.
    validation_data : (X, y), optional
        Is evaluated after every epoch of `fit`.

    Attributes
    ----------
    layers : list of Layer
        May be changed; layers that are initialized may stand in several networks.
    errors : dict of list
        ``"training"`` and ``"validation"``: the losses of all epochs of `fit`.
    seed : int, default 0
        Of initial values, order of samples and dropout; set it before the first `add`. Two networks of one
        seed begin alike.
    dtype : dtype, default float32
        Of parameters and of what is computed; set it before the first `add`.

    Notes
    -----
    Arrays have channels first: images are (n, channels, height, width). Any numbers will do as inputs.

    `fit` takes the samples in a new order in every epoch, and evaluates the validation data in batches, in
    inference mode. A last batch of one sample, by which no batch normalization can be trained, is left out;
    the order decides which sample that is.

    Examples
    --------
    >>> from handgrad.compat.mlfromscratch import Activation, Adam, CrossEntropy, Dense, to_categorical
    >>> X = Stream((1,)).normal((200, 2))
    >>> y = to_categorical((X[:, 0] * X[:, 1] > 0).astype(int))
    >>> clf = NeuralNetwork(Adam(0.01), CrossEntropy)
    >>> clf.add(Dense(16, input_shape=(2,)))
    >>> clf.add(Activation("relu"))
    >>> clf.add(Dense(2))
    >>> clf.add(Activation("softmax"))
    >>> clf.summary("Quadrants")
    Quadrants
    =========
    Input Shape: (2,)
    <BLANKLINE>
    Layer Type            Parameters  Output Shape
    ----------------------------------------------
    Dense                         48  (16,)
    Activation (ReLU)              0  (16,)
    Dense                         34  (2,)
    Activation (Softmax)           0  (2,)
    ----------------------------------------------
    Total Parameters: 82
    >>> training, validation = clf.fit(X, y, n_epochs=30, batch_size=20)
    >>> loss, accuracy = clf.test_on_batch(X, y)
    >>> accuracy > 0.9
    True
    """

    seed: int = 0
    dtype: DTypeLike = np.float32

    def __init__(self, optimizer: Optimizer, loss: Any, validation_data: Any = None) -> None:
        loss = loss() if isinstance(loss, type) else loss
        if not isinstance(optimizer, Optimizer):
            raise _wrong(
                "optimizer", "an optimizer of handgrad.compat.mlfromscratch, such as Adam()", optimizer
            )
        if not isinstance(loss, Loss):
            raise _wrong("loss", "CrossEntropy or SquareLoss of handgrad.compat.mlfromscratch", loss)
        self.optimizer = optimizer
        self.loss_function = loss
        self.validation_data = validation_data
        self.layers: list[Layer] = []
        self.errors: dict[str, list[float]] = {"training": [], "validation": []}
        self._models: _Models | None = None

    def add(self, layer: Layer) -> None:
        """Add a layer after the others; its input shape follows from them, and its parameters are created.

        Raises
        ------
        BuildError
            If it is the first one and has no `input_shape`.
        ShapeError, ArgumentError
            If it cannot take what the layer before gives, or its arguments mean nothing; it is not added.
        """
        if not isinstance(layer, Layer):
            do = f"create it: {layer.__name__}(...)" if isinstance(layer, type) else ""
            raise BuildError("NeuralNetwork add", expected="a layer", got=repr(layer), do=do)
        if self.layers:
            layer.set_input_shape(self.layers[-1].output_shape())
        same = sum(type(other) is type(layer) for other in self.layers)
        layer.path = f"{layer.kind}_{same}" if same else layer.kind
        rng = Stream((self.seed,)).child("init", len(self.layers))
        layer.initialize(self.optimizer, init=Init(rng, self.dtype))
        self.layers.append(layer)

    def set_trainable(self, trainable: bool) -> None:
        """Freeze or unfreeze every layer; frozen ones still pass gradients on."""
        for layer in self.layers:
            layer.trainable = trainable

    def fit(self, X: Any, y: Any, n_epochs: int, batch_size: int) -> tuple[list[float], list[float]]:
        """Train for some epochs.

        Parameters
        ----------
        X : (n, ...) array
            Inputs, channels first.
        y : array
            One-hot labels, or targets of the outputs' shape.
        n_epochs : int
            How often to go through all of them.
        batch_size : int
            Samples in a step.

        Returns
        -------
        training, validation : list of float
            The mean loss of every epoch of this and earlier fits, on training and validation data; the second
            list is empty without validation data.

        Raises
        ------
        BuildError, ShapeError, DataError, ArgumentError
            If network, data or arguments do not fit; nothing has been changed then.
        NonFiniteError
            If a loss or gradient is NaN or infinite; parameters are as before that step.
        """
        trainer, X = self._trainer(), self._inputs(X)
        done = trainer.history.epochs
        validation = None
        if self.validation_data is not None:
            inputs, labels = self.validation_data
            validation = self._inputs(inputs), labels
        try:
            trainer.fit(
                X,
                y,
                epochs=n_epochs,
                batch_size=batch_size,
                validation=validation,
                drop_last=is_integer(batch_size) and 1 < batch_size < len(X) and len(X) % batch_size == 1,
                callbacks=[Progress()] if sys.stderr.isatty() else [],
            )
        finally:
            self.errors["training"] += trainer.history.get("loss", [])[done:]
            if validation is not None:
                self.errors["validation"] += trainer.history.get("val_loss", [])[done:]
        return self.errors["training"], self.errors["validation"]

    def train_on_batch(self, X: Any, y: Any) -> tuple[float, float]:
        """Do one step on one batch; return its loss and accuracy, as they were before the step.

        Parameters
        ----------
        X, y : arrays
            As in `fit`.
        """
        history = self._trainer().fit(self._inputs(X), y, epochs=1, batch_size=max(len(X), 1), shuffle=False)
        return history["loss"][-1], history.get("accuracy", [0.0])[-1]

    def test_on_batch(self, X: Any, y: Any) -> tuple[float, float]:
        """Return loss and accuracy in inference mode; the network is left as it is.

        Parameters
        ----------
        X, y : arrays
            As in `fit`.

        Returns
        -------
        loss : float
            The mean loss.
        accuracy : float
            The share of samples whose largest output is that of the label (with one output: that are on the
            right side of 0.5); 0 with SquareLoss, for which it means nothing.
        """
        results = self._trainer().evaluate(self._inputs(X), y)
        return results["loss"], results.get("accuracy", 0.0)

    def predict(self, X: Any) -> Array:
        """Return the outputs in inference mode: after a softmax, probabilities.

        Parameters
        ----------
        X : (n, ...) array
            Inputs, channels first.
        """
        return self._current().whole.predict(self._inputs(X))

    def summary(self, name: str = "Model Summary") -> None:
        """Print a table of the layers, their parameters and output shapes."""
        self._current()
        rows = [("Layer Type", "Parameters", "Output Shape")]
        rows += [(i.layer_name(), f"{i.parameters():,}", str(i.output_shape())) for i in self.layers]
        first, second, third = (max(map(len, column)) for column in zip(*rows, strict=True))
        head, *body = [f"{a:<{first}}  {b:>{second}}  {c:<{third}}".rstrip() for a, b, c in rows]
        rule = "-" * (first + second + third + 4)
        print(name, "=" * len(name), f"Input Shape: {self.layers[0].input_shape}", "", sep="\n")
        print(head, rule, *body, rule, sep="\n")
        print(f"Total Parameters: {sum(layer.parameters() for layer in self.layers):,}")

    def _inputs(self, X: Any) -> Array:
        return np.asarray(X, self.dtype)

    def _current(self) -> _Models:
        """Return the models of the layers as they are now."""
        if not self.layers:
            raise BuildError("NeuralNetwork", expected="layers", got="none", do="add some")
        parts = tuple(part for layer in self.layers for part in layer.parts)
        if self._models is None or self._models.parts != parts:
            self._models = _Models(parts, chain(self.layers, self.dtype))
        return self._models

    def _trainer(self) -> Trainer:
        models = self._current()
        if models.trainer is None:
            last = self.layers[-1]
            name = last.activation_name if isinstance(last, Activation) else None
            loss, fused = self.loss_function.after(name)
            model = chain(self.layers[:-1], self.dtype, self.layers[0].input_shape) if fused else models.whole
            metrics = [accuracy] if isinstance(self.loss_function, CrossEntropy) else []
            models.trainer = Trainer(model, loss, self.optimizer.rule(), metrics, seed=self.seed)
        return models.trainer


@dataclass
class _Models:
    """What a list of layers is run as.

    Attributes
    ----------
    parts : tuple
        The layers of handgrad that they are made of.
    whole : Graph
        All of them, for predictions.
    trainer : Trainer or None
        Trains them; without the last activation if the loss takes what that is given. Made when first
        needed, as networks that are only run need not fit their loss.
    """

    parts: tuple[Any, ...]
    whole: Graph
    trainer: Trainer | None = None


def accuracy(z: Array, y: Array) -> Array:
    """Return for every sample whether it is right, or which share of its steps."""
    shares: Array = Accuracy()(z, y).reshape(len(z), -1).mean(axis=1)
    return shares


def _wrong(what: str, expected: str, got: object) -> ArgumentError:
    return ArgumentError(f"NeuralNetwork {what}", expected=expected, got=repr(got))
