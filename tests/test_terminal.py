from __future__ import annotations

import errno
import io
import sys

import pytest

from handgrad.terminal import ASCII, ERRORS, Output


class Failing(io.StringIO):
    """A stream that takes some lines and then fails."""

    def __init__(self, error, lines=1):
        super().__init__()
        self.error, self.left = error, lines

    def flush(self):
        self.left -= 1
        if self.left < 0:
            raise self.error


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "cp1252"])
def test_what_an_encoding_lacks_is_drawn_in_ascii(encoding):
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, encoding, newline="\n")
    Output(stream).print("└─┤ a·b é → −1 猫 \ud800")
    accents = "a.b \\xe9" if encoding == "ascii" else "a·b é"
    assert raw.getvalue().decode(encoding) == f"+-| {accents} -> -1 \\u732b \\ud800\n"


def test_what_an_encoding_has_stays():
    raw = io.BytesIO()
    stream = io.TextIOWrapper(raw, "utf-8", newline="\n")
    Output(stream).print("└─┤ 猫")
    assert raw.getvalue().decode() == "└─┤ 猫\n"


def test_every_letter_has_its_like_in_ascii():
    assert "".join(ASCII).encode("ascii", ERRORS).decode() == "".join(ASCII.values())


def test_only_encoding_is_replaced():
    with pytest.raises(UnicodeDecodeError):
        b"\xff".decode("ascii", ERRORS)


def test_output_ends_quietly_where_nobody_reads():
    stream = Failing(BrokenPipeError(errno.EPIPE, "Broken pipe"))
    output = Output(stream)
    for text in ("first", "second", "third"):
        output.print(text)
    assert output.ended
    assert stream.getvalue() == "first\nsecond\n"


def test_output_that_cannot_be_written_ends_with_a_warning():
    output = Output(Failing(OSError(errno.ENOSPC, "No space left on device"), 0))
    with pytest.warns(UserWarning, match="is lost") as said:
        output.print("first")
    assert str(said[0].message) == (
        f"what is printed is lost from here on: [Errno {errno.ENOSPC}] No space left on device"
    )
    output.print("second")


def test_a_failing_standard_error_cannot_be_warned_of(monkeypatch):
    monkeypatch.setattr(sys, "stderr", Failing(OSError(errno.EIO, "Input/output error"), 0))
    output = Output()
    output.print("first")
    assert output.ended


def test_a_stream_that_is_closed_or_missing_takes_nothing(monkeypatch):
    stream = io.StringIO()
    stream.close()
    output = Output(stream)
    assert not output.isatty()
    output.print("lost")
    assert output.ended
    monkeypatch.setattr(sys, "stderr", None)
    missing = Output()
    assert not missing.isatty()
    missing.print("lost")


def test_other_errors_are_not_hidden():
    with pytest.raises(ValueError, match="another"):
        Output(Failing(ValueError("another"), 0)).print("first")


def test_the_standard_stream_is_the_one_of_the_moment(capsys):
    Output(name="stdout").print("a")
    Output().print("b")
    assert capsys.readouterr() == ("a\n", "b\n")
