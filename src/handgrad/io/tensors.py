"""Named arrays in a safetensors file, with a little JSON beside them in its header."""

from __future__ import annotations

import json
import os
import secrets
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from handgrad.errors import ArgumentError, CheckpointError
from handgrad.typing import Array, Config

HEADER = "handgrad"


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Array], header: Config) -> None:
    """Write arrays and a header; what stood at `path` before is replaced at once or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    tensors : mapping of str to ndarray
        Arrays in any memory order.
    header : dict
        What JSON can hold.

    Raises
    ------
    ArgumentError
        If JSON cannot hold the header; nothing is written then.
    """
    from safetensors.numpy import save

    try:
        text = json.dumps(header)
    except (TypeError, ValueError) as error:
        raise ArgumentError(os.fspath(path), expected="a header that JSON can hold", got=str(error)) from None

    # safetensors writes the memory of an array that is not C-contiguous, in the wrong order:
    contiguous = {name: np.array(a, order="C", copy=True) for name, a in tensors.items()}
    replace_file(path, save(contiguous, metadata={HEADER: text}))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], Config]:
    """Return the arrays and the header of a file from `write_tensors`.

    Raises
    ------
    CheckpointError
        If there is no such file, or it is damaged, or it was written by something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise CheckpointError(str(path), expected="a safetensors file", got="no file there")
    try:
        with safe_open(path, framework="numpy") as file:
            header = json.loads((file.metadata() or {}).get(HEADER, "null"))
            # what others wrote may be of dtypes that NumPy does not have
            names = file.keys() if isinstance(header, dict) else ()
            tensors = {name: file.get_tensor(name) for name in names}
    except (SafetensorError, json.JSONDecodeError) as error:
        raise CheckpointError(
            str(path), expected="a whole safetensors file", got=f"a damaged one ({error})"
        ) from None
    if not isinstance(header, dict):
        raise CheckpointError(
            str(path),
            expected="a file written by handgrad",
            got="one without its header",
            do="use hg.save(model, path)",
        )
    return tensors, header


def replace_file(path: str | os.PathLike[str], content: bytes | str) -> None:
    """Write a file beside `path` and rename it: a reader sees the old content or the new, never a part."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    data = content.encode() if isinstance(content, str) else content
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        with temporary.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
