"""The lists of mutants fit the source; ``python -m tests.mutants`` shows that each is caught."""

from __future__ import annotations

import ast

import pytest

from tests.mutants.__main__ import ROOT, judged, misfit, run_tests, share, source_of
from tests.mutants.compiled import COMPILED
from tests.mutants.mutants import MUTANTS, Mutant

each = pytest.mark.parametrize("mutant", [*MUTANTS, *COMPILED], ids=lambda m: m.name)


@each
def test_its_text_stands_once_in_the_source_and_its_tests_exist(mutant):
    assert misfit(mutant) == ""
    assert mutant.old != mutant.new


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda m: m.name)
def test_the_mutated_file_is_python(mutant):
    text = source_of(mutant).read_text(encoding="utf-8")
    ast.parse(text.replace(mutant.old, mutant.new))


def test_three_shares_in_a_row_are_all_mutants():
    shares = [share(MUTANTS, number, 3) for number in (40, 41, 42)]
    assert sorted(m.name for part in shares for m in part) == sorted(m.name for m in MUTANTS)
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


def test_names_are_different():
    for mutants in (MUTANTS, COMPILED):
        assert len({m.name for m in mutants}) == len(mutants)


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
    tests = "test_rng.py::test_nothing"
    assert misfit(Mutant("", "rng.py", "Philox 4x64", "", tests)) == f"there is no tests/{tests}"


def test_only_a_test_that_fails_catches():
    failed = "FAILED tests/test_rng.py::test_x - {}\n1 failed"
    assert judged(1, failed.format("assert 1 == 2"), "a.py") == ("caught", "test_rng.py::test_x")
    error = "ERROR tests/test_rng.py::test_x[a] - assert 1 == 2\n1 passed, 1 error"
    assert judged(1, error, "a.py") == ("caught", "test_rng.py::test_x[a]")
    assert judged(0, "2 passed", "a.py") == ("SURVIVED", "a.py")
    assert judged(1, failed.format("NameError: x"), "a.py") == ("BROKEN", "status 1: NameError: x")
    assert judged(4, "no tests ran", "a.py") == ("BROKEN", "status 4: no tests ran")


def test_the_source_as_it_is_passes_what_the_runner_runs():
    """Otherwise every mutant would be caught, by whatever fails anyway."""
    mutant = Mutant("none", "rng.py", "", "", "test_errors.py")
    status, output = run_tests(mutant, ROOT / "src")
    assert status == 0, output
