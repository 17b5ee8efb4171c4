"""What a run is carried out with is part of its checkpoint, and what differs is said."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

import handgrad as hg
from handgrad import losses, optim
from handgrad.errors import CheckpointError
from handgrad.io import read_tensors, write_tensors
from handgrad.train import Callback
from tests.train.parts import assert_same, cnn, dense, everything, images, points

X, Y = points()


class Sets(Callback):
    """Calls a function after the first epoch of a fit."""

    def __init__(self, function):
        self.function = function

    def on_epoch_end(self, epoch, logs):
        if epoch == 0:
            self.function(self.trainer)


def trainer(optimizer=None, loss="cross_entropy", metrics=(), **options):
    return hg.Trainer(dense(), loss, optimizer or optim.Adam(0.1), metrics, **options)


def saved(path, trained, *callbacks, epochs=2):
    trained.fit(X, Y, epochs=epochs, batch_size=4, callbacks=callbacks)
    trained.save(path)
    return trained


def lower(trained):
    trained.optimizer.lr = 0.01


CHANGES = {
    "learning rate": (lambda: optim.Adam(0.1), lower),
    "schedule": (
        lambda: optim.SGD(0.1, momentum=0.9),
        lambda t: setattr(t.optimizer, "lr", optim.schedules.Cosine(0.1, 9)),
    ),
    "a number for a schedule": (lambda: optim.AdamW(optim.schedules.OneCycle(0.1, 9)), lower),
    "weight decay": (lambda: optim.Adam(0.1), lambda t: setattr(t.optimizer, "weight_decay", 0.3)),
    "betas": (lambda: optim.Adam(0.1), lambda t: setattr(t.optimizer, "beta_1", 0.5)),
    "groups": (
        lambda: optim.Adam(0.1),
        lambda t: setattr(t.optimizer, "groups", (optim.Group("a.*", lr_scale=0.0),)),
    ),
    "one of several optimizers": (
        lambda: optim.MultiOptimizer({"a.*": optim.SGD(0.1), "*": optim.Adam(0.1)}),
        lambda t: setattr(t.optimizer.optimizers["a.*"], "lr", 0.01),
    ),
    "loss": (lambda: optim.Adam(0.1), lambda t: setattr(t, "loss", losses.CrossEntropy(0.3))),
}


@pytest.mark.parametrize("case", CHANGES)
def test_what_a_callback_sets_is_there_again(tmp_path, case):
    make, change = CHANGES[case]
    unbroken = trainer(make())
    unbroken.fit(X, Y, epochs=4, batch_size=4, callbacks=[Sets(change)])
    first = saved(tmp_path / "c", trainer(make()), Sets(change))
    second = trainer(make())
    second.load(tmp_path / "c")
    assert second.optimizer.config() == first.optimizer.config()
    assert second.loss == first.loss
    second.fit(X, Y, epochs=2, batch_size=4)
    assert_same(everything(second), everything(unbroken))
    second.save(tmp_path / "d")
    third = trainer(make())
    third.load(tmp_path / "d")
    assert third.optimizer.config() == first.optimizer.config()


def test_a_rate_that_was_set_before_the_fit_is_no_difference(tmp_path):
    first = trainer()
    lower(first)
    saved(tmp_path / "c", first)
    second = trainer()
    lower(second)
    second.load(tmp_path / "c")
    third = trainer()
    third.load(tmp_path / "c")
    assert third.optimizer.lr == second.optimizer.lr == 0.01


DIFFERENCES = {
    "betas": (
        lambda: trainer(optim.Adam(0.1, beta_1=0.8, beta_2=0.9)),
        "Adam was saved with beta_1=0.9, beta_2=0.999 and has beta_1=0.8, beta_2=0.9, which it keeps",
    ),
    "learning rate": (
        lambda: trainer(optim.Adam(0.2)),
        "Adam was saved with lr=0.1 and has lr=0.2, which it keeps",
    ),
    "loss": (
        lambda: trainer(loss=losses.CrossEntropy(0.1)),
        "CrossEntropy was saved with label_smoothing=0.0 and has label_smoothing=0.1, which it keeps",
    ),
    "metrics": (
        lambda: trainer(metrics=["top5_accuracy"]),
        "the metrics were none and are top5_accuracy from here on",
    ),
    "precision": (
        lambda: trainer(precision="strict"),
        "precision was float32 and is strict, which it keeps",
    ),
    "micro-batches": (
        lambda: trainer(micro_batch_size=2),
        "micro_batch_size was 4 and is 2, which it keeps",
    ),
    "two of them": (
        lambda: trainer(optim.Adam(0.2), losses.CrossEntropy(0.1)),
        "Adam was saved with lr=0.1 and has lr=0.2, which it keeps; "
        "CrossEntropy was saved with label_smoothing=0.0 and has label_smoothing=0.1, which it keeps",
    ),
}


@pytest.mark.parametrize("case", DIFFERENCES)
def test_what_differs_is_said_and_kept(tmp_path, case):
    make, sentence = DIFFERENCES[case]
    saved(tmp_path / "c", trainer(micro_batch_size=4 if case == "micro-batches" else None))
    other = make()
    before = other.optimizer.config(), other.loss
    with pytest.warns(UserWarning, match="which it keeps|from here on") as said:
        other.load(tmp_path / "c")
    assert [str(w.message) for w in said] == [f"{tmp_path / 'c'}: {sentence}"]
    assert said[0].filename == __file__
    assert (other.optimizer.config(), other.loss) == before


def test_one_of_several_optimizers_is_named(tmp_path):
    def several(rate):
        return trainer(optim.MultiOptimizer({"a.*": optim.SGD(rate), "*": optim.Adam(0.1)}))

    saved(tmp_path / "c", several(0.1))
    with pytest.warns(UserWarning, match="was saved with lr=0.1 and has lr=0.2, which it keeps$"):
        several(0.2).load(tmp_path / "c")


def test_optimizers_of_other_classes_are_another_optimizer(tmp_path):
    def several(rule):
        return trainer(optim.MultiOptimizer({"a.*": optim.SGD(0.1), "*": rule(0.1)}))

    saved(tmp_path / "c", several(optim.Adam))
    other = several(optim.AdamW)
    before = everything(other)
    with pytest.raises(CheckpointError) as error:
        other.load(tmp_path / "c")
    assert str(error.value) == (
        f"{tmp_path / 'c'}: expected a run with the optimizer MultiOptimizer('a.*': SGD, '*': AdamW), "
        "got one with MultiOptimizer('a.*': SGD, '*': Adam)"
    )
    assert_same(everything(other), before)


def test_a_layers_arguments_are_compared(tmp_path):
    first, second = (hg.Trainer(cnn(), "cross_entropy") for _ in range(2))
    first.fit(*images(16))
    first.save(tmp_path / "c")
    second.model["dropout"].rate = 0.5
    text = r"dropout \(Dropout\) was saved with rate=0.2 and has rate=0.5, which it keeps$"
    with pytest.warns(UserWarning, match=text):
        second.load(tmp_path / "c")


def stopped(trained):
    trained.stop_training = True


def test_metrics_may_change_between_epochs(tmp_path):
    saved(tmp_path / "c", trainer(metrics=["accuracy"]))
    other = trainer(metrics=["top5_accuracy"])
    with pytest.warns(UserWarning, match="the metrics were accuracy and are top5_accuracy"):
        other.load(tmp_path / "c")
    other.fit(X, Y, epochs=1, batch_size=4)
    assert np.isnan(other.history["accuracy"][2])
    np.testing.assert_array_equal(other.history["top5_accuracy"], [np.nan, np.nan, 1])


def test_a_metric_that_comes_within_an_epoch_has_no_value_for_it(tmp_path):
    class Stop(Callback):
        def on_train_batch_end(self, batch, logs):
            self.trainer.stop_training = True

    first = saved(tmp_path / "c", trainer(metrics=["accuracy"]), Stop(), epochs=1)
    assert first.progress.batch == 1
    other = trainer(metrics=["top5_accuracy"])
    with pytest.warns(UserWarning, match="the metrics were accuracy and are top5_accuracy"):
        other.load(tmp_path / "c")
    history = other.fit(X, Y, epochs=2, batch_size=4, initial_epoch=0)
    assert list(history) == ["loss", "top5_accuracy"]
    np.testing.assert_array_equal(history["top5_accuracy"], [np.nan, 1])


def test_files_without_settings_load(tmp_path):
    saved(tmp_path / "c", trainer())
    tensors, header = read_tensors(tmp_path / "c")
    del header["progress"]["settings"]
    write_tensors(tmp_path / "c", tensors, header)
    other = trainer(optim.Adam(0.2), metrics=["accuracy"])
    other.load(tmp_path / "c")
    assert other.optimizer.lr == 0.2
    with pytest.raises(CheckpointError, match="SGD: expected state named step"):
        trainer(optim.SGD(0.1)).load(tmp_path / "c")


DAMAGED = {
    "no settings": None,
    "a list": [],
    "other kinds": {"optimizer": 3, "begun": 4, "metrics": "a", "loss": "b"},
}


@pytest.mark.parametrize("case", DAMAGED)
def test_settings_that_are_damaged_are_not_compared(tmp_path, case):
    saved(tmp_path / "c", trainer())
    tensors, header = read_tensors(tmp_path / "c")
    header["progress"]["settings"] = DAMAGED[case]
    write_tensors(tmp_path / "c", tensors, header)
    trainer().load(tmp_path / "c")


def test_what_it_began_with_may_be_damaged(tmp_path):
    saved(tmp_path / "c", trainer(), Sets(lower))
    tensors, header = read_tensors(tmp_path / "c")
    header["progress"]["settings"]["begun"] = 4
    write_tensors(tmp_path / "c", tensors, header)
    with pytest.warns(UserWarning, match="Adam was saved with lr=0.01 and has lr=0.1, which it keeps"):
        trainer().load(tmp_path / "c")


def test_what_json_cannot_hold_is_compared_by_its_class(tmp_path):
    @dataclass(frozen=True)
    class Weighted(losses.CrossEntropy):
        weights: object = None

    class Rule(optim.SGD):
        def config(self):
            raise AttributeError("no")

    def own(weights):
        return trainer(Rule(0.1), Weighted(weights=weights))

    saved(tmp_path / "c", own(np.ones(3)))
    own(np.zeros(3)).load(tmp_path / "c")
    with pytest.raises(CheckpointError, match="expected a run with the loss CrossEntropy, got one with Weig"):
        trainer(Rule(0.1)).load(tmp_path / "c")
