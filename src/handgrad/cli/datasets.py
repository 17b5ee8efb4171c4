"""``handgrad datasets``."""

from __future__ import annotations

from contextlib import ExitStack
from functools import partial
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from handgrad.train.callbacks.bar import Bar


@click.group(invoke_without_command=True, short_help="Show the known sets and where they are; fetch one.")
@click.pass_context
def datasets(context: click.Context) -> None:
    """Show the known sets: their images, and whether they are on this machine."""
    if context.invoked_subcommand is not None:
        return
    from handgrad.data import available

    print(f"{'name':14} {'images':>7}  {'size':9}  {'classes':>7}  where")
    for entry in available():
        size = "x".join(map(str, entry.shape))
        if entry.path is None:
            where = f"not here; {entry.size / 1e6:.0f} MB: handgrad datasets fetch {entry.name}"
        else:
            where = f"{entry.status}, {entry.path}"
        print(f"{entry.name:14} {entry.images:7,}  {size:9}  {entry.classes:7}  {where}")


@datasets.command(short_help="Download sets into the cache and verify them.")
@click.argument("names", nargs=-1, required=True, help="Of the sets.")
def fetch(names: tuple[str, ...]) -> None:
    """Download sets into the cache and verify them; a broken download goes on where it ended."""
    from handgrad import data

    for name in names:
        with ExitStack() as stack:  # closes the bars
            path = data.fetch(name, progress=partial(_show, stack, {}))
        print(f"{name}: {path}")


def _show(stack: ExitStack, bars: dict[str, Bar], file: str, done: int, total: int | None) -> None:
    """Move the bar of a file on."""
    from handgrad.train.callbacks.bar import Bar

    if file not in bars:
        bars[file] = stack.enter_context(Bar(desc=file, total=total, unit="B", unit_scale=True))
    bars[file].total = total
    bars[file].update(done - bars[file].n)
