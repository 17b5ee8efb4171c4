"""Named arrays in a safetensors file, with a little JSON beside them in its header."""

from __future__ import annotations

import json
import os
import sys
import zlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from handgrad.arguments import check_unmasked
from handgrad.errors import ArgumentError, CheckpointError
from handgrad.filetypes import file_type
from handgrad.io.files import file_path, replace_file
from handgrad.typing import Array, Config

HEADER = "handgrad"
CHECKSUM = "checksum"
"""What the header's last entry is called: the CRC-32 of all the rest and of every tensor."""

DTYPES = frozenset(("BOOL", "U8", "I8", "U16", "I16", "F16", "U32", "I32", "F32", "U64", "I64", "F64", "C64"))
"""Those of safetensors that NumPy has."""


def write_tensors(path: str | os.PathLike[str], tensors: Mapping[str, Array], header: Config) -> None:
    """Write arrays and a header; what stood at `path` before is replaced at once or not at all.

    Parameters
    ----------
    path : path
        Of the file.
    tensors : mapping of str to ndarray
        Arrays in any memory order.
    header : dict
        What JSON can hold. The file's one has an entry ``"checksum"`` besides, a CRC-32 of header and arrays:
        it finds every run of up to 32 altered bits and all but one in four billion of other damage, in a
        fifth of the time that a cryptographic one takes (0.4 s for a GB). It is no seal: who means to alter a
        file can alter the checksum as well.

    Raises
    ------
    ArgumentError
        If JSON cannot hold the header; nothing is written then.
    """
    from safetensors.numpy import save

    path = file_path(path)
    try:
        # as it will be read: keys that are numbers become text
        header = json.loads(json.dumps({name: v for name, v in header.items() if name != CHECKSUM}))
    except (TypeError, ValueError, RecursionError) as error:
        raise ArgumentError(os.fspath(path), expected="a header that JSON can hold", got=str(error)) from None
    check_unmasked(os.fspath(path), *tensors.values())
    # safetensors writes the memory of an array that is not C-contiguous, in the wrong order:
    contiguous = {name: _little(np.array(a, order="C", copy=True)) for name, a in tensors.items()}
    text = json.dumps(header | {CHECKSUM: checksum(contiguous, header)})
    replace_file(path, save(contiguous, metadata={HEADER: text}))


def read_tensors(path: str | os.PathLike[str]) -> tuple[dict[str, Array], Config]:
    """Return the arrays and the header of a file from `write_tensors`.

    Raises
    ------
    CheckpointError
        If there is no such file, it is damaged or altered, or it was written by something else. A file
        without a checksum, of an older handgrad, is read without.
    """
    from safetensors import SafetensorError, safe_open

    path = file_path(path)
    if not path.is_file():
        raise _no_file(path)
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(HEADER)
            header = None if text is None else json.loads(text)
            # what others wrote may be of dtypes that NumPy does not have
            names = file.keys() if isinstance(header, dict) else ()
            for name in names:
                if (dtype := file.get_slice(name).get_dtype()) not in DTYPES:
                    raise CheckpointError(
                        str(path), expected="tensors of NumPy's dtypes", got=f"{name} of {dtype}"
                    )
            tensors = {name: file.get_tensor(name) for name in names}
    except OSError as error:
        got = error.strerror or str(error)
        raise CheckpointError(str(path), expected="a file that can be read", got=got) from error
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, RecursionError, OverflowError) as error:
        raise _unreadable(path, error) from None
    if not isinstance(header, dict):
        raise _of_another(path)
    saved = header.pop(CHECKSUM, None)
    if saved is not None and saved != (found := checksum(tensors, header)):
        raise CheckpointError(
            str(path),
            expected=f"contents with the checksum {saved}, with which it was saved",
            got=f"others, with {found}",
            do="it is damaged or was altered: take another copy",
        )
    return tensors, header


def checksum(tensors: Mapping[str, Array], header: Config) -> str:
    """Return the CRC-32 of a header and of arrays in the order of their names: names, dtypes, shapes, values.

    Parameters
    ----------
    tensors : mapping of str to ndarray
        In C order, little-endian.
    header : dict
        As JSON gives it.
    """
    crc = zlib.crc32(json.dumps(header).encode())
    for name in sorted(tensors):
        a = tensors[name]
        crc = zlib.crc32(f"{name} {a.dtype.name} {a.shape}".encode("utf-8", "surrogatepass"), crc)
        crc = zlib.crc32(a.reshape(-1).view(np.uint8).data, crc) if a.size else crc
    return f"crc32:{crc:08x}"


def _little(a: Array) -> Array:
    """Return the array in the byte order of files."""
    big = a.dtype.byteorder == ">" or (a.dtype.byteorder == "=" and sys.byteorder == "big")
    return a.astype(a.dtype.newbyteorder("<")) if big else a


def _no_file(path: Path) -> CheckpointError:
    if not path.is_dir():
        return CheckpointError(str(path), expected="a safetensors file", got="no file there")
    model = path / "model.safetensors"
    do = f"a run's model is {model}" if model.is_file() else ""
    return CheckpointError(str(path), expected="a safetensors file", got="a folder", do=do)


def _unreadable(path: Path, error: Exception) -> CheckpointError:
    kind = file_type(path)
    if kind is None or kind.name.startswith("a safetensors file"):
        reason = str(error) or type(error).__name__
        return CheckpointError(
            str(path), expected="a whole safetensors file", got=f"a damaged one ({reason})"
        )
    return CheckpointError(str(path), expected="a file written by handgrad", got=kind.name, do=kind.reader)


def _of_another(path: Path) -> CheckpointError:
    kind: Any = file_type(path)  # that much is known of it
    return CheckpointError(str(path), expected="a file written by handgrad", got=kind.name, do=kind.reader)
