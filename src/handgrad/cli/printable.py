"""Text from files on a terminal."""

from __future__ import annotations

import unicodedata

DIRECTIONS = frozenset("\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
"""What turns the direction of the text that follows."""


def printable(text: object) -> str:
    r"""Return text with control characters written out: a name in a file could move the cursor, or worse.

    Examples
    --------
    >>> printable("cat\x1b[2J")
    'cat\\x1b[2J'
    """
    return "".join(_written_out(c) for c in str(text))


def _written_out(c: str) -> str:
    if c in "\t\n" or not (unicodedata.category(c) in ("Cc", "Cs") or c in DIRECTIONS):
        return c
    return c.encode("unicode_escape").decode()
