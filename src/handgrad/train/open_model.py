"""The model of a run, or of a file."""

from __future__ import annotations

import os
import shlex
from pathlib import Path
from typing import Any

from handgrad.errors import CheckpointError
from handgrad.io import load, load_about
from handgrad.train.run_folder import RunFolder
from handgrad.train.stored_info import complete_info
from handgrad.typing import Config


def open_model(path: str | os.PathLike[str]) -> tuple[Any, Config]:
    """Return the model of a run's folder, or of a file, and what is known about it.

    What ``model.info`` lacks, as in files of older versions, comes from the loss and the names of classes
    that the file has besides, and from the recipe of its run.

    Raises
    ------
    CheckpointError
        If there is none, or it is damaged; of a run, says what makes it.
    """
    path = Path(path)
    if not path.exists():
        raise CheckpointError(
            str(path), expected="a run's folder or a model file", got="nothing of that name"
        )
    run = RunFolder(path) if path.is_dir() else None
    file = path if run is None else run.model_path
    if run is not None and run.holds_run and not file.is_file():
        raise _without_model(run)
    try:
        model, about = load(file), load_about(file)
    except CheckpointError as error:
        if run is None or not run.holds_run or error.where != str(file):
            raise
        do = f"make it again with: {_resume(run)}"
        raise CheckpointError(error.where, expected=error.expected, got=error.got, do=do) from None
    model.info = complete_info(model, about, file.with_name("config.json"))
    return model, about


def _without_model(run: RunFolder) -> CheckpointError:
    """Say of a run without a model whether it has ended."""
    if run.result_path.is_file():
        got, do = "one whose model.safetensors is missing", f"make it again with: {_resume(run)}"
        return CheckpointError(str(run.path), expected="a run with its model", got=got, do=do)
    do = f"go on with: {_resume(run)}"
    return CheckpointError(str(run.path), expected="a run that has ended", got="one without its model", do=do)


def _resume(run: RunFolder) -> str:
    return f"handgrad train --resume {shlex.quote(str(run.path))}"
