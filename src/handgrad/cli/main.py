"""The command ``handgrad``."""

from __future__ import annotations

import sys
import warnings
from typing import Any

import click

import handgrad
from handgrad.cli import bench, datasets, evaluate, explain, gradcheck, info, predict, train
from handgrad.cli.printable import printable
from handgrad.errors import HandgradError


class Commands(click.Group):
    """The commands in the order they were added in; Ctrl-C ends one with the exit code of shells."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return their names."""
        return list(self.commands)

    def invoke(self, ctx: click.Context) -> Any:
        """Run one."""
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


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1."""
    warnings.showwarning = _show_warning
    try:
        app(prog_name="handgrad")
    except (HandgradError, OSError) as error:
        print(f"handgrad: {printable(error)}", file=sys.stderr)
        sys.exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"handgrad: warning: {printable(message)}", file=sys.stderr)
