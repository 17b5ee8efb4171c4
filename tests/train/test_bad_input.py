"""What does not fit is refused in one clear sentence, before anything is changed."""

from __future__ import annotations

import functools

import numpy as np
import pytest

import handgrad as hg
from handgrad import optim
from handgrad.data import ArrayDataset, ImageFolder, NpyDataset
from handgrad.errors import ArgumentError, DataError, HandgradError, ShapeError
from handgrad.train import Callback, EarlyStopping
from tests.train.parts import Recorder, assert_same, dense, everything, images, points

X, Y = points()
NO_LABELS = "expected a Dataset, or images with labels, got {} without labels; give y as well"

FITS = {
    "wrong shape": ((X[:, :3], Y), {}, "Sequential: expected a batch of shape (n, 4), got shape (12, 3)"),
    "no batch axis": (
        (X[0], Y[:4]),
        {},
        "Sequential: expected a batch of shape (n, 4), got shape (4,); add the batch axis with x[None]",
    ),
    "labels too large": (
        (X, Y + 5),
        {},
        "CrossEntropy: expected labels in 0..2, got 7; the model has 3 outputs",
    ),
    "labels below 0": (
        (X, Y - 1),
        {},
        "CrossEntropy: expected labels in 0..2, got -1; the model has 3 outputs",
    ),
    "labels that are no integers": (
        (X, Y + 0.5),
        {},
        "CrossEntropy: expected integer labels of shape (12,), got float64; convert them with y.astype(int)",
    ),
    "one-hot labels of other classes": (
        (X, np.eye(4)[Y]),
        {},
        "CrossEntropy: expected labels of shape (12,), or (12, 3) for one-hot labels or probabilities, "
        "got (12, 4); "
        "the model has 3 outputs",
    ),
    "too few labels": ((X, Y[:5]), {}, "data: expected a label for each of 12 images, got 5 labels"),
    "no labels": ((X,), {}, "data: " + NO_LABELS.format("ndarray")),
    "no samples": ((X[:0], Y[:0]), {}, "data: expected at least one image, got none"),
    "text": (("abc", Y), {}, "data: expected images as an array of numbers, got dtype <U3"),
    "labels beside a Dataset": (
        (ArrayDataset(X, Y), Y),
        {},
        "data: expected no labels beside the ArrayDataset, which has its own, got ndarray; leave y out",
    ),
    "epochs 0": ((X, Y), {"epochs": 0}, "fit epochs: expected an int, at least 1, got 0"),
    "epochs no int": ((X, Y), {"epochs": 2.0}, "fit epochs: expected an int, at least 1, got 2.0"),
    "initial epoch": (
        (X, Y),
        {"initial_epoch": -1},
        "fit initial_epoch: expected an int, at least 0, got -1",
    ),
    "initial epoch text": (
        (X, Y),
        {"initial_epoch": "1"},
        "fit initial_epoch: expected an int, at least 0, got '1'",
    ),
    "batch size": ((X, Y), {"batch_size": 0}, "batch_size: expected an int of at least 1, got 0"),
    "no full batch": (
        (X, Y),
        {"batch_size": 13, "drop_last": True},
        "drop_last: expected at least one full batch of 13, got 12 samples; use a smaller batch_size, or "
        "drop_last=False",
    ),
    "validation without labels": ((X, Y), {"validation": X}, "data: " + NO_LABELS.format("ndarray")),
    "validation of another shape": (
        (X, Y),
        {"validation": (X[:, :2], Y)},
        "Sequential: expected a batch of shape (n, 4), got shape (12, 2)",
    ),
    "validation of other labels": (
        (X, Y),
        {"validation": (X, Y + 1)},
        "CrossEntropy: expected labels in 0..2, got 3; the model has 3 outputs",
    ),
    "callback class": (
        (X, Y),
        {"callbacks": [EarlyStopping]},
        "fit callbacks: expected objects of a Callback class, got the class EarlyStopping; create it: "
        "EarlyStopping(...)",
    ),
    "no callback": ((X, Y), {"callbacks": 7}, "fit callbacks: expected objects of a Callback class, got 7"),
}


@pytest.mark.parametrize("case", FITS)
def test_fit_refuses(case):
    data, options, message = FITS[case]
    trainer = hg.Trainer(dense(), "cross_entropy", "adam")
    trainer.fit(X, Y)
    before, gradients = everything(trainer), [p.grad.copy() for p in trainer.model.parameters().values()]
    progress, recorder = repr(trainer.progress), Recorder()
    with pytest.raises(HandgradError) as error:
        trainer.fit(*data, **{"callbacks": [recorder], **options})
    assert str(error.value) == message
    assert_same(everything(trainer), before)
    assert repr(trainer.progress) == progress
    for p, gradient in zip(trainer.model.parameters().values(), gradients, strict=True):
        np.testing.assert_array_equal(p.grad, gradient)
    assert recorder.calls == []


def test_one_callback_alone_will_do():
    recorder = Recorder()
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=recorder)
    assert recorder.names()[-1] == "train_end"


def test_labels_in_a_file_are_checked_first(tmp_path):
    np.save(tmp_path / "x.npy", X)
    trainer, recorder = hg.Trainer(dense(), "cross_entropy"), Recorder()
    with pytest.raises(DataError) as error:
        trainer.fit(NpyDataset(tmp_path / "x.npy", Y + 1), batch_size=2, callbacks=[recorder])
    assert str(error.value) == "CrossEntropy: expected labels in 0..2, got 3; the model has 3 outputs"
    assert recorder.calls == []


def test_the_classes_of_a_folder_are_checked_first(tmp_path):
    from PIL import Image

    for label in range(4):
        (tmp_path / str(label)).mkdir()
        Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / str(label) / "0.png")
    model = hg.Sequential([hg.layers.Flatten(), hg.layers.Dense(3)], input_shape=(2, 2, 1))
    recorder = Recorder()
    with pytest.raises(DataError) as error:
        hg.Trainer(model, "cross_entropy").fit(ImageFolder(tmp_path, 2, mode="L"), callbacks=[recorder])
    assert str(error.value) == "CrossEntropy: expected labels in 0..2, got 3; the model has 3 outputs"
    assert recorder.calls == []


def test_labels_that_only_a_batch_shows_leave_the_model_as_it_was():
    class Own:
        shape = (4,)

        def __len__(self):
            return 12

        def batch(self, indices):
            return X[indices], Y[indices] + 9

    trainer = hg.Trainer(dense(), "cross_entropy", "adam")
    before = everything(trainer)
    with pytest.raises(DataError):
        trainer.fit(Own())
    assert_same(everything(trainer), before)


STEPS = {
    "shape": (
        (X[:, :2], Y),
        "Sequential: expected a batch of shape (n, 4), got shape (12, 2)",
    ),
    "labels": ((X, Y + 1), "CrossEntropy: expected labels in 0..2, got 3; the model has 3 outputs"),
    "lengths": ((X, Y[:3]), "CrossEntropy: expected 12 labels, got 3; one for each sample"),
    "none": (
        (X[:0], Y[:0]),
        "CrossEntropy: expected at least one sample, got none; a mean over an empty batch has no value",
    ),
}


@pytest.mark.parametrize("case", STEPS)
def test_train_step_refuses(case):
    batch, message = STEPS[case]
    trainer = hg.Trainer(dense(), "cross_entropy", "adam")
    trainer.train_step(X, Y)
    before = everything(trainer)
    with pytest.raises(HandgradError) as error:
        trainer.train_step(*batch)
    assert str(error.value) == message
    assert_same(everything(trainer), before)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ((X[:, :2], Y), "Sequential: expected a batch of shape (n, 4), got shape (12, 2)"),
        ((X, Y + 1), "CrossEntropy: expected labels in 0..2, got 3; the model has 3 outputs"),
        ((X, Y[:3]), "data: expected a label for each of 12 images, got 3 labels"),
        ((X[:0], Y[:0]), "data: expected at least one image, got none"),
    ],
)
def test_evaluate_refuses(data, message):
    with pytest.raises(HandgradError) as error:
        hg.Trainer(dense(), "cross_entropy").evaluate(*data)
    assert str(error.value) == message


def test_evaluate_refuses_a_batch_size_that_means_nothing():
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(dense(), "cross_entropy").evaluate(X, Y, batch_size=0)
    assert str(error.value) == "batch_size: expected an int of at least 1, got 0"


def second(z, y):
    return z[:, 0]


NAMES = {
    "loss": (
        {"loss": "nothing"},
        "loss: expected one of CrossEntropy, BinaryCrossEntropy, MeanSquaredError or a Loss, got 'nothing'",
    ),
    "optimizer": (
        {"optimizer": "adamax"},
        "optimizer: expected one of SGD, Adagrad, Adadelta, RMSprop, Adam, AdamW, Muon, MultiOptimizer "
        "or an Optimizer, got 'adamax'",
    ),
    "metric": (
        {"metrics": ["acc"]},
        "metrics: expected one of accuracy, top5_accuracy, mean_absolute_error or a function, got 'acc'",
    ),
    "metric that is no function": (
        {"metrics": [5]},
        "metrics: expected one of accuracy, top5_accuracy, mean_absolute_error or a function, got 5",
    ),
    "metrics that are no list": (
        {"metrics": 5},
        "metrics: expected one of accuracy, top5_accuracy, mean_absolute_error or a function, got 5",
    ),
    "list of lists": (
        {"metrics": [["accuracy"]]},
        "metrics: expected one of accuracy, top5_accuracy, mean_absolute_error or a function, got "
        "['accuracy']",
    ),
    "one name twice": (
        {"metrics": [second, second]},
        "metrics: expected a name for each, other than loss, got second again; give the function "
        "another name",
    ),
    "group": (
        {"optimizer": optim.SGD(groups=[optim.Group("conv.*")])},
        "SGD: expected Group('conv.*') to match a parameter, got none of a.weight, a.bias, b.weight, b.bias",
    ),
}


@pytest.mark.parametrize("case", NAMES)
def test_a_trainer_refuses(case):
    options, message = NAMES[case]
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(dense(), **{"loss": "cross_entropy", **options})
    assert str(error.value) == message


def test_a_metric_named_loss_is_refused():
    def loss(z, y):
        return z[:, 0]

    with pytest.raises(ArgumentError, match="other than loss"):
        hg.Trainer(dense(), "cross_entropy", metrics=[loss])


def test_a_metric_that_gives_one_number_for_all_is_refused():
    def share(z, y):
        return np.mean(z.argmax(-1) == y)

    with pytest.raises(ShapeError) as error:
        hg.Trainer(dense(), "cross_entropy", metrics=[share]).evaluate(X, Y)
    assert str(error.value) == "metric share: expected a number for each of 12 samples, got shape ()"


def test_functions_without_a_name_are_named_after_their_class():
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=[functools.partial(second)])
    assert list(trainer.evaluate(X, Y)) == ["loss", "partial"]


def test_a_callback_that_cannot_begin_ends_those_that_have():
    class Broken(Callback):
        def on_train_begin(self):
            raise RuntimeError("no")

    first, last = Recorder(), Recorder()
    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[first, Broken(), last])
    assert first.names() == ["set_trainer", "train_begin", "train_end"]
    assert last.names() == ["set_trainer"]


def test_images_need_their_channel_axis():
    x, y = images(4)
    model = hg.Sequential([hg.layers.Flatten(), hg.layers.Dense(10)], input_shape=(8, 8, 1))
    with pytest.raises(ShapeError) as error:
        hg.Trainer(model, "cross_entropy").fit(x[..., 0], y)
    assert str(error.value) == (
        "Sequential: expected a batch of shape (n, 8, 8, 1), got shape (4, 8, 8); add the channel axis "
        "with x[..., None]"
    )
