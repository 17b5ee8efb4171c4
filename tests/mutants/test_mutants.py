"""The list of mutants fits the source; ``python -m tests.mutants`` shows that each is caught."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.__main__ import ROOT, SOURCE, misfit, run_tests
from tests.mutants.mutants import MUTANTS, Mutant


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_its_text_stands_once_in_the_source_and_its_tests_exist(mutant):
    assert misfit(mutant) == ""
    assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_mutated_file_is_python(mutant):
    text = (SOURCE / mutant.file).read_text(encoding="utf-8")
    ast.parse(text.replace(mutant.old, mutant.new))


def test_names_are_different():
    assert len({m.name for m in MUTANTS}) == len(MUTANTS)


def test_what_does_not_fit_is_said():
    assert misfit(Mutant("", "nowhere.py", "a", "b", "")) == "there is no nowhere.py"
    assert (
        misfit(Mutant("", "rng.py", "no such text", "", "")) == "the text to change stands 0 times in rng.py"
    )
    assert misfit(Mutant("", "rng.py", "self.generator()", "", "")).startswith("the text to change stands ")
    assert (
        misfit(Mutant("", "rng.py", "Philox 4x64", "", "test_nothing.py"))
        == "there is no tests/test_nothing.py"
    )


def test_the_source_as_it_is_passes_what_the_runner_runs():
    """Otherwise every mutant would be caught, by whatever fails anyway."""
    mutant = Mutant("none", "rng.py", "", "", "test_errors.py")
    status, output = run_tests(mutant, ROOT / "src")
    assert status == 0, output
