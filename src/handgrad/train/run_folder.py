"""The folder of a run: what its files are called, who may write them, and what is whole."""

from __future__ import annotations

import json
import math
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from typing import Any

from handgrad.errors import CheckpointError
from handgrad.io import replace_file
from handgrad.io.lock import locked
from handgrad.typing import Config

_TEMPORARY = re.compile(r"\.(?P<name>.+)\.[0-9a-f]{8}")
"""What `replace_file` calls a file until it is whole."""
_STATE = {"last.safetensors", "model.safetensors", "result.json"}
_WRITTEN = _STATE | {"best.safetensors", "config.json", "curves.png", "history.csv", "history.json"}


class RunFolder:
    """The files of a run.

    Parameters
    ----------
    path : path
        Of the folder; it need not exist.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._claims = 0

    @property
    def config_path(self) -> Path:
        """Where the recipe is."""
        return self.path / "config.json"

    @property
    def model_path(self) -> Path:
        """Where the trained model is."""
        return self.path / "model.safetensors"

    @property
    def result_path(self) -> Path:
        """Where the test results are."""
        return self.path / "result.json"

    @property
    def holds_run(self) -> bool:
        """Whether a run has begun in it."""
        return self.config_path.is_file()

    def require_run(self) -> None:
        """Raise CheckpointError if it holds none."""
        if not self.holds_run:
            expected = "a folder of a run, with config.json in it"
            raise CheckpointError(str(self.path), expected=expected, got="none there")

    def refuse_another_run(self) -> None:
        """Raise CheckpointError if it holds a run, or what one has left."""
        if self.holds_run:
            got, do = "one that holds a run", "resume it, or name another"
        elif left := sorted(name for name in _STATE if (self.path / name).is_file()):
            got, do = f"one with {', '.join(left)} of another run", "remove them, or name another"
        else:
            return
        raise CheckpointError(str(self.path), expected="a new folder", got=got, do=do)

    @contextmanager
    def claimed(self, *, new: bool = False) -> Iterator[None]:
        """Keep all others from writing into the folder, and clean up after those that were killed in it.

        Parameters
        ----------
        new : bool, default False
            Whether it must be made now: where one of its name exists, one with the next free number is.

        Raises
        ------
        CheckpointError
            If another process has it.
        """
        if self._claims == 0:
            self._make(new)
        with locked(self.path / ".lock") if self._claims == 0 else _nothing():
            self._claims += 1
            try:
                if self._claims == 1:
                    self._clean()
                yield
            finally:
                self._claims -= 1

    def _make(self, new: bool) -> None:
        if not new:
            self.path.mkdir(parents=True, exist_ok=True)
            return
        self.path.parent.mkdir(parents=True, exist_ok=True)
        base = self.path
        for number in count(2):
            try:
                self.path.mkdir()
            except FileExistsError:
                self.path = base.with_name(f"{base.name}-{number}")
            else:
                return

    def _clean(self) -> None:
        """Remove what writers that were killed have left half written: there is no other one now."""
        for path in self.path.iterdir():
            found = _TEMPORARY.fullmatch(path.name)
            if found and found["name"] in _WRITTEN:
                path.unlink(missing_ok=True)

    def config(self) -> Config:
        """Return what ``config.json`` holds beside the recipe; nothing if it is not a run's."""
        try:
            config = json.loads(self.config_path.read_text(encoding="utf-8-sig"))
        except (OSError, ValueError, RecursionError):
            return {}
        return config if isinstance(config, dict) else {}

    def write_config(self, config: Config) -> None:
        """Write ``config.json``, at once or not at all."""
        replace_file(self.config_path, json.dumps(config, indent=1))

    def result(self) -> dict[str, float] | None:
        """Return what ``result.json`` holds, NaN for null; None if it is missing or damaged."""
        try:
            result: Any = json.loads(self.result_path.read_text(encoding="utf-8"))
        except (OSError, ValueError, RecursionError):
            return None
        if not isinstance(result, dict) or not {"test_loss", "test_accuracy"} <= result.keys():
            return None
        numbers = (int, float, type(None))
        if not all(isinstance(v, numbers) and not isinstance(v, bool) for v in result.values()):
            return None
        return {name: math.nan if value is None else value for name, value in result.items()}

    def write_result(self, result: dict[str, float]) -> None:
        """Write ``result.json``, with null for what is not finite, at once or not at all."""
        finite = {name: value if math.isfinite(value) else None for name, value in result.items()}
        replace_file(self.result_path, json.dumps(finite, indent=1))


def resumed_otherwise(config: Config) -> list[Config]:
    """Return where the run of a ``config.json`` was resumed otherwise than it began, and what was changed."""
    entries = config.get("resumed")
    whole = entries if isinstance(entries, list) else []
    return [e for e in whole if isinstance(e, dict) and isinstance(e.get("changed"), list) and e["changed"]]


@contextmanager
def _nothing() -> Iterator[None]:
    yield
