"""A step is done wholly or not at all, whatever fails in it."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import layers, losses, optim
from handgrad.errors import ArgumentError, BuildError, DataError, ShapeError
from handgrad.layers import Layer, NothingSaved
from handgrad.train import Callback, Lookahead
from handgrad.train.uninterrupted import uninterrupted
from tests.train.parts import Recorder, assert_same, cnn, dense, everything, images, points

X, Y = points()


class BrokenError(Exception):
    """What a part of a step raises."""


@dataclass(eq=False)
class Committing(Layer):
    """Calls a function when it commits."""

    function: object = None

    def output_shape(self, shape):
        return shape

    def forward(self, x, run):
        return x, NothingSaved()

    def backward(self, dy, saved, run, *, need_dx=True):
        return dy

    def commit(self, saved):
        if self.function:
            self.function()


def raising():
    raise BrokenError


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def with_statistics(function=None):
    """Return a model with running statistics, and a layer after them that calls a function in commit."""
    chain = [layers.Dense(5), layers.BatchNormalization(), Committing(function, name="c"), layers.Dense(3)]
    return hg.Sequential(chain, input_shape=(4,))


class Failing(optim.Optimizer):
    """Moves a part of the parameters, then fails, from the second step on."""

    def slots(self):
        return {"velocity": 0.0}

    def update(self, p, g, slots, *, lr, weight_decay, t, kernels):
        p[: len(p) // 2] -= lr
        slots["velocity"][:] += 1
        if t > 1:
            raise BrokenError
        p[len(p) // 2 :] -= lr


class FailingAfter(optim.Adam):
    """Fails when all is done, from the second step on."""

    def step(self, parameters, kernels=None):
        super().step(parameters, kernels)
        if self.iterations > 1:
            raise BrokenError


class FailingSchedule(optim.Schedule):
    def __call__(self, step):
        if step > 0:
            raise BrokenError
        return 0.1


CASES = {
    "commit": lambda: hg.Trainer(with_statistics(), "cross_entropy"),
    "a rule": lambda: hg.Trainer(with_statistics(), "cross_entropy", Failing(0.1)),
    "an optimizer": lambda: hg.Trainer(with_statistics(), "cross_entropy", FailingAfter(0.1)),
    "one of several": lambda: hg.Trainer(
        with_statistics(),
        "cross_entropy",
        optim.MultiOptimizer({"dense.*": optim.Adam(0.1), "*": Failing(0.1)}),
    ),
    "the schedule of the second": lambda: hg.Trainer(
        with_statistics(),
        "cross_entropy",
        optim.MultiOptimizer({"dense.*": optim.Adam(0.1), "*": optim.Adam(FailingSchedule())}),
    ),
    "a schedule": lambda: hg.Trainer(with_statistics(), "cross_entropy", optim.Adam(FailingSchedule())),
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("size", [None, 2])
def test_a_step_that_fails_changes_nothing(case, size):
    trainer = CASES[case]()
    trainer.micro_batch_size = size
    trainer.train_step(X, Y)
    before = everything(trainer)
    if case == "commit":
        trainer.model["c"].function = raising
    with pytest.raises(BrokenError):
        trainer.train_step(X, Y)
    assert_same(everything(trainer), before)
    with pytest.raises(BrokenError):
        trainer.fit(X, Y, batch_size=6)
    assert_same(everything(trainer), before)


def test_ctrl_c_within_a_step_comes_after_it():
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        trainer, other = (hg.Trainer(with_statistics(), "cross_entropy") for _ in range(2))
        trainer.model["c"].function = interrupt
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, batch_size=4)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
        assert (trainer.progress.batch, trainer.progress.step, trainer.optimizer.iterations) == (1, 1, 1)
        trainer.model["c"].function = None
        trainer.fit(X, Y, batch_size=4)
        other.fit(X, Y, batch_size=4)
        assert_same(everything(trainer), everything(other))
    finally:
        signal.signal(signal.SIGINT, handler)


@uninterrupted()
def interrupted_and_failing():
    interrupt()
    raise BrokenError


def test_gradients_that_are_being_looked_for_are_looked_for_again(monkeypatch):
    model, other = dense(), dense()
    with monkeypatch.context() as broken:
        broken.setattr("handgrad.layers.packing.span_view", lambda run: raising())
        for vectors in (model.zero_grad, model.gradient_vectors):
            with pytest.raises(BrokenError):
                vectors()
    trainers = [hg.Trainer(m, "cross_entropy") for m in (model, other)]
    for trainer in trainers:
        trainer.fit(X, Y, batch_size=4)
    assert_same(everything(trainers[0]), everything(trainers[1]))
    assert sum(v.size for v in model.gradient_vectors()) == sum(p.size for p in model.parameters().values())


def test_a_signal_is_held_back_and_acts_once():
    came = []
    before = signal.signal(signal.SIGINT, lambda *_: came.append("handled"))
    try:
        with uninterrupted():
            interrupt()
            interrupt()
            came.append("done")
        assert came == ["done", "handled"]
        with pytest.raises(BrokenError):
            interrupted_and_failing()
        assert came == ["done", "handled", "handled"]
    finally:
        signal.signal(signal.SIGINT, before)


def test_averages_are_taken_of_all_parameters_or_none():
    model = dense()
    trainer, callback = hg.Trainer(model, "cross_entropy"), Lookahead(every=1)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    assign = type(model.parameters()["a.bias"]).assign
    try:
        type(model.parameters()["a.bias"]).assign = lambda p, value: (interrupt(), assign(p, value))
        with pytest.raises(KeyboardInterrupt):
            trainer.fit(X, Y, callbacks=[callback])
    finally:
        type(model.parameters()["a.bias"]).assign = assign
        signal.signal(signal.SIGINT, before)
    for name, value in callback.arrays().items():
        np.testing.assert_array_equal(model.parameters()[name].value, value)


@dataclass(frozen=True)
class Own(losses.Loss):
    result: object = None

    def compute(self, z, y, kernels):
        return self.result(z) if callable(self.result) else self.result


RESULTS = {
    "no gradient": (
        lambda z: 1.0,
        BuildError,
        "the loss and its gradient with respect to the outputs, got a float alone; return value, dz",
    ),
    "three values": (
        lambda z: (1.0, z, z),
        BuildError,
        "the loss and its gradient with respect to the outputs, got 3 values; return value, dz",
    ),
    "a gradient of another shape": (
        lambda z: (1.0, z[:, :1]),
        ShapeError,
        "a gradient of the outputs' shape (6, 3), got shape (6, 1)",
    ),
    "no array": (
        lambda z: (1.0, None),
        ShapeError,
        "a gradient of the outputs' shape (6, 3), got a NoneType",
    ),
    "a loss for each sample": (
        lambda z: (z[:, 0], z),
        ShapeError,
        "one number as the loss of a batch, got shape (6,); take the mean",
    ),
    "no loss": (
        lambda z: (None, z),
        ShapeError,
        "one number as the loss of a batch, got None; take the mean",
    ),
    "a complex gradient": (lambda z: (1.0, z * 1j), DataError, "a gradient of float32, got complex64"),
}


@pytest.mark.parametrize("size", [None, 6])
@pytest.mark.parametrize("case", RESULTS)
def test_a_loss_that_returns_something_else_is_refused_before_the_first_step(case, size):
    result, kind, text = RESULTS[case]
    trainer = hg.Trainer(dense(), Own(result), "adam", micro_batch_size=size)
    before, progress = everything(trainer), repr(trainer.progress)
    for step in (lambda: trainer.fit(X, Y, batch_size=6 if size is None else 12),):
        with pytest.raises(kind) as error:
            step()
        assert str(error.value) == f"Own: expected {text}"
    assert_same(everything(trainer), before)
    assert repr(trainer.progress) == progress


def test_a_loss_without_check_takes_a_label_for_each_sample():
    loss = Own(lambda z: (np.float64(2), np.zeros(z.shape)))
    trainer = hg.Trainer(dense(), loss)
    assert trainer.train_step(X, Y) == 2
    assert loss(np.zeros((2, 3), np.float32), [0, 1])[1].dtype == np.float32
    with pytest.raises(ShapeError) as error:
        trainer.train_step(X, Y[:5])
    assert str(error.value) == "Own: expected 12 labels, got 5; one for each sample"


def test_a_loss_without_compute_says_what_it_lacks():
    class Empty(losses.Loss):
        pass

    with pytest.raises(BuildError) as error:
        hg.Trainer(dense(), Empty()).fit(X, Y)
    assert str(error.value) == (
        "Empty: expected a method compute(z, y, kernels) that returns the loss and its gradient, got none; "
        "define it, as the losses in handgrad.losses do"
    )


def broadcast(z, y):
    return z - y.reshape(-1, 1)


METRICS = {
    "one number": (lambda z, y: z.mean(), ShapeError, "a number for each of 4 samples, got shape ()"),
    "broadcast": (broadcast, ShapeError, "a number for each of 4 samples, got shape (4, 3)"),
    "text": (
        lambda z, y: np.array(["a"] * len(z)),
        DataError,
        "a number for each of 4 samples, got dtype <U1",
    ),
    "complex": (lambda z, y: z[:, 0] * 1j, DataError, "a number for each of 4 samples, got dtype complex64"),
}


@pytest.mark.parametrize("size", [None, 2])
@pytest.mark.parametrize("case", METRICS)
def test_a_metric_that_returns_something_else_is_refused_before_the_first_step(case, size):
    metric, kind, text = METRICS[case]
    metric.__name__ = "m"
    trainer = hg.Trainer(with_statistics(), "cross_entropy", "adam", [metric], micro_batch_size=size)
    before, progress = everything(trainer), repr(trainer.progress)
    with pytest.raises(kind) as error:
        trainer.fit(X, Y, batch_size=4)
    assert str(error.value) == f"metric m: expected {text}"
    assert_same(everything(trainer), before)
    assert repr(trainer.progress) == progress


def test_validation_is_tried_before_the_first_step():
    """Here labels have another form than those of training, which the metric takes."""

    def own(z, y):
        return z[np.arange(len(y)), y]

    class Unlabelled:
        shape = (4,)

        def __len__(self):
            return 12

        def batch(self, indices):
            return X[indices], np.eye(3)[Y[indices]]

    trainer, recorder = hg.Trainer(with_statistics(), "cross_entropy", "adam", [own]), Recorder()
    before = everything(trainer)
    for validation in ((X, np.eye(3)[Y]), Unlabelled()):
        with pytest.raises(IndexError):
            trainer.fit(X, Y, batch_size=4, validation=validation, callbacks=[recorder])
        assert "batch_end" not in recorder.names()
        assert_same(everything(trainer), before)


def test_trying_changes_no_result_and_calls_nothing_more_often():
    calls = []

    def counted(z, y):
        calls.append(len(y))
        return z[:, 0]

    x, y = images(20)
    trainer = hg.Trainer(cnn(), "cross_entropy", metrics=[counted])
    trainer.fit(x, y, batch_size=8, validation=(x, y))
    assert calls == [8, 8, 4, 20]
    other = hg.Trainer(cnn(), "cross_entropy")
    other.fit(x, y, batch_size=8)
    assert_same({**everything(trainer), "history": {}}, {**everything(other), "history": {}})


@pytest.mark.parametrize(
    "method", ["on_train_batch_end", "on_epoch_begin", "on_train_batch_begin", "on_epoch_end"]
)
def test_a_callback_that_fails_leaves_a_run_that_goes_on(method):
    class Fails(Callback):
        def on_train_end(self):
            pass

    def fail(*_):
        if trainer.progress.step >= 2:
            raise BrokenError

    signatures = {
        "on_epoch_end": lambda self, epoch, logs: fail(),
        "on_train_batch_end": lambda self, batch, logs: fail(),
        "on_epoch_begin": lambda self, epoch: fail(),
        "on_train_batch_begin": lambda self, batch: fail(),
    }
    setattr(Fails, method, signatures[method])
    trainer, other = (hg.Trainer(with_statistics(), "cross_entropy", metrics="accuracy") for _ in range(2))
    with pytest.raises(BrokenError):
        trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=[Fails()])
    trainer.fit(X, Y, epochs=3, batch_size=4, initial_epoch=0)
    other.fit(X, Y, epochs=3, batch_size=4)
    assert_same(everything(trainer), everything(other))


def test_a_fit_that_fails_before_its_first_step_leaves_the_epoch_it_was_in():
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs):
            self.trainer.stop_training = True

    class Fail(Callback):
        def on_epoch_begin(self, epoch):
            raise BrokenError

    trainer, other = (hg.Trainer(dense(), "cross_entropy", metrics="accuracy") for _ in range(2))
    trainer.fit(X, Y, batch_size=4, callbacks=[Stop()])
    before = repr(trainer.progress)
    with pytest.raises(BrokenError):
        trainer.fit(X, Y, epochs=7, batch_size=6, callbacks=[Fail()])
    assert repr(trainer.progress) == before
    trainer.fit(X, Y, batch_size=4)
    other.fit(X, Y, batch_size=4)
    assert_same(everything(trainer), everything(other))


def test_the_first_bad_sample_is_named_by_its_number_in_the_data():
    x = X.copy()
    x[7, 1] = np.nan
    trainer = hg.Trainer(dense(), "cross_entropy")
    with pytest.raises(hg.errors.NonFiniteError) as error:
        trainer.fit(x, Y, batch_size=12)
    order = trainer.rng.child("shuffle", 0).permutation(12)
    place = int(np.flatnonzero(order == 7)[0])
    assert str(error.value) == (
        f"epoch 1, step 1: expected finite values, got NaN in the input of sample {place} of the batch, "
        "number 7 of the data set; repair such samples, or leave them out"
    )

    def spoil(x, rng):
        return x * np.float32(np.inf)

    with pytest.raises(hg.errors.NonFiniteError, match="number 0 of the data set, after the transform"):
        trainer.fit(np.abs(X), Y, batch_size=12, shuffle=False, transform=spoil)
    with pytest.raises(hg.errors.NonFiniteError) as error:
        trainer.train_step(x, Y)
    assert "got NaN in the input of sample 7 of the batch; repair" in str(error.value)


def test_ghost_batches_are_not_cut():
    def model():
        chain = [layers.Dense(5), layers.BatchNormalization(ghost_size=4, name="bn"), layers.Dense(3)]
        return hg.Sequential(chain, input_shape=(4,), dtype=np.float64)

    x, y = points(23, dtype=np.float64)
    whole = hg.Trainer(model(), "cross_entropy", optim.SGD(0.1))
    expected = whole.train_step(x, y)
    for size in (4, 5, 7, 9, 12, 22):
        parts = hg.Trainer(model(), "cross_entropy", optim.SGD(0.1), micro_batch_size=size)
        assert parts.train_step(x, y) == pytest.approx(expected, rel=1e-12)
        for name, value in parts.model.state().items():
            np.testing.assert_allclose(value, whole.model.state()[name], rtol=1e-9, atol=1e-12, err_msg=name)
    with pytest.raises(ArgumentError) as error:
        hg.Trainer(model(), "cross_entropy", micro_batch_size=2)
    assert str(error.value) == (
        "Trainer: expected micro_batch_size of at least 4, the ghost_size of bn (BatchNormalization), got 2; "
        "statistics are taken of whole ghost batches, which are computed at once"
    )


def test_a_size_of_parts_that_means_nothing_is_refused_when_it_is_assigned():
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.micro_batch_size = 0
    with pytest.raises(ArgumentError, match="micro_batch_size to be a whole number of at least 1, got 0"):
        trainer.train_step(X, Y)


def test_ghost_batches_of_several_sizes_have_to_end_together():
    chain = [layers.BatchNormalization(ghost_size=size, name=f"bn{size}") for size in (3, 4)]
    model = hg.Sequential([*chain, layers.Dense(3)], input_shape=(4,))
    trainer = hg.Trainer(model, "cross_entropy", micro_batch_size=4)
    before = everything(trainer)
    with pytest.raises(ArgumentError) as error:
        trainer.fit(*points(24), batch_size=24)
    assert str(error.value) == (
        "micro_batch_size: expected 12, to keep ghost batches whole in a batch of 24 samples (sizes: "
        "3 of bn3 (BatchNormalization), 4 of bn4 (BatchNormalization)), got 4"
    )
    assert_same(everything(trainer), before)
    hg.Trainer(model, "cross_entropy", micro_batch_size=12).fit(*points(24), batch_size=24)
