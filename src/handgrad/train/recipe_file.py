"""Files of recipes."""

from __future__ import annotations

import json
import tomllib
from pathlib import Path
from typing import Any

from handgrad.errors import CheckpointError


def read_toml_or_json(path: Path) -> Any:
    """Return what is in a file, TOML where its name ends so, with or without the mark of UTF-8.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is neither.
    """
    kind = "TOML" if path.suffix.lower() == ".toml" else "JSON"
    try:
        text = path.read_text(encoding="utf-8-sig")
        return tomllib.loads(text) if kind == "TOML" else json.loads(text)
    except FileNotFoundError:
        raise CheckpointError(str(path), expected="a recipe", got="no file there") from None
    except IsADirectoryError:
        raise CheckpointError(str(path), expected="a recipe's file", got="a folder") from None
    except RecursionError:
        got = "one that is nested too deeply"
        raise CheckpointError(str(path), expected=f"a recipe as {kind}", got=got) from None
    except ValueError as error:  # of all three: the text's encoding, JSON, TOML
        raise CheckpointError(str(path), expected=f"a recipe as {kind}", got=str(error)) from None
