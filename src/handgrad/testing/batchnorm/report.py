"""What `check_batchnorm` found, as a table with an explanation of each mistake."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

from handgrad.errors import HandgradError
from handgrad.testing.batchnorm.formula import Mistake
from handgrad.typing import Shape

WIDTH = 100


class BatchNormError(HandgradError, AssertionError):
    """An implementation of batch normalization is wrong.

    Attributes
    ----------
    report : BatchNormReport
        All that was found; the message is about the first mistake, and holds the report, too.
    """

    report: BatchNormReport

    @classmethod
    def of(cls, report: BatchNormReport) -> BatchNormError:
        """Return the error that raises a report."""
        check = next(c for c in report.checks if c.mistakes)
        first = check.mistakes[0]
        error = cls(
            f"{check.part} {check.quantity}",
            expected=first.right or "what the table below says",
            got=first.yours or first.text,
            do=first.text if first.yours else first.why,
        )
        error.report = report
        return error

    def __reduce__(self) -> tuple[object, ...]:
        return BatchNormError.of, (self.report,)

    def __str__(self) -> str:
        return f"{super().__str__()}\n\n{self.report}"


@dataclass(frozen=True)
class BatchNormCheck:
    """One thing that was looked at.

    Attributes
    ----------
    part, quantity : str
        Where, such as ``"backward"``, and what, such as ``"dx"``.
    error : float or None
        Length of the deviation relative to that of what is right; None where there is no such number.
    mistakes : tuple of Mistake
        What is wrong, each with ``text``, the ``right`` line of the formula, ``yours`` and ``why``; empty
        where it is right.
    note : str
        What else there is to say in the table.
    details : tuple of str
        Where it is worst, and which easier checks would not have seen it.
    """

    part: str
    quantity: str
    error: float | None
    mistakes: tuple[Mistake, ...] = ()
    note: str = ""
    details: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.mistakes

    def line(self, widths: tuple[int, int]) -> str:
        """Return its line in the table."""
        error = "" if self.error is None else f"{self.error:.1e}" if self.error else "0"
        said = "; ".join(m.text for m in self.mistakes) or self.note
        head = f"  {self.part.ljust(widths[0])}  {self.quantity.ljust(widths[1])}  {error:>7}  "
        head += f"{'ok' if self.ok else 'WRONG':5}  "
        return _wrapped(said, head).rstrip()

    def explanation(self) -> str:
        """Return what is wrong, with formulas."""
        lines = [f"{self.part}, {self.quantity}"]
        for mistake in self.mistakes:
            lines.append(_wrapped(mistake.text, "  "))
            pairs = [("right", mistake.right), ("yours", mistake.yours), ("why", mistake.why)]
            lines += [_labelled(label, text) for label, text in pairs if text]
        lines += [_labelled("", text) for text in self.details]
        return "\n".join(lines)


def _labelled(label: str, text: str) -> str:
    return _wrapped(text, f"    {label:6}")


def _wrapped(text: str, head: str) -> str:
    """Return lines of at most `WIDTH`, all of them as far to the right as the first."""
    indent = " " * len(head)
    lines = textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=indent, break_on_hyphens=False)
    return "\n".join(lines) or head


@dataclass(frozen=True)
class BatchNormReport:
    """What `check_batchnorm` found. Printable.

    Attributes
    ----------
    shape : tuple of int
        Of the input it was tried on.
    epsilon : float
        What it was tried with.
    checks : tuple of BatchNormCheck
        In order.
    """

    shape: Shape
    epsilon: float
    checks: tuple[BatchNormCheck, ...]

    @property
    def ok(self) -> bool:
        """Whether everything is right."""
        return all(check.ok for check in self.checks)

    @property
    def mistakes(self) -> tuple[str, ...]:
        """What is wrong, in words: ``"backward dx: the term through the mean is missing"``."""
        return tuple(f"{c.part} {c.quantity}: {m.text}" for c in self.checks for m in c.mistakes)

    def __str__(self) -> str:
        wrong = [check for check in self.checks if not check.ok]
        verdict = f"{len(wrong)} of {len(self.checks)} checks found a mistake" if wrong else "all right"
        size = " x ".join(map(str, self.shape))
        widths = (max(len(c.part) for c in self.checks), max(len(c.quantity) for c in self.checks))
        head = f"batch normalization of x ({size}), epsilon {self.epsilon:g}: {verdict}"
        table = [head, *(check.line(widths) for check in self.checks)]
        explained = [check.explanation() for check in wrong if any(m.right or m.why for m in check.mistakes)]
        return "\n\n".join(["\n".join(table), *explained])
