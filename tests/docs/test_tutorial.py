"""What the pages show is what their code prints."""

from __future__ import annotations

from pathlib import Path

import pytest

from handgrad import layers

DOCS = Path(__file__).parents[2] / "docs"
if not DOCS.is_dir():
    pytest.skip("a source distribution has no docs", allow_module_level=True)

from docs.run_code import blocks, difference, run  # noqa: E402 (not there without the folder)

ROOT = DOCS.parent
PAGES = sorted(
    p.relative_to(ROOT).as_posix()
    for p in (ROOT / "README.md", *DOCS.rglob("*.md"))
    if "```python\n" in p.read_text()
)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_shows_what_its_code_prints(page: str, tmp_path: Path) -> None:
    results = run(ROOT / page, tmp_path)
    differing = [
        f"line {block.line}: {message}"
        for block, printed in results
        if block.shown is not None and (message := difference(block.shown, printed))
    ]
    assert not differing, "\n".join(differing)


def test_the_tutorial_is_among_the_pages() -> None:
    pages = ("tutorial.md", "custom_layer.md", "look_inside.md", "index.md", "compat.md")
    assert {"README.md", *(f"docs/{page}" for page in pages)} <= set(PAGES)


def test_an_output_belongs_to_the_code_right_before_it() -> None:
    page = "```python\na\n```\n\n```text\n1\n```\n\n```python\nb\n```\n\nWords.\n\n```text\n2\n```\n"
    assert [(b.code, b.line, b.shown) for b in blocks(page)] == [("a\n", 2, "1\n"), ("b\n", 10, None)]


@pytest.mark.parametrize(
    ("shown", "printed", "same"),
    [
        ("loss 0.52\n", "loss   0.54\n", True),  # the last digits differ between machines
        ("loss 0.52\n", "loss 0.92\n", False),
        ("x 2e-16 ok", "x 9e-16 ok", True),
        ("13%", "15%", True),
        ("13%", "33%", False),
        ("(100, 8)", "(100, 9)", False),  # counts do not
        ("got 3", "got three", False),
        ("1 2", "1", False),
    ],
)
def test_numbers_may_differ_a_little(shown: str, printed: str, same: bool) -> None:
    assert (difference(shown, printed) == "") is same


def test_every_layer_has_a_page() -> None:
    pages = [p.read_text() for p in (DOCS / "layers").glob("*.rst")]
    shown = {
        line.split()[-1] for page in pages for line in page.splitlines() if line.startswith(".. layer::")
    }
    kinds = {
        name
        for name in layers.__all__
        if isinstance(kind := getattr(layers, name), type) and issubclass(kind, layers.Layer)
    }
    assert shown == kinds - {"Layer", "Merge"}
