"""Formulas as MathML, which browsers draw by themselves; a few words for those of batch normalization."""

from __future__ import annotations

import re


def math(*parts: str) -> str:
    """Return a displayed formula."""
    return f'<math display="block">{row(*parts)}</math>'


def row(*parts: str) -> str:
    """Return parts one after the other; plain text among them becomes letters, numbers and signs."""
    return f"<mrow>{''.join(map(_part, parts))}</mrow>"


def _part(part: str) -> str:
    return part if part.startswith("<") else "".join(map(_token, re.findall(r"\w+|\S", part)))


def _token(token: str) -> str:
    if token[0].isdigit():
        return f"<mn>{token}</mn>"
    return f"<mi>{token}</mi>" if token.isalpha() else f"<mo>{'−' if token == '-' else token}</mo>"


def frac(top: str, bottom: str) -> str:
    """Return a fraction."""
    return f"<mfrac>{row(top)}{row(bottom)}</mfrac>"


def sub(base: str, index: str) -> str:
    """Return a letter with an index."""
    return f"<msub>{row(base)}{row(index)}</msub>"


def power(base: str, exponent: str) -> str:
    """Return a power."""
    return f"<msup>{row(base)}{row(exponent)}</msup>"


def root(of: str) -> str:
    """Return a square root."""
    return f"<msqrt>{row(of)}</msqrt>"


def over(base: str, sign: str) -> str:
    """Return a letter with a sign over it."""
    return f'<mover accent="true">{row(base)}<mo stretchy="false">{sign}</mo></mover>'


def total(*parts: str) -> str:
    """Return the sum over i."""
    return row("<munder><mo>∑</mo><mi>i</mi></munder>", *parts)


X, Y = sub("x", "i"), sub("y", "i")
XHAT = sub(over("x", "^"), "i")
DX, DY, DXHAT = sub(over("x", "˙"), "i"), sub(over("y", "˙"), "i"), sub(over(over("x", "^"), "˙"), "i")
DGAMMA, DBETA, DMEAN = over("γ", "˙"), over("β", "˙"), over("μ", "˙")
VAR = power("σ", "2")
DVAR = over(VAR, "˙")
