"""Run the Python blocks of a page, and compare what they print with what the page shows.

A page is a Markdown file. Its ``python`` blocks are one program, run from top to bottom in an empty folder; a
``text`` block right after one shows what that prints. Numbers may differ a little from machine to machine::

    python docs/run_code.py docs/tutorial.md                     # compare
    python docs/run_code.py docs/tutorial.md --write             # write what is printed into the page
    python docs/run_code.py docs/tutorial.md --figures docs/images/tutorial    # keep the pictures it makes
"""

from __future__ import annotations

import argparse
import contextlib
import io
import os
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

FENCE = re.compile(r"^```(python|text)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
NUMBER = re.compile(r"(?<![\w.])[-+]?\d[\d,]*(?:\.\d*)?(?:e[-+]?\d+|%)?(?!\w)")
RELATIVE, ABSOLUTE = 0.3, 0.05


@dataclass(frozen=True)
class Block:
    """A block of code, the line it begins at, and what the page says it prints, with the place of that."""

    code: str
    line: int
    shown: str | None
    span: tuple[int, int] | None


def blocks(text: str) -> list[Block]:
    """Return the blocks of a page."""
    found: list[Block] = []
    end = -1
    for match in FENCE.finditer(text):
        kind, content = match.groups()
        if kind == "python":
            found.append(Block(content, text.count("\n", 0, match.start(2)) + 1, None, None))
        elif found and not text[end : match.start()].strip():
            last = found.pop()
            found.append(Block(last.code, last.line, content, match.span(2)))
        end = match.end()
    return found


def run(page: Path, folder: Path) -> list[tuple[Block, str]]:
    """Return every block with what it prints; `folder` is where the program runs."""
    from handgrad.errors import MissingExtraError

    space: dict[str, object] = {"__name__": "__main__"}
    results = []
    with contextlib.chdir(folder):
        for block in blocks(page.read_text()):
            # as many lines before it as on the page, so that a traceback names the page's line
            code = compile("\n" * (block.line - 1) + block.code, str(page), "exec")
            out = io.StringIO()
            with contextlib.redirect_stdout(out), contextlib.suppress(MissingExtraError):
                exec(code, space)
            results.append((block, out.getvalue()))
    return results


def difference(shown: str, printed: str) -> str:
    """Return how two outputs differ but for spaces and the last digits of numbers; empty if they do not."""
    words = [" ".join(NUMBER.sub("#", text).split()) for text in (shown, printed)]
    numbers = [NUMBER.findall(text) for text in (shown, printed)]
    same = words[0] == words[1] and all(_close(a, b) for a, b in zip(*numbers, strict=True))
    return "" if same else f"the page shows\n{shown}\nbut this is printed\n{printed}"


def _close(a: str, b: str) -> bool:
    if a == b:
        return True
    if not (set(a + b) & set(".e%")):  # counts and shapes are exact
        return False
    x, y = (float(n.replace(",", "").replace("%", "e-2")) for n in (a, b))
    return abs(x - y) <= ABSOLUTE + RELATIVE * max(abs(x), abs(y))


def main() -> None:
    """Run a page, as the module's docstring says."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("page", type=Path)
    parser.add_argument("--write", action="store_true", help="write what is printed into the page")
    parser.add_argument("--figures", type=Path, help="keep the pictures the page makes in this folder")
    arguments = parser.parse_args()
    page = arguments.page.resolve()
    with tempfile.TemporaryDirectory() as folder:
        results = run(page, Path(folder))
        if arguments.figures:
            arguments.figures.mkdir(parents=True, exist_ok=True)
            for picture in sorted(Path(folder).glob("*.png")):
                shutil.copy(picture, arguments.figures)
    text, differing = page.read_text(), 0
    for block, printed in reversed(results):
        if block.shown is None or block.span is None:
            continue
        if arguments.write:
            text = text[: block.span[0]] + printed.rstrip() + "\n" + text[block.span[1] :]
        elif message := difference(block.shown, printed):
            print(f"{os.path.relpath(page)}:{block.line}: {message}")
            differing += 1
    if arguments.write:
        page.write_text(text)
    raise SystemExit(bool(differing))


if __name__ == "__main__":
    main()
