from __future__ import annotations

import io
import os
import re
import threading
from types import SimpleNamespace

import pytest

import handgrad as hg
from handgrad.train import Callback, Progress
from handgrad.train.callbacks import pace as module
from handgrad.train.callbacks.progress import duration
from tests.train.parts import At, cnn, dense, images, points

termios = pytest.importorskip("termios", reason="terminals are made here as POSIX makes them")

X, Y = points()


class Terminal(io.StringIO):
    def __init__(self, width=100):
        super().__init__()
        self.master, self.slave = os.openpty()
        termios.tcsetwinsize(self.slave, (24, width))

    def isatty(self):
        return True

    def fileno(self):
        return self.slave

    def __del__(self):
        os.close(self.master)
        os.close(self.slave)


def lines(text):
    """Return what stood in the lines of a terminal, one after the other, also where it was written over."""
    return [line.rstrip() for line in re.split(r"[\r\n]+", text)]


def shown(monkeypatch, terminal, *, second=0.5, epochs=2, callbacks=(), width=100, **options):
    """Return what is shown while every look at the clock takes a while."""
    clock = iter(range(10**6))
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: second * next(clock)))
    out = Terminal(width) if terminal else io.StringIO()
    trainer = hg.Trainer(dense(), "cross_entropy", "sgd", metrics=["accuracy"])
    trainer.fit(X, Y, epochs=epochs, batch_size=4, callbacks=[Progress(out), *callbacks], **options)
    return out.getvalue(), trainer.history


def test_a_line_for_each_epoch_where_there_is_no_terminal(monkeypatch):
    text, history = shown(monkeypatch, False, epochs=10, validation=(X, Y))
    assert "\r" not in text
    found = text.splitlines()
    assert len(found) == 10
    for i, line in enumerate(found):
        values = "  ".join(f"{name} {each[i]:.4f}" for name, each in history.items())
        assert line.startswith(f"epoch {i + 1:2}/10  {values}  ")
    assert re.search(r"  \d+\.\d s, [\d.]+ samples/s, \d+ s left$", found[0])
    assert re.search(r"val_accuracy \d\.\d{4}  \d+\.\d s, [\d.]+ samples/s$", found[-1])


def test_the_time_left_is_that_of_the_steps_left(monkeypatch):
    text, _ = shown(monkeypatch, False, second=10, epochs=5)
    # begin, epoch begins, 3 steps, time left, epoch ends: 50 s for the first 3 steps of 15
    assert text.splitlines()[0].endswith("  50.0 s, 0.4 samples/s, 3:20 min left")


def test_the_speed_is_that_of_the_epoch_without_its_validation(monkeypatch):
    now = SimpleNamespace(time=100.0)
    monkeypatch.setattr(module, "time", SimpleNamespace(perf_counter=lambda: now.time))

    class Clock(Callback):
        def on_train_batch_begin(self, batch):
            now.time += 2 + self.trainer.progress.epoch

    def measure(z, y):
        now.time += 50 * (len(y) == 5)
        return (z.argmax(-1) == y).astype(float)

    out = io.StringIO()
    trainer = hg.Trainer(dense(), "cross_entropy", metrics=[measure])
    callbacks = [Clock(), Progress(out)]
    trainer.fit(X, Y, epochs=3, batch_size=4, validation=(X[:5], Y[:5]), callbacks=callbacks)
    first, second, _ = (line.rsplit("  ", 1)[1] for line in out.getvalue().splitlines())
    assert first == "56.0 s, 2.0 samples/s, 1:52 min left"  # 12 samples in 6 s, then 50 s
    assert second == "59.0 s, 1.3 samples/s, 58 s left"


def test_what_has_height_and_width_is_images(capsys):
    hg.Trainer(cnn(), "cross_entropy").fit(*images(20), callbacks=[Progress()])
    assert re.search(r" s, [\d,]+ images/s$", capsys.readouterr().err.rstrip())


def test_a_bar_moves_in_a_terminal(monkeypatch):
    text, history = shown(monkeypatch, True)
    found = lines(text)
    bars = [line for line in found if re.match(r"epoch 1/2 \|.*\|", line)]
    assert bars[0].endswith("|")
    assert re.search(r"#\| loss \d\.\d{4}  accuracy \d\.\d{4}, [\d.]+ samples/s, \d+ s left$", bars[-1])
    for i in range(2):
        values = "  ".join(f"{name} {each[i]:.4f}" for name, each in history.items())
        assert f"epoch {i + 1}/2  {values}" in found
    assert lines(text)[-1] == ""  # the bar is gone


def test_the_lines_fit_into_a_terminal_of_80_columns(monkeypatch):
    text, _ = shown(monkeypatch, True, epochs=10, validation=(X, Y), width=80)
    found = [line for line in lines(text) if "accuracy" in line]
    assert any("val_accuracy" in line for line in found)
    assert any(re.fullmatch(r"epoch  3/10 \|[#0-9 ]{6,}\| .* left", line) for line in found)
    assert max(map(len, found)) <= 80


def test_the_bar_has_no_thread(monkeypatch):
    """One more thread makes a fork while training unsafe, of which Python warns."""
    threads = []
    before = threading.active_count()
    count = At(2, lambda trainer: threads.append(threading.active_count()))
    shown(monkeypatch, True, callbacks=[count], prefetch=0)
    assert threads == [before]


def test_a_resumed_epoch_begins_where_it_was(monkeypatch, tmp_path):
    trainer = hg.Trainer(dense(), "cross_entropy")
    trainer.fit(X, Y, epochs=3, batch_size=4, callbacks=[At(4, lambda t: setattr(t, "stop_training", True))])
    out = io.StringIO()
    trainer.fit(X, Y, epochs=3, batch_size=4, initial_epoch=0, callbacks=[Progress(out)])
    assert [line[:9] for line in out.getvalue().splitlines()] == ["epoch 2/3", "epoch 3/3"]


def test_the_bar_is_closed_when_training_fails(monkeypatch):
    def fail(trainer):
        raise RuntimeError("no")

    out = Terminal()
    with pytest.raises(RuntimeError):
        hg.Trainer(dense(), "cross_entropy").fit(X, Y, batch_size=4, callbacks=[Progress(out), At(2, fail)])
    assert "epoch 1/1 |" in out.getvalue()
    assert lines(out.getvalue())[-1] == ""


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
