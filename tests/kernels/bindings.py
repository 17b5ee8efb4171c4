"""Calls of every function of the extension module, and what may be wrong with one.

The calls are recorded while the kernels of a table run: `Recorder` takes the place of their instruction set.
A large run by hand, as with the sanitizers: ``python -m tests.kernels.bindings 1000000``.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np

from handgrad.geometry import Window
from handgrad.kernels.bfloat16 import bfloat16_kernels
from handgrad.kernels.cpu import cpu_kernels
from handgrad.rng import Stream
from tests.kernels.calls import CALLS, converter
from tests.kernels.tables import SETS

NO_FUNCTIONS = {"name", "of_floats"}
"""The attributes of an instruction set that cannot be called."""

_WRITES = {
    "batch_norm_statistics": (1, 2),
    "batch_norm_backward": (9, 10, 11, 12),
    "dropout": (4, 5),
    "group_norm": (4, 5, 6),
    "group_norm_backward": (5, 6, 7),
    "max_pool2d": (2, 3),
    "rms_norm": (3, 4),
    "rms_norm_backward": (4, 5),
    "winograd": (9, 10, 11),
    "sgd": (0, 2),
    "adagrad": (0, 2),
    "adadelta": (0, 2, 3),
    "rmsprop": (0, 2, 3, 4),
    "adam": (0, 2, 3),
    "all_finite": (),
    "sum_of_squares": (),
    "packed_filters_size": (),
}
"""The arguments that a function writes, where it is not the last one alone."""

_FREE = {
    ("global_average_pool2d", 0): (1, 2),
    ("global_average_pool2d_backward", 1): (1, 2),
    ("column_sums", 0): (0,),
    ("batch_norm_statistics", 0): (0,),
}
"""The axes of an argument whose lengths no other argument says."""

_OF_ANY_SHAPE = {"all_finite", "sum_of_squares"}


class Recorded(NamedTuple):
    """A call of a function of the extension module."""

    name: str
    args: tuple[Any, ...]

    @property
    def writes(self) -> tuple[int, ...]:
        """The arguments that it writes."""
        return _WRITES.get(self.name, (len(self.args) - 1,))


class Wrong(NamedTuple):
    """An argument in place of a right one."""

    position: int
    what: str
    value: Any
    refused: bool
    """Whether it must be; else it may be right by chance."""


class Recorder:
    """An instruction set whose calls are recorded, each of one kind once."""

    def __init__(self, instructions: Any, calls: dict[Any, Recorded]) -> None:
        self.instructions, self.calls = instructions, calls

    def __getattr__(self, name: str) -> Any:
        value = getattr(self.instructions, name)
        if name in NO_FUNCTIONS:
            return value

        def call(*args: Any) -> Any:
            kind = tuple(a.dtype.char if isinstance(a, np.ndarray) else type(a) for a in args)
            tile = args[1] if len(args) > 1 and type(args[1]) is int else None
            self.calls[name, kind, tile] = Recorded(name, tuple(map(_copy, args)))
            return value(*args)

        return call


def recorded(instructions: Any) -> list[Recorded]:
    """Return right calls of every function of an instruction set."""
    calls: dict[Any, Recorded] = {}
    recorder = Recorder(instructions, calls)
    for algorithm in (None, 2, 4):
        table = cpu_kernels(recorder, algorithm=algorithm)
        of_bfloat16 = bfloat16_kernels(table)
        for call in CALLS:
            if algorithm is None or "conv2d" in call.kernel:
                call.run(converter(np.float32), table)
                call.run(converter(np.float32), of_bfloat16)
        x, window = np.ones((2, 6, 6, 3), np.float32), Window((3, 3))
        for kernels in (table, of_bfloat16):
            filters = kernels.pack_filters(np.ones((3, 3, 3, 4), np.float32), x.shape, window)
            kernels.conv2d_packed(x, filters, np.ones(4, np.float32), window)
    _record_updates(table)
    wide = Window((17, 16), pads=((8, 8), (8, 7)))  # taps of four bytes
    y, tap = table.max_pool2d(x, wide)
    table.max_pool2d_backward(y, tap, x.shape, wide)
    z = np.ones((4, 3), np.float32)
    table.softmax_cross_entropy(z, z)
    table.dropout(z, 0.5, Stream((1,)))
    return list(calls.values())


def _record_updates(table: Any) -> None:
    p, g, a, b, c = np.ones((5, 7), np.float32)
    table.sgd(p, g, lr=0.1)
    table.sgd(p, g, a, lr=0.1, momentum=0.9)
    table.adagrad(p, g, a, lr=0.1, epsilon=1e-7)
    table.adadelta(p, g, a, b, lr=0.1, rho=0.9, epsilon=1e-7)
    table.rmsprop(p, g, a, lr=0.1, rho=0.9, epsilon=1e-7)
    table.rmsprop(p, g, a, b, c, lr=0.1, rho=0.9, epsilon=1e-7, momentum=0.9)
    table.adam(p, g, a, b, lr=0.1, t=1, beta_1=0.9, beta_2=0.99, epsilon=1e-7)
    table.all_finite(g)
    table.sum_of_squares(g)


def wrongs(call: Recorded) -> Iterator[Wrong]:
    """Yield one wrong argument after another."""
    for i, a in enumerate(call.args):
        if isinstance(a, np.ndarray):
            yield from (Wrong(i, *wrong) for wrong in _arrays(call, i, a))
        elif isinstance(a, list):
            yield from (Wrong(i, *wrong) for wrong in _lists(a))
        elif a is not None:
            yield from (Wrong(i, *wrong) for wrong in _numbers(call, a))


def _arrays(call: Recorded, i: int, a: np.ndarray) -> Iterator[tuple[str, Any, bool]]:
    yield "None", None, False  # some may be left out
    yield "a list", a.tolist(), True
    others = (np.complex64, np.float16, np.int16, np.float32 if a.dtype == np.float64 else np.float64)
    yield from ((np.dtype(dtype).name, np.ones(a.shape, dtype), True) for dtype in others)
    if i in call.writes:
        locked = a.copy()
        locked.flags.writeable = False
        yield "read-only", locked, True
    if a.dtype.itemsize > 1:
        yield "of the other byte order", a.astype(a.dtype.newbyteorder()), True
        memory = np.zeros(a.nbytes + 1, np.uint8)
        yield "not aligned", memory[1:].view(a.dtype).reshape(a.shape), a.size > 0
    if a.size > 1:
        yield "strided", np.repeat(a, 2, axis=-1)[..., ::2], True
        yield "backwards", a[..., ::-1], a.shape[-1] > 1
    if a.ndim > 1:
        fortran = np.asfortranarray(a)
        yield "in Fortran's order", fortran, not fortran.flags.c_contiguous
    tied = call.name not in _OF_ANY_SHAPE
    yield "with an axis more", a[None], tied
    yield "without axes", np.ones((), a.dtype), tied
    for axis in range(a.ndim):
        known = tied and axis not in _FREE.get((call.name, i), ())
        for size in {0, 1, a.shape[axis] - 1, a.shape[axis] + 1, 3 * a.shape[axis]} - {-1, a.shape[axis]}:
            shape = *a.shape[:axis], size, *a.shape[axis + 1 :]
            yield f"of shape {shape}", np.resize(a, shape), known


def _lists(a: list[int]) -> Iterator[tuple[str, Any, bool]]:
    for value in (None, 3, "abc", [], a[:-1], [*a, 1], [*a[:-1], None], [*a[:-1], "1"], [*a[:-1], 1.5]):
        yield repr(value), value, True
    for k in range(len(a)):
        for n in (-1, -(2**31), -(2**62), 2**31, 2**40, 2**62, 2**63 - 1, 2**70):
            yield f"{n} in place {k}", [*a[:k], n, *a[k + 1 :]], True
        for n in (0, a[k] + 1, a[k] - 1, 7, 40, 2**31 - 1):
            yield f"{n} in place {k}", [*a[:k], n, *a[k + 1 :]], False


def _numbers(call: Recorded, a: Any) -> Iterator[tuple[str, Any, bool]]:
    yield "None", None, True
    yield "text", "x", True
    if isinstance(a, bool):
        yield "the opposite", not a, False
    elif isinstance(a, int):
        yield from ((str(n), n, True) for n in (-1, 2**70))
        yield from ((str(n), n, False) for n in (0, 2, 4, 3, 2**30, 2**40))
    else:
        share = call.name.startswith("dropout")
        yield from ((str(n), n, share) for n in (np.nan, np.inf, -1.0, 0.0))
        yield from ((str(n), n, False) for n in (1e300, -0.0, 1e-300))


def refuses(instructions: Any, call: Recorded, *wrong: Wrong) -> bool:
    """Return whether the call raises with these arguments in their places; if so, nothing was written."""
    args = [_copy(a) for a in call.args]
    for position, _, value, _ in wrong:
        args[position] = value
    before = [args[i].copy() if isinstance(args[i], np.ndarray) else None for i in call.writes]
    try:
        getattr(instructions, call.name)(*args)
    except (TypeError, ValueError, MemoryError):
        for i, a in zip(call.writes, before, strict=True):
            if a is not None:
                assert args[i].tobytes() == a.tobytes(), f"{call.name} wrote argument {i}"
        return True
    return False


def fuzz(instructions: Any, times: int, seed: int = 0) -> int:
    """Call with up to three wrong arguments, drawn at random; return how often it was refused."""
    rng = np.random.default_rng(seed)
    calls = [(call, list(wrongs(call))) for call in recorded(instructions)]
    refused = 0
    for _ in range(times):
        call, known = calls[rng.integers(len(calls))]
        some = [known[k] for k in rng.integers(len(known), size=rng.integers(1, 4))]
        refused += refuses(instructions, call, *some)
    return refused


def _copy(a: Any) -> Any:
    return a.copy() if isinstance(a, np.ndarray) else a


if __name__ == "__main__":
    for name, instructions in SETS.items():
        times = int(sys.argv[1])
        print(name, f"refused {fuzz(instructions, times)} of {times}", flush=True)
