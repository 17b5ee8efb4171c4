"""The command ``handgrad``."""

from __future__ import annotations

import sys
import warnings
from typing import Annotated, Any

import typer

import handgrad
from handgrad.cli import bench, datasets, evaluate, gradcheck, info, predict, train
from handgrad.errors import HandgradError

app = typer.Typer(
    name="handgrad",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
app.command("train")(train.train)
app.command("evaluate")(evaluate.evaluate)
app.command("predict")(predict.predict)
app.command("gradcheck")(gradcheck.gradcheck)
app.command("bench")(bench.bench)
app.command("info")(info.info)
app.add_typer(datasets.app, name="datasets")


def _version(wanted: bool) -> None:
    if wanted:
        print(f"handgrad {handgrad.__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Convolutional networks with every gradient written by hand."""


def main() -> None:
    """Run the command line; what goes wrong is one line on standard error and exit code 1."""
    warnings.showwarning = _show_warning
    try:
        app(prog_name="handgrad")
    except (HandgradError, OSError) as error:
        print(f"handgrad: {error}", file=sys.stderr)
        sys.exit(1)


def _show_warning(message: Warning | str, *_: Any, **__: Any) -> None:
    print(f"handgrad: warning: {message}", file=sys.stderr)
