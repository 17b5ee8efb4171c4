"""A step whose loss or gradient is not finite is left out, and the message names what was first."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.errors import ArgumentError, NonFiniteError
from handgrad.layers import Layer, NothingSaved, Run
from handgrad.train import Callback, EarlyStopping, NonFinite
from tests.train.parts import Recorder, assert_same, cnn, dense, everything, images, points

X, Y = points()
ADVICE = "lower the learning rate, clip gradients with global_clipnorm, or look at the data"
NAN, INF = float("nan"), float("inf")


@dataclass(eq=False)
class Spoiler(Layer):
    """Is the identity, whose output or gradient is spoiled."""

    output: float = 1.0
    gradient: float = 1.0

    def output_shape(self, shape):
        return shape

    def forward(self, x, run):
        return x * np.float32(self.output), NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        return dy * np.float32(self.gradient)


@dataclass(frozen=True)
class SpoiledLoss(losses.CrossEntropy):
    value: float = 1.0
    gradient: float = 1.0

    def __call__(self, z, y, kernels=None):
        value, dz = super().__call__(z, y, kernels)
        return value * self.value, dz * np.float32(self.gradient)


def chain(**spoiler):
    return hg.Sequential(
        [layers.Dense(3, name="a"), Spoiler(name="s", **spoiler), layers.Dense(3, name="b")], input_shape=(4,)
    )


def with_parameter(model, name, value):
    model.parameters()[name].value.flat[1] = value
    return model


def with_input(value):
    x = X.copy()
    x[2, 1] = value
    return x


CASES = {
    "NaN in the parameter a.weight": (with_parameter(dense(), "a.weight", NAN), "cross_entropy", X),
    "infinity in the parameter b.bias": (with_parameter(dense(), "b.bias", INF), "cross_entropy", X),
    "NaN first in the output of s (Spoiler)": (chain(output=NAN), "cross_entropy", X),
    "infinity first in the output of s (Spoiler)": (chain(output=INF), "cross_entropy", np.abs(X) + 1),
    "infinity first in the output of a (Dense)": (
        with_parameter(chain(), "a.weight", 3e38),
        "cross_entropy",
        np.full_like(X, 3e38),
    ),
    "NaN in the loss": (dense(), SpoiledLoss(value=NAN), X),
    "NaN in the gradient of the loss": (dense(), SpoiledLoss(gradient=NAN), X),
    "NaN first in the gradient of the output of a (Dense)": (chain(gradient=NAN), "cross_entropy", X),
}


@pytest.mark.parametrize("first", CASES)
def test_the_message_names_what_was_first(first):
    model, loss, x = CASES[first]
    trainer = hg.Trainer(model, loss, "adam")
    before = everything(trainer)
    with pytest.raises(NonFiniteError) as error:
        trainer.fit(x, Y, batch_size=12)
    assert str(error.value) == f"epoch 1, step 1: expected finite values, got {first}; {ADVICE}"
    assert_same(everything(trainer), before)
    with pytest.raises(NonFiniteError):
        trainer.train_step(x, Y)
    assert_same(everything(trainer), before)


def test_a_gradient_that_is_not_finite_at_a_parameter():
    class Spoiled(layers.Dense):
        def backward(self, dy, saved, run, *, need_dx=True):
            dx = super().backward(dy, saved, run, need_dx=need_dx)
            self.bias.accumulate(np.full(3, np.nan, np.float32))
            return dx

    model = hg.Sequential([layers.Dense(5, name="a"), Spoiled(3, name="b")], input_shape=(4,))
    with pytest.raises(NonFiniteError) as error:
        hg.Trainer(model, "cross_entropy").train_step(X, Y)
    assert (
        str(error.value)
        == f"epoch 1, step 1: expected finite values, got NaN in the gradient of b.bias; {ADVICE}"
    )


def test_a_frozen_layers_gradient_does_not_count():
    model = chain(gradient=NAN)
    model["a"].freeze()
    hg.Trainer(model, "cross_entropy").train_step(X, Y)


def test_a_value_that_is_gone_when_the_step_is_repeated_is_said_to_be():
    class Once(losses.MeanSquaredError):
        calls: ClassVar = []

        def __call__(self, z, y, kernels=None):
            self.calls.append(1)
            value, dz = super().__call__(z, y, kernels)
            return (NAN if len(self.calls) == 1 else value), dz

    with pytest.raises(
        NonFiniteError, match="got one in the gradients that is gone when the step is repeated; "
    ):
        hg.Trainer(dense(), Once()).train_step(X, X[:, :3])


def test_the_message_counts_epochs_and_steps_from_one():
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(X, Y, epochs=2, batch_size=4)
    with pytest.raises(NonFiniteError, match=r"^epoch 3, step 7: "):
        trainer.fit(np.full_like(X, NAN), Y, batch_size=4)


def test_running_statistics_are_as_before():
    x, y = images(16)
    trainer = hg.Trainer(cnn(), "cross_entropy", "adam")
    trainer.train_step(x, y)
    before = everything(trainer)
    x = x.copy()
    x[0] = np.nan
    with pytest.raises(NonFiniteError):
        trainer.train_step(x, y)
    assert_same(everything(trainer), before)


def test_a_last_batch_of_one_sample_is_tried_without_warnings():
    with pytest.raises(NonFiniteError, match="infinity in the input of sample 0 of the batch"):
        hg.Trainer(chain(), "cross_entropy").fit(np.full_like(X, INF), Y, batch_size=11, shuffle=False)


def test_an_exploding_run_ends_without_warnings():
    trainer = hg.Trainer(cnn(), "mean_squared_error", optim.SGD(1e12))
    x, y = images(32)
    with pytest.raises(NonFiniteError):
        trainer.fit(x, np.eye(10)[y], epochs=20, batch_size=8, validation=(x, np.eye(10)[y]))


def spoiled_batch(i, n=24):
    """Return data whose batch number i of 4 samples has a NaN."""
    x, y = points(n)
    x = x.copy()
    x[4 * i] = NAN
    return x, y


class TestSkip:
    def test_training_goes_on_with_the_next_batch(self):
        x, y = spoiled_batch(2)
        model, callback, recorder = dense(), NonFinite(), Recorder()
        trainer = hg.Trainer(model, "cross_entropy", "adam", metrics=["accuracy"])
        with pytest.warns(
            UserWarning, match="^step left out: epoch 1, step 3: expected finite values, got NaN in the"
        ):
            trainer.fit(x, y, batch_size=4, shuffle=False, callbacks=[callback, recorder])
        rest = np.delete(np.arange(24), np.s_[8:12])
        without = hg.Trainer(dense(), "cross_entropy", "adam", metrics=["accuracy"])
        without.fit(x[rest], y[rest], batch_size=4, shuffle=False)
        for name, value in model.state().items():
            np.testing.assert_array_equal(value, without.model.state()[name])
        assert trainer.history == without.history
        assert trainer.progress.step == 6
        assert trainer.optimizer.iterations == 5
        assert recorder.names().count("batch_begin") == 6
        assert [call[2] for call in recorder.calls if call[1] == "batch_end"] == [0, 1, 3, 4, 5]
        assert [str(e) for e in callback.errors] == [
            "epoch 1, step 3: expected finite values, got NaN in the input of sample 0 of the batch, "
            "number 8 of the data set; repair such samples, or leave them out"
        ]

    def test_too_many_in_a_row_are_an_error_after_all(self):
        callback = NonFinite(limit=2)
        trainer = hg.Trainer(dense(), "cross_entropy")
        with (
            pytest.warns(UserWarning, match="^step left out: ") as warned,
            pytest.raises(NonFiniteError, match=r"^epoch 1, step 3: "),
        ):
            trainer.fit(np.full_like(X, NAN), Y, batch_size=2, callbacks=[callback])
        assert len(warned) == 2
        assert len(callback.errors) == 3

    def test_a_good_step_begins_the_count_anew(self):
        x, y = points(24)
        x = x.copy()
        x[::8] = NAN  # every second batch of 4
        callback = NonFinite(limit=1)
        trainer = hg.Trainer(dense(), "cross_entropy")
        with pytest.warns(UserWarning, match="^step left out: "):
            trainer.fit(x, y, epochs=2, batch_size=4, shuffle=False, callbacks=[callback])
        assert len(callback.errors) == 6
        assert trainer.history.epochs == 2

    def test_an_epoch_without_a_step_is_nan(self):
        trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"])
        with pytest.warns(UserWarning, match="^step left out: "):
            trainer.fit(
                np.full_like(X, NAN),
                Y,
                batch_size=6,
                callbacks=[NonFinite(), EarlyStopping("loss", patience=9)],
            )
        trainer.fit(X, Y)
        assert trainer.history.epochs == 2
        assert np.isnan([trainer.history["loss"][0], trainer.history["accuracy"][0]]).all()
        assert np.isfinite(trainer.history["loss"][1])

    def test_one_that_goes_on_is_enough(self):
        class Seen(Callback):
            errors = ()

            def on_nonfinite(self, error):
                self.errors = (*self.errors, error)
                return False

        seen = Seen()
        with pytest.warns(UserWarning, match="^step left out: "):
            hg.Trainer(dense(), "cross_entropy").fit(
                *spoiled_batch(0), batch_size=4, shuffle=False, callbacks=[NonFinite(), seen]
            )
        assert len(seen.errors) == 1

    def test_the_count_is_kept_with_the_state(self):
        callback = NonFinite()
        callback.in_a_row = 3
        other = NonFinite()
        other.load_state(callback.state(), callback.arrays())
        assert other.in_a_row == 3


class TestStop:
    def test_training_ends_quietly_before_the_step(self):
        x, y = spoiled_batch(2)
        trainer, callback = hg.Trainer(dense(), "cross_entropy", "adam"), NonFinite("stop")
        trainer.fit(x, y, epochs=5, batch_size=4, shuffle=False, callbacks=[callback])
        first = hg.Trainer(dense(), "cross_entropy", "adam")
        first.fit(x[:8], y[:8], batch_size=4, shuffle=False)
        for name, value in trainer.model.state().items():
            np.testing.assert_array_equal(value, first.model.state()[name])
        assert (trainer.progress.epoch, trainer.progress.batch) == (0, 3)
        assert trainer.history == {}
        assert len(callback.errors) == 1


def test_another_action_is_refused():
    with pytest.raises(ArgumentError) as error:
        NonFinite("ignore")
    assert str(error.value) == 'NonFinite action: expected "skip" or "stop", got \'ignore\''


def test_relu_and_pooling_let_nan_through():
    """So that it is found where it is first, and not hidden."""
    x, y = images(8)
    x = x.copy()
    x[3, 2, 2, 0] = NAN
    model = cnn()
    z, _ = model.forward(x, Run(training=True))
    assert np.isnan(z).any()
    with pytest.raises(NonFiniteError, match="NaN in the input of sample 3 of the batch; repair"):
        hg.Trainer(model, "cross_entropy").train_step(x, y)
