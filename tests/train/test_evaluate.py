from __future__ import annotations

import warnings

import numpy as np
import pytest

import handgrad as hg
from handgrad.losses import CrossEntropy
from handgrad.train import Accuracy, evaluate
from tests.train.parts import assert_same, cnn, dense, everything, images, points


@pytest.fixture
def trainer():
    x, y = images(32)
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy", "top5_accuracy"])
    trainer.fit(x, y, epochs=2, batch_size=16)
    return trainer


@pytest.mark.parametrize("batch_size", [1, 3, 7, 50, 256])
def test_the_result_does_not_depend_on_the_batch_size(trainer, batch_size):
    x, y = images(50)
    z = trainer.model.predict(x, batch_size=50)
    got = trainer.evaluate(x, y, batch_size=batch_size)
    np.testing.assert_allclose(got["loss"], CrossEntropy()(z, y)[0], rtol=1e-6)
    assert got["accuracy"] == np.mean(z.argmax(-1) == y)
    assert list(got) == ["loss", "accuracy", "top5_accuracy"]


def test_nothing_is_changed(trainer):
    x, y = images(50)
    before, gradients = everything(trainer), {k: p.grad.copy() for k, p in trainer.model.parameters().items()}
    history = {name: list(values) for name, values in trainer.history.items()}
    first = trainer.evaluate(x, y)
    trainer.model.predict(x)
    assert trainer.evaluate(x, y) == first
    assert_same(everything(trainer), before)
    assert trainer.history == history
    for name, p in trainer.model.parameters().items():
        np.testing.assert_array_equal(p.grad, gradients[name])


def test_validation_changes_nothing_but_the_history():
    x, y = images(32)
    runs = []
    for validation in (None, images(20)):
        trainer = hg.Trainer(cnn(), "cross_entropy", "adam")
        trainer.fit(x, y, epochs=3, batch_size=16, validation=validation)
        runs.append(everything(trainer))
    without, with_ = runs
    assert list(with_["history"]) == ["loss", "val_loss"]
    with_["history"].pop("val_loss")
    assert_same(without, with_)


def test_validation_is_what_evaluate_gives():
    x, y = images(32)
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam", metrics=["accuracy"])
    validation = images(40)
    history = trainer.fit(x, y, epochs=2, batch_size=16, validation=validation)
    result = trainer.evaluate(*validation)
    assert {f"val_{name}": value for name, value in result.items()} == {
        "val_loss": history["val_loss"][-1],
        "val_accuracy": history["val_accuracy"][-1],
    }


def test_batches_are_let_go_of():
    """A layer's saved values would be most of the memory."""
    model = dense()
    kept, method = [], model.forward

    def forward(*args, **options):
        z, trace = method(*args, **options)
        kept.append(trace.saved)
        return z, trace

    model.forward = forward
    hg.Trainer(model, "cross_entropy").evaluate(*points(), batch_size=6)
    assert kept == [None, None]


def test_dropout_is_off(trainer):
    x, y = images(32)
    result = trainer.evaluate(x, y)
    trainer.model["dropout"].rate = 0.0
    assert trainer.evaluate(x, y) == result


def test_a_normalization_that_was_never_trained_is_told_of():
    trainer = hg.Trainer(cnn(), "cross_entropy")
    with pytest.warns(
        UserWarning, match="^bn \\(BatchNormalization\\): the running statistics are still mean 0"
    ):
        trainer.evaluate(*images(10))


def test_values_that_are_not_finite_show_in_the_result_without_warnings():
    x, y = points()
    trainer = hg.Trainer(dense(), "mean_squared_error", metrics=["accuracy"])
    trainer.model["b"].weight.value[...] = 3e38
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = trainer.evaluate(x, np.eye(3)[y])
    assert not np.isfinite(result["loss"])


def test_it_can_be_had_without_a_trainer():
    x, y = points()
    result = evaluate(dense(), CrossEntropy(), {"right": Accuracy()}, x, y)
    assert (
        result["right"]
        == hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"]).evaluate(x, y)["accuracy"]
    )
