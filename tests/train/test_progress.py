from __future__ import annotations

import io
import re
from types import SimpleNamespace

import pytest
from rich.console import Console

import handgrad as hg
from handgrad.train import Progress
from handgrad.train.callbacks import progress as module
from handgrad.train.callbacks.progress import duration
from tests.train.parts import At, dense, points

X, Y = points()


def shown(monkeypatch, terminal, *, second=0.5, epochs=2, callbacks=(), width=100, **options):
    """Return what is shown while every look at the clock takes a while."""
    clock = iter(range(10**6))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: second * next(clock)))
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=width, color_system=None)
    trainer = hg.Trainer(dense(), "cross_entropy", "sgd", metrics=["accuracy"])
    trainer.fit(X, Y, epochs=epochs, batch_size=4, callbacks=[Progress(console), *callbacks], **options)
    return out.getvalue(), trainer.history


def test_a_line_for_each_epoch_where_there_is_no_terminal(monkeypatch):
    text, history = shown(monkeypatch, False, epochs=10, validation=(X, Y))
    lines = text.splitlines()
    assert len(lines) == 10
    assert "\x1b" not in text
    for i, line in enumerate(lines):
        values = "  ".join(f"{name} {each[i]:.4f}" for name, each in history.items())
        assert line.startswith(f"epoch {i + 1:2}/10  {values}  ")
    assert re.search(r"  \d+\.\d s, \d+ s left$", lines[0])
    assert re.search(r"val_accuracy \d\.\d{4}  \d+\.\d s$", lines[-1])


def test_the_time_left_is_that_of_the_steps_left(monkeypatch):
    text, _ = shown(monkeypatch, False, second=10, epochs=5)
    # begin, epoch begins, epoch ends, time left: 3 looks, 30 s for the first 3 steps of 15
    assert text.splitlines()[0].endswith("  10.0 s, 2:00 min left")


def test_a_bar_moves_in_a_terminal(monkeypatch):
    text, history = shown(monkeypatch, True)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    assert re.search(r"epoch 1/2 .*\d/3 loss \d\.\d{4}  accuracy \d\.\d{4} .* left", plain)
    for i in range(2):
        assert (
            f"epoch {i + 1}/2  loss {history['loss'][i]:.4f}  accuracy {history['accuracy'][i]:.4f}" in plain
        )
    assert text.endswith("\x1b[2K")  # the bar is gone


def test_the_lines_fit_into_a_terminal_of_80_columns(monkeypatch):
    text, _ = shown(monkeypatch, True, epochs=10, validation=(X, Y), width=80)
    plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", text)
    lines = [line for line in re.split(r"[\r\n]+", plain) if "val_accuracy" in line]
    assert lines
    assert max(map(len, lines)) <= 80


def test_a_resumed_epoch_begins_where_it_was(monkeypatch, tmp_path):
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=[At(4, lambda t: setattr(t, "stop_training", True))])
    out = io.StringIO()
    trainer.fit(X, Y, epochs=3, batch_size=4, initial_epoch=0, callbacks=[Progress(Console(file=out))])
    assert [line[:9] for line in out.getvalue().splitlines()] == ["epoch 2/3", "epoch 3/3"]


def test_the_bar_is_closed_when_training_fails(monkeypatch):
    def fail(trainer):
        raise RuntimeError("no")

    out = io.StringIO()
    progress = Progress(Console(file=out, force_terminal=True))
    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, batch_size=4, callbacks=[progress, At(2, fail)])
    assert out.getvalue().endswith("\x1b[2K")
    assert "\x1b[?25h" in out.getvalue()  # the cursor is back


def test_standard_error_is_the_default(capsys):
    hg.Trainer(dense(), "cross_entropy").fit(X, Y, callbacks=[Progress()])
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.startswith("epoch 1/1  loss ")


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (59.4, "59 s"),
        (59.6, "1:00 min"),
        (185, "3:05 min"),
        (3599.7, "1:00 h"),
        (3720, "1:02 h"),
    ],
)
def test_durations(seconds, text):
    assert duration(seconds) == text
