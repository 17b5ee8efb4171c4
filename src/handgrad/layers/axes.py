"""Which axes keep statistics of their own, and arrays as rows with a column for each of these."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from handgrad.errors import ArgumentError, ShapeError
from handgrad.typing import Array, Shape, is_integer


def kept_axes(axis: Any, rank: int, where: str) -> tuple[int, ...]:
    """Return the kept axes of an array with batch axis, in order, all positive."""
    axes = axis if isinstance(axis, tuple | list) else (axis,)
    if all(is_integer(a) and -rank <= a < rank for a in axes):
        kept = sorted(a % rank for a in axes)
        if kept and kept[0] > 0 and len(set(kept)) == len(kept):
            return tuple(kept)
    channels = any(is_integer(a) and a >= rank for a in axes)
    raise ArgumentError(
        f"{where} axis",
        expected=f"an axis or several different ones in 1..{rank - 1}, or negative",
        got=repr(axis),
        do="axis 0 is the batch" + ("; the number of channels is found by build" if channels else ""),
    )


def to_rows(x: Array, kept: tuple[int, ...]) -> Array:
    """Return x as (m, c), the kept axes flattened into columns."""
    if kept == (x.ndim - 1,):  # no row is empty: layers are built for at least one channel
        return x.reshape(x.size // x.shape[-1], x.shape[-1])
    c = math.prod(x.shape[a] for a in kept)
    return x.transpose(*others(x.ndim, kept), *kept).reshape(x.size // c, c)


def from_rows(rows: Array, shape: Shape, kept: tuple[int, ...]) -> Array:
    """Return (m, c) in `shape` again, which undoes `to_rows`."""
    if kept == (len(shape) - 1,):
        return rows.reshape(shape)
    order = *others(len(shape), kept), *kept
    inverse = sorted(range(len(order)), key=order.__getitem__)
    return rows.reshape([shape[a] for a in order]).transpose(inverse)


def others(rank: int, kept: tuple[int, ...]) -> tuple[int, ...]:
    """Return the axes that are not kept."""
    return tuple(a for a in range(rank) if a not in kept)


def rows_that_count(mask: Array, shape: Shape, kept: tuple[int, ...], where: str) -> Array | None:
    """Return which blocks of rows of an array of `shape` count; None if all do.

    Parameters
    ----------
    mask : bool array
        Of the first axes of the array: (n,), (n, h), ...
    shape : tuple of int
        With the batch axis.
    kept : tuple of int
        The kept axes.
    where : str
        How an error message begins.

    Returns
    -------
    (k,) bool array or None
        The rows, in their order, are k blocks of equal size, one for each element of the mask.

    Raises
    ------
    ShapeError
        If the mask is not of the first axes, or one of them is kept.
    """
    before = kept[0]  # axes 0, 1, ..., before - 1 are those that a mask can have
    rank = np.ndim(mask)
    if np.asarray(mask).dtype != np.bool_ or not 0 < rank <= before or np.shape(mask) != shape[:rank]:
        fitting = " or ".join(str(shape[: a + 1]) for a in range(before))
        raise ShapeError(
            f"{where} mask",
            expected=f"bools of shape {fitting} for inputs of {shape}",
            got=f"{np.asarray(mask).dtype} of shape {np.shape(mask)}",
            do="one for each sample fits every layer",
        )
    return None if np.all(mask) else np.ravel(mask)


def chosen(rows: Array, blocks: Array) -> Array:
    """Return of rows (m, c) those of the blocks that are chosen: a view if they stand side by side."""
    return _blocks(rows, blocks)[_index(blocks)].reshape(-1, rows.shape[1])


def put_chosen(rows: Array, blocks: Array, value: Any) -> None:
    """Write `value`, a number or other rows, where `chosen` reads."""
    of_blocks = _blocks(rows, blocks)
    of_blocks[_index(blocks)] = np.reshape(value, (-1, of_blocks.shape[1])) if np.ndim(value) else value


def _blocks(rows: Array, blocks: Array) -> Array:
    return rows.reshape(len(blocks), rows.size // len(blocks))


def _index(blocks: Array) -> slice | Array:
    at = np.flatnonzero(blocks)
    alone = at.size > 0 and at[-1] - at[0] + 1 == at.size
    return slice(at[0], at[-1] + 1) if alone else at
