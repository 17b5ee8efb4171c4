from __future__ import annotations

import numpy as np
import pytest

import handgrad as hg
from handgrad.errors import ArgumentError
from handgrad.optim import SGD, Linear
from handgrad.train import Callback, Lookahead
from tests.train.parts import At, assert_same, cnn, everything, images


class Values(Callback):
    """Keeps all values after every step."""

    def __init__(self):
        self.seen = []

    def on_train_batch_end(self, batch, logs):
        self.seen.append(self.trainer.model.state())


def train(*callbacks, epochs=2):
    trainer = hg.Trainer(cnn(seed=1), "cross_entropy", SGD(0.1))
    x, y = images(48)
    trainer.fit(x, y, epochs=epochs, batch_size=8, callbacks=callbacks, shuffle=False)
    return trainer


def test_values_are_those_of_the_formula():
    start = cnn(seed=1).state()
    before, after = Values(), Values()
    decay = Linear(0.2, 20, 0.8)
    train(before, Lookahead(every=3, decay=decay), after)
    slow = start
    for step, (p, new) in enumerate(zip(before.seen, after.seen, strict=True), 1):
        if step % 3 == 0:
            b = decay(step)
            slow = {name: b * slow[name] + (1 - b) * p[name] for name in p}
        slow["bn.updates"] = p["bn.updates"]  # a count, not an average
        for name, value in (slow if step % 3 == 0 else p).items():
            np.testing.assert_allclose(new[name], value, rtol=1e-5, atol=1e-6, err_msg=name)


def test_running_statistics_go_with_the_parameters():
    values = Values()
    trainer = train(Lookahead(every=4, decay=1.0), values)
    start = cnn(seed=1).state()
    for name in start.keys() - {"bn.updates"}:
        np.testing.assert_array_equal(trainer.model.state()[name], start[name], err_msg=name)
    assert not np.array_equal(values.seen[0]["bn.running_mean"], start["bn.running_mean"])


def test_a_decay_of_nothing_changes_nothing():
    assert_same(everything(train(Lookahead(every=2, decay=0.0))), everything(train()))


@pytest.mark.parametrize("step", [2, 5, 6, 9])
def test_a_resumed_run_is_the_unbroken_one(tmp_path, step):
    unbroken = train(Lookahead(every=4))
    trainer = hg.Trainer(cnn(seed=1), "cross_entropy", SGD(0.1))
    x, y = images(48)
    stop = At(step, lambda t: setattr(t, "stop_training", True))
    trainer.fit(x, y, epochs=2, batch_size=8, callbacks=[Lookahead(every=4), stop], shuffle=False)
    trainer.save(tmp_path / "c")
    resumed = hg.Trainer(cnn(seed=3), "cross_entropy", SGD(0.1))
    resumed.load(tmp_path / "c")
    again = [Lookahead(every=4)]
    resumed.fit(x, y, epochs=2, batch_size=8, callbacks=again, shuffle=False, initial_epoch=0)
    assert_same(everything(resumed), everything(unbroken))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"every": 0}, "Lookahead: expected every to be a whole number of at least 1, got 0"),
        ({"decay": 1.5}, "Lookahead: expected decay of at least 0 and at most 1, got 1.5"),
    ],
)
def test_arguments_are_checked(arguments, message):
    with pytest.raises(ArgumentError) as error:
        Lookahead(**arguments)
    assert str(error.value) == message
