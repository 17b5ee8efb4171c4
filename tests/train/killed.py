"""Runs that are killed, each in a child of this program: before a file is renamed, or at any moment."""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from pathlib import Path

from handgrad.train import Experiment, Recipe

RECIPE = Recipe("digits", model_options={"width": 2}, epochs=2, batch_size=512)
RENAMES = 14
"""In a run: config; in each of two epochs last, history.csv, history.json, last; model, history.csv,
history.json, model with its results, result."""


def run(folder):
    """Begin the run of a folder, or go on with it."""
    Experiment(folder, None if (folder / "config.json").is_file() else RECIPE).run()


def killed_before_rename(folder, number):
    """Run until so many files have been renamed and the next one is to be."""
    rename, left = os.replace, iter(range(number, -1, -1))
    os.replace = lambda *names: rename(*names) if next(left) else os.kill(os.getpid(), signal.SIGKILL)
    run(folder)


def child(work, *arguments):
    """Do some work in a child of this process, and return its number."""
    if pid := os.fork():
        return pid
    try:
        work(*arguments)
    finally:
        os._exit(0)


def before_renames(base):
    """Kill a run before each of its renames."""
    for number in range(RENAMES + 1):
        pid = child(killed_before_rename, base / str(number), number)
        _, status = os.waitpid(pid, 0)
        print(number, os.WIFSIGNALED(status), flush=True)


def at_any_moment(base, runs, kills):
    """Kill each of several runs a few times, at moments that are spread over it."""
    moments = random.Random(0)
    begun = time.perf_counter()
    run(base / "whole")
    whole = time.perf_counter() - begun
    for number in range(runs):
        for _ in range(kills):
            pid = child(run, base / str(number))
            time.sleep(moments.uniform(0, whole))
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        print(number, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "renames":
        before_renames(Path(sys.argv[2]))
    else:
        at_any_moment(Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4]))
