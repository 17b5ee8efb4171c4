"""``handgrad datasets``."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

app = typer.Typer(help="Show the known sets and where they are; fetch one.", invoke_without_command=True)


@app.callback()
def datasets(context: typer.Context) -> None:
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


@app.command()
def fetch(names: Annotated[list[str], typer.Argument(help="Of the sets.")]) -> None:
    """Download sets into the cache and verify them; a broken download goes on where it ended."""
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeRemainingColumn

    from handgrad import data

    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeRemainingColumn())
    for name in names:
        with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
            path = data.fetch(name, progress=partial(_show, bar, {}))
        print(f"{name}: {path}")


def _show(bar: Progress, tasks: dict[str, TaskID], file: str, done: int, total: int | None) -> None:
    """Move the bar of a file on."""
    if file not in tasks:
        tasks[file] = bar.add_task(file, total=total)
    bar.update(tasks[file], completed=done, total=total)
