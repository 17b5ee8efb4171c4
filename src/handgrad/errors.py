"""Every error handgrad raises on purpose, and the one way their messages are written.

A message says where it happened, what was expected, what came, and what to do::

    conv2 (Conv2D): expected 64 input channels, got 32 from relu1; set filters=64 there
"""

from __future__ import annotations

import sys
import warnings


def warn(message: str) -> None:
    """Warn with the line of the caller's program that led here, outside handgrad."""
    level, frame = 2, sys._getframe(1)
    # contextlib: decorators such as reuse_memory stand between
    while frame.f_back and frame.f_globals.get("__name__", "").partition(".")[0] in (
        "handgrad",
        "contextlib",
    ):
        level, frame = level + 1, frame.f_back
    warnings.warn(message, stacklevel=level)


class HandgradError(Exception):
    """Base of all errors raised on purpose.

    Parameters
    ----------
    where : str
        The layer, function, file or option concerned.
    expected, got : str
        What was needed and what came instead.
    do : str, optional
        What the reader can do about it.
    source : str, optional
        The layer that what came came from.
    """

    def __init__(self, where: str, *, expected: str, got: str, do: str = "", source: str = "") -> None:
        super().__init__(where, expected, got, do, source)
        self.where, self.expected, self.got, self.do, self.source = where, expected, got, do, source

    def __str__(self) -> str:
        source = f" from {self.source}" if self.source else ""
        do = f"; {self.do}" if self.do else ""
        return f"{self.where}: expected {self.expected}, got {self.got}{source}{do}"

    def __reduce__(self) -> tuple[object, ...]:
        return _rebuild, (type(self), *self.args)


def _rebuild(
    kind: type[HandgradError], where: str, expected: str, got: str, do: str, source: str
) -> HandgradError:
    return kind(where, expected=expected, got=got, do=do, source=source)


class ArgumentError(HandgradError, ValueError):
    """An argument has a value that means nothing."""


class ShapeError(HandgradError, ValueError):
    """An array or a layer's input has the wrong shape."""


class BuildError(HandgradError, RuntimeError):
    """A layer or model is used before it is built, or put together wrongly."""


class DataError(HandgradError, ValueError):
    """A data set, file or batch is missing, damaged or does not fit."""


class CheckpointError(HandgradError, ValueError):
    """A saved model or checkpoint cannot be used."""


class MissingExtraError(HandgradError, ImportError):
    """A library that an extra installs is not there."""


class NonFiniteError(HandgradError, ArithmeticError):
    """A loss, activation or gradient is NaN or infinite."""


def not_written(where: str, method: str) -> BuildError:
    """Return the error of a class that has not a method which each of its kind writes itself."""
    name = method.partition("(")[0]
    return BuildError(where, expected=f"a class with a method {method}", got="none", do=f"write {name} in it")
