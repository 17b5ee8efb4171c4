"""Accuracy follows the loss: what an output says depends on what it is trained as."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses
from handgrad.data import ArrayDataset
from handgrad.errors import ArgumentError, ShapeError
from handgrad.train import (
    Accuracy,
    BinaryAccuracy,
    CategoricalAccuracy,
    MeanAbsoluteError,
    TopKAccuracy,
    accuracy_for,
    evaluate,
)
from handgrad.train.metrics import metrics_for

BCE, CE, MSE = losses.BinaryCrossEntropy(), losses.CrossEntropy(), losses.MeanSquaredError()


@dataclass(frozen=True)
class Own(losses.Loss):
    """A loss that says nothing of what it takes outputs for."""

    def check(self, z_shape, y):
        pass

    def compute(self, z, y, kernels):
        return np.zeros(()), np.zeros_like(z)


def identity(k):
    """Return a model of k inputs whose outputs they are."""
    model = hg.Sequential([layers.Dense(k, use_bias=False)], input_shape=(k,))
    model["dense"].weight.assign(np.eye(k, dtype=np.float32))
    return model


class Unlabelled:
    """A data set whose labels are known by batches alone."""

    def __init__(self, x, y):
        self.data = ArrayDataset(x, y)
        self.shape = self.data.shape

    def __len__(self):
        return len(self.data)

    def batch(self, indices):
        return self.data.batch(indices)


Z = np.array([[8, 9, -9], [9, -9, -9]], np.float32)
LABELS = np.array([[1, 1, 0], [1, 1, 1]])


@pytest.mark.parametrize("kind", [lambda x, y: (x, y), lambda x, y: (Unlabelled(x, y), None)])
@pytest.mark.parametrize("metric", ["accuracy", Accuracy(), BinaryAccuracy()])
def test_each_label_counts_with_binary_cross_entropy(metric, kind):
    trainer = hg.Trainer(identity(3), "binary_cross_entropy", hg.optim.SGD(0.0), [metric])
    data = kind(Z, LABELS)
    assert trainer.evaluate(*data)["accuracy"] == pytest.approx((1 + 1 / 3) / 2)
    history = trainer.fit(*data, validation=data[0] if data[1] is None else data)
    assert history["accuracy"] == history["val_accuracy"] == [pytest.approx(2 / 3)]
    assert evaluate(identity(3), BCE, {"accuracy": Accuracy()}, *data)["accuracy"] == pytest.approx(2 / 3)


def test_labels_of_a_map_count_one_by_one():
    z, y = np.full((2, 2, 2, 1), -1.0), np.zeros((2, 2, 2, 1))
    y[0, 0, 0, 0] = 1
    np.testing.assert_array_equal(BinaryAccuracy()(z, y), [0.75, 1])
    np.testing.assert_array_equal(BinaryAccuracy()(z, y[..., 0]), [0.75, 1])


def test_a_label_that_is_a_probability_says_yes_above_one_half():
    assert BinaryAccuracy()(np.array([[2.0, -2.0]]), np.array([[0.9, 0.1]])).tolist() == [1]
    assert BinaryAccuracy(0.5)(np.array([[0.4, np.nan]]), np.array([[0, 0]])).tolist() == [0.5]


def test_the_class_counts_with_cross_entropy():
    trainer = hg.Trainer(identity(3), "cross_entropy", metrics="accuracy")
    assert trainer.evaluate(Z, [1, 1])["accuracy"] == 0.5
    assert trainer.evaluate(Z, np.eye(3)[[1, 0]])["accuracy"] == 1
    assert trainer.evaluate(Z, [[0.4, 0.6, 0], [0, 0.5, 0.5]])["accuracy"] == 0.5


CASES = {
    "one-hot": (MSE, (3,), np.eye(3), CategoricalAccuracy()),
    "smoothed one-hot": (MSE, (3,), 0.9 * np.eye(3) + 0.1 / 3, CategoricalAccuracy()),
    "several labels": (MSE, (3,), LABELS, BinaryAccuracy(0.5)),
    "one label": (MSE, (1,), np.array([0, 1]), BinaryAccuracy(0.5)),
    "one label in a column": (MSE, (), np.array([[0.0], [1.0]]), BinaryAccuracy(0.5)),
    "a label of one sign": (MSE, (1,), np.array([-1, 1, 1]), BinaryAccuracy(0.0)),
    "booleans": (MSE, (2,), np.array([[True, True]]), BinaryAccuracy(0.5)),
    "class numbers": (Own(), (3,), np.array([[2], [1]]), CategoricalAccuracy()),
    "class numbers of steps": (Own(), (2, 3), np.array([[2, 1]]), CategoricalAccuracy()),
    "one-hot, own loss": (Own(), (3,), np.eye(3), CategoricalAccuracy()),
    "one label, own loss": (Own(), (1,), np.array([-1, 1]), BinaryAccuracy(0.0)),
}


@pytest.mark.parametrize("case", CASES)
def test_with_other_losses_the_labels_decide(case):
    loss, output_shape, labels, metric = CASES[case]
    assert accuracy_for(loss, output_shape) is None
    assert accuracy_for(loss, output_shape, labels) == metric


NEITHER = {
    "targets of one output": (MSE, (1,), np.array([0.5, 2.0])),
    "whole targets": (MSE, (1,), np.array([3, 4])),
    "targets": (MSE, (3,), np.array([[0.5, 2.0, 1.0]])),
    "labels with a loss that has no threshold": (Own(), (3,), LABELS),
    "targets of another shape": (MSE, (3,), np.array([1.5, 2.5])),
}


@pytest.mark.parametrize("case", NEITHER)
def test_neither_classes_nor_labels_have_no_accuracy(case):
    loss, output_shape, y = NEITHER[case]
    with pytest.raises(ArgumentError) as error:
        accuracy_for(loss, output_shape, y)
    assert str(error.value) == (
        f"metric accuracy: expected labels of classes, or labels 0 and 1, for outputs {output_shape} "
        f"of {loss.where}, got {y.dtype} labels of shape {y.shape}; "
        'measure "mean_absolute_error", or name the accuracy you mean: CategoricalAccuracy(), '
        "BinaryAccuracy(threshold)"
    )


@pytest.mark.parametrize("kind", [lambda x, y: (x, y), lambda x, y: (Unlabelled(x, y), None)])
def test_a_fit_of_numbers_with_accuracy_is_refused_before_the_first_step(kind):
    x, y = np.zeros((6, 3), np.float32), np.linspace(0, 1, 18, dtype=np.float32).reshape(6, 3) + 1
    trainer = hg.Trainer(identity(3), "mean_squared_error", "adam", "accuracy")
    with pytest.raises(ArgumentError, match="metric accuracy: expected labels of classes"):
        trainer.fit(*kind(x, y), batch_size=2)
    np.testing.assert_array_equal(trainer.model["dense"].weight.value, np.eye(3))
    assert (trainer.optimizer.iterations, trainer.progress.step) == (0, 0)
    with pytest.raises(ArgumentError, match="metric accuracy: expected labels of classes"):
        trainer.evaluate(*kind(x, y))


def test_top_k_needs_classes():
    for loss, model in (("binary_cross_entropy", identity(3)), ("mean_squared_error", identity(1))):
        with pytest.raises(ArgumentError) as error:
            hg.Trainer(model, loss, metrics="top5_accuracy")
        assert str(error.value) == (
            f"metric top5_accuracy: expected outputs of which the largest is the class, got outputs of shape "
            f'{model.output_shape} with {losses.get(loss).where}; measure "accuracy"'
        )


SHAPES = {
    "class numbers as distances": (
        MeanAbsoluteError(),
        (3,),
        "labels of the outputs' shape (6, 3), got (6,)",
    ),
    "other targets": (BinaryAccuracy(), (3,), "labels of the outputs' shape (6, 3), got (6,)"),
    "a row of maps": (
        TopKAccuracy(2),
        (2, 3),
        "class numbers of shape (6, 2), or one-hot labels of (6, 2, 3), got (6,)",
    ),
    "a class for several rows": (
        CategoricalAccuracy(),
        (2, 3),
        "class numbers of shape (6, 2), or one-hot labels of (6, 2, 3), got (6,)",
    ),
}


@pytest.mark.parametrize("case", SHAPES)
def test_labels_of_another_shape_are_not_broadcast(case):
    metric, output_shape, text = SHAPES[case]
    y, message = np.arange(6) % 3, f"metric {metric.name}: expected {text}"
    for measure in (
        lambda: metric(np.zeros((6, *output_shape)), y),
        lambda: metrics_for({metric.name: metric}, CE, output_shape, y),
    ):
        with pytest.raises(ShapeError) as error:
            measure()
        assert str(error.value) == message


def test_targets_are_not_put_into_another_order():
    z, y = np.zeros((2, 2, 3)), np.zeros((2, 3, 2))
    for metric in (MeanAbsoluteError(), BinaryAccuracy(), CategoricalAccuracy(), Accuracy()):
        with pytest.raises(ShapeError, match="got \\(2, 3, 2\\)"):
            metric(z, y)
