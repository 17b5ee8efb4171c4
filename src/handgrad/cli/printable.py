"""Text from files on a terminal."""

from __future__ import annotations

import unicodedata

from handgrad.terminal import Output

DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of the text that follows."""


def printable(text: object, *, keep: str = "\t\n") -> str:
    r"""Return text with control characters written out: a name in a file could move the cursor, or worse.

    Those of `keep` stay.

    Examples
    --------
    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    return "".join(c if c in keep else _written_out(c) for c in str(text))


def one_line(text: object) -> str:
    """Return a name that is printed among others, also without the ends of lines that it may have."""
    return printable(text, keep="")


def complain(problem: object) -> None:
    """Print what went wrong on standard error."""
    Output().print(f"handgrad: {printable(problem)}")


def _written_out(c: str) -> str:
    if not (unicodedata.category(c) in ("Cc", "Cs") or c in DIRECTIONS):
        return c
    return c.encode("unicode_escape").decode()
