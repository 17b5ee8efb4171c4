"""Text for streams that fail, or that cannot hold every letter: what is shown ends, the work goes on."""

from __future__ import annotations

import codecs
import errno
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TextIO

ERRORS = "handgrad.ascii"
"""The name of `in_ascii`, for ``errors=`` of text streams and of ``str.encode``."""

ASCII = {"─": "-", "│": "|", "└": "+", "┤": "|", "·": ".", "→": "->", "−": "-", "×": "x"}
"""What handgrad draws with, in letters that every encoding has."""


def in_ascii(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks: drawing by its like in ASCII, all else by its code point."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    return "".join(ASCII.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error(ERRORS, in_ascii)


class Output:
    """A text stream to tell people of the work: where it fails, nothing more is told, and the work goes on.

    A reader may have gone (``| head``), a disk may be full, a stream may be closed or not be there.

    Parameters
    ----------
    file : text file, optional
        Where to; by default the standard stream of that `name`, whichever it is when something is written.
    name : "stdout" or "stderr"
        The standard stream.

    Attributes
    ----------
    ended : bool
        Whether writing has failed.

    Warns
    -----
    UserWarning
        Once, if standard output or a file fails for another reason than that nobody reads it.
    """

    def __init__(self, file: TextIO | None = None, name: str = "stderr") -> None:
        self._file, self._name = file, name
        self.ended = False

    @property
    def stream(self) -> TextIO | None:
        """Where to; None where the process was started without that stream."""
        return self._file or getattr(sys, self._name)

    def isatty(self) -> bool:
        """Return whether a terminal shows it."""
        with self.ending():
            return self.stream is not None and self.stream.isatty()
        return False

    def print(self, text: str = "") -> None:
        """Write a line, at once."""
        stream = self.stream
        if self.ended or stream is None:
            return
        with self.ending():
            try:
                stream.write(f"{text}\n")
            except UnicodeEncodeError as error:
                stream.write(f"{text}\n".encode(error.encoding, ERRORS).decode(error.encoding))
            stream.flush()

    @contextmanager
    def ending(self) -> Iterator[None]:
        """End the output, and nothing else, if the stream fails in this block."""
        try:
            yield
        except OSError as error:
            self.ended = True
            if error.errno != errno.EPIPE and self.stream is not sys.stderr:
                warnings.warn(f"what is printed is lost from here on: {error}", stacklevel=4)
        except ValueError:
            if self.stream is None or not self.stream.closed:
                raise
            self.ended = True
