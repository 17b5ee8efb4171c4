"""What a fit would fail on later is found before the first step, when nothing has been changed."""

from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, optim
from handgrad.errors import ArgumentError, ShapeError
from handgrad.train import Callback, Checkpoint, EarlyStopping


def trainer(optimizer=None):
    model = hg.Sequential([layers.Dense(4), layers.BatchNormalization(), layers.Dense(2)], input_shape=(3,))
    return hg.Trainer(model, "cross_entropy", optimizer or optim.Adam(0.01), metrics=["accuracy"])


def points(n):
    x = hg.rng.Stream((n,)).normal((n, 3))
    return x, (x[:, 0] > 0).astype(int)


def unchanged(trained, fit, kind):
    before = trained.model.state()
    with pytest.raises(kind) as error:
        fit()
    after = trained.model.state()
    assert all(np.array_equal(before[name], after[name]) for name in before)
    assert (trained.progress.step, trained.optimizer.iterations, dict(trained.history)) == (0, 0, {})
    return str(error.value)


def test_a_last_batch_of_one_sample():
    t = trainer()
    message = unchanged(t, lambda: t.fit(*points(65), batch_size=32), ShapeError)
    assert message.startswith(
        "batch_normalization (BatchNormalization): expected at least 2 values per channel"
    )
    assert t.fit(*points(65), batch_size=32, drop_last=True).epochs == 1


@pytest.mark.parametrize("callback", [EarlyStopping, lambda name: Checkpoint("unused", name)])
def test_a_validation_that_is_monitored_but_missing(callback):
    t = trainer()
    message = unchanged(t, lambda: t.fit(*points(64), callbacks=[callback("val_accuracy")]), ArgumentError)
    assert message == "monitor: expected one of loss, accuracy, got 'val_accuracy'; pass validation= to fit"


def test_an_optimizer_that_has_moved_another_model():
    adam = optim.Adam(0.01)
    trainer(adam).fit(*points(64))
    t = trainer(adam)
    before = t.model.state()
    with pytest.raises(ArgumentError) as error:
        t.train_step(*points(64))
    assert str(error.value) == (
        "Adam: expected the parameters that it moved before, got another dense.weight; "
        "make an optimizer for each model; load_state(other.state()) goes on from another's"
    )
    parameters = t.model.parameters()
    assert all(np.array_equal(before[name], parameters[name].value) for name in parameters)


def test_an_optimizer_goes_on_from_the_state_of_another():
    first = trainer()
    first.fit(*points(64))
    adam = optim.Adam(0.01)
    adam.load_state(first.optimizer.state())
    trainer(adam).fit(*points(64))
    assert adam.iterations == 2 * first.optimizer.iterations


def ending_in(*ends, outputs=2):
    return hg.Sequential([layers.Dense(outputs, name="d"), *ends], input_shape=(3,))


TWICE = {
    "softmax": ("cross_entropy", [layers.Softmax(name="s")], "s (Softmax): CrossEntropy", "softmax"),
    "sigmoid": (
        "binary_cross_entropy",
        [layers.Sigmoid(name="s")],
        "s (Sigmoid): BinaryCrossEntropy",
        "sigmoid",
    ),
    "the other one": ("cross_entropy", [layers.Sigmoid(name="s")], "s (Sigmoid): CrossEntropy", "softmax"),
    "behind a shape": (
        "binary_cross_entropy",
        [layers.Softmax(name="s"), layers.Reshape((1, 2)), layers.Flatten()],
        "s (Softmax): BinaryCrossEntropy",
        "sigmoid",
    ),
}


@pytest.mark.parametrize("case", TWICE)
def test_probabilities_where_the_loss_takes_logits_are_warned_of(case):
    loss, ends, begins, own = TWICE[case]
    with pytest.warns(UserWarning, match="takes logits") as said:
        hg.Trainer(ending_in(*ends), loss)
    assert [str(w.message) for w in said] == [
        f"{begins} takes logits and applies {own} to what this layer returns; leave the layer out, for "
        "gradients that do not vanish and probabilities that are right"
    ]
    assert said[0].filename == __file__


def test_probabilities_that_the_loss_takes_as_they_are_are_not():
    hg.Trainer(ending_in(layers.Softmax()), "mean_squared_error")
    hg.Trainer(ending_in(layers.Sigmoid(), layers.Dense(2, name="e")), "cross_entropy")
    hg.Trainer(ending_in(), "cross_entropy")


def test_layers_that_a_callback_freezes_are_noticed():
    class Freeze(Callback):
        def on_epoch_begin(self, epoch):
            if epoch == 1:
                self.trainer.model.freeze()

    t = trainer()
    with pytest.warns(UserWarning, match="training moves no parameter, as all its layers") as said:
        t.fit(*points(64), epochs=2, callbacks=[Freeze()])
    assert len(said) == 1
