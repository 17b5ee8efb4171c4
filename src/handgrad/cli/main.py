"""The command ``handgrad``."""

from __future__ import annotations

import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import click

import handgrad
from handgrad.cli import bench, datasets, evaluate, explain, gradcheck, info, predict, train
from handgrad.cli.printable import printable
from handgrad.errors import HandgradError
from handgrad.terminal import ERRORS, Output


class Commands(click.Group):
    """The commands in the order they were added in; signals end one with the exit code of shells."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one."""
        with _terminable():
            try:
                return super().invoke(ctx)
            except KeyboardInterrupt:
                raise click.exceptions.Exit(130) from None


@click.group(cls=Commands)
@click.version_option(handgrad.__version__, message="%(prog)s %(version)s")
def app() -> None:
    """Convolutional networks with every gradient written by hand."""


for command in (
    train.train,
    evaluate.evaluate,
    predict.predict,
    gradcheck.gradcheck,
    explain.explain,
    bench.bench,
    info.info,
    datasets.datasets,
):
    app.add_command(command)


@contextmanager
def _terminable() -> Iterator[None]:
    """End by SIGTERM as by Ctrl-C: what is being written is removed, what is held is let go."""

    def end(number: int, _: FrameType | None) -> None:
        sys.exit(128 + number)

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGTERM, end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before if before is not None else signal.SIG_DFL)


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1."""
    _prepare_streams()
    warnings.showwarning = _show_warning
    try:
        app(prog_name="handgrad")
    except (HandgradError, OSError) as error:
        Output().print(f"handgrad: {printable(error)}")
        sys.exit(1)
    finally:
        _settle_streams()


def _prepare_streams() -> None:
    """Give the process the streams that it was started without, and to each letters that it can hold."""
    for name in ("stdout", "stderr"):
        if getattr(sys, name) is None:  # or the next file that is opened would take its number
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115
        if isinstance(stream := getattr(sys, name), io.TextIOWrapper):
            stream.reconfigure(errors=ERRORS)


def _settle_streams() -> None:
    """Leave nothing behind that the interpreter would fail to write at its end."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            with suppress(OSError, ValueError):
                null = os.open(os.devnull, os.O_WRONLY)
                os.dup2(null, stream.fileno())
                os.close(null)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    Output().print(f"handgrad: warning: {printable(message)}")
