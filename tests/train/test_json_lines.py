from __future__ import annotations

import io
import json
from types import SimpleNamespace

import numpy as np
import pytest

import handgrad as hg
from handgrad.train import Callback, JsonLines, loop
from handgrad.train.callbacks import pace
from tests.train.parts import dense, points

X, Y = points()


class Clock(Callback):
    """Every step takes two seconds, and every batch half a second to make."""

    def __init__(self, monkeypatch):
        self.now = 100.0
        for module in (pace, loop):
            monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: self.now))

    def on_train_batch_begin(self, batch):
        self.now += 2

    def make(self, x, rng):
        self.now += 0.5
        return x


def test_a_line_says_what_an_epoch_came_to(monkeypatch):
    out, clock = io.StringIO(), Clock(monkeypatch)
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=["accuracy"])
    options = {"epochs": 2, "batch_size": 4, "validation": (X, Y), "transform": clock.make, "prefetch": 0}
    trainer.fit(X, Y, callbacks=[clock, JsonLines(out)], **options)
    lines = [json.loads(line) for line in out.getvalue().splitlines()]
    assert lines == [
        {
            "event": "epoch",
            "epoch": i + 1,
            "epochs": 2,
            **{name: values[i] for name, values in trainer.history.items()},
            "seconds": 7.5,
            "waited": 1.5,
            "samples_per_second": 1.6,
            "seconds_left": left,
        }
        for i, left in enumerate([7.5, 0])
    ]
    assert list(lines[0])[3:7] == ["loss", "accuracy", "val_loss", "val_accuracy"]


def test_a_line_is_there_when_its_epoch_ends():
    class Look(Callback):
        seen = ()

        def on_epoch_end(self, epoch, logs):
            self.seen = (*self.seen, out.getvalue().count("\n"))

    out, look = io.StringIO(), Look()
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, epochs=3, callbacks=[JsonLines(out), look])
    assert look.seen == (1, 2, 3)


def test_what_json_has_no_number_for_is_null(capsys):
    JsonLines().write("end", a=float("nan"), b=float("inf"), c=np.float64(0.5), d="text")
    assert capsys.readouterr().out == '{"event": "end", "a": null, "b": null, "c": 0.5, "d": "text"}\n'


def test_standard_output_is_the_default(capsys):
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[JsonLines()])
    captured = capsys.readouterr()
    assert captured.err == ""
    assert json.loads(captured.out)["loss"] == pytest.approx(1, abs=1)
