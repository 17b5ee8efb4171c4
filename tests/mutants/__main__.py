"""Apply every mutant to a copy of the source and run the tests that must notice.

``python -m tests.mutants`` at the root of the repository; words after it choose mutants by their names, and
``--share 7/3`` first every third of them, from the one that 7 leaves: three numbers in a row try all. The
exit status is 1 where one survives, or does not fit the source any more. The reference kernels run, unless a
test asks for others: these mutants are theirs. With ``--compiled`` first it is those of ``csrc/``, which are
built for the machine's fastest instruction set for floats or, where tests have code of their own, for the
sets of every machine; that takes CMake, and minutes.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from queue import SimpleQueue

from handgrad.kernels.extension import load
from tests.mutants.compiled import COMPILED
from tests.mutants.mutants import MUTANTS, Mutant
from tests.mutants.workplace import ROOT, SOURCE, Workplace, copy_package

AT_ONCE = 2
WRITTEN_OUT = "amx", "taps", "transpose"
"""How files begin whose mutants some tests meet only in sets that are written out for every machine."""
TESTS_FAILED = 1
"""pytest's exit status where tests ran and failed; other errors, as of an import, have others."""
CRASHES = ("AttributeError", "ImportError", "NameError", "SyntaxError", "UnboundLocalError")
"""What a mutant fails by that is not wrong but no program at all."""


def source_of(mutant: Mutant) -> Path:
    """Return the file that a mutant changes."""
    return (ROOT if mutant.file.startswith("csrc/") else SOURCE) / mutant.file


def misfit(mutant: Mutant) -> str:
    """Return why a mutant cannot be applied; nothing where it can."""
    path = source_of(mutant)
    if not path.is_file():
        return f"there is no {mutant.file}"
    count = path.read_text(encoding="utf-8").count(mutant.old)
    if count != 1:
        return f"the text to change stands {count} times in {mutant.file}"
    missing = [test for test in mutant.tests.split() if not is_test(test)]
    return f"there is no tests/{missing[0]}" if missing else ""


def is_test(name: str) -> bool:
    """Return whether there is such a file below ``tests``, or ``file::function``."""
    file, _, function = name.partition("::")
    path = ROOT / "tests" / file
    return path.is_file() and (not function or f"def {function}(" in path.read_text(encoding="utf-8"))


def run_tests(mutant: Mutant, source: Path, kernels: str = "reference", seconds: int = 60) -> tuple[int, str]:
    """Return pytest's exit status and its output, with `source` in place of the package.

    A test that takes longer than `seconds` fails.
    """
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HANDGRAD_KERNELS": kernels,
        "COLUMNS": "300",
    }
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", "not live", "--timeout", str(seconds)]
    tests = [f"tests/{name}" for name in mutant.tests.split()]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def judged(status: int, output: str, tests: str) -> tuple[str, str]:
    """Return "caught" or what is wrong, and the test that noticed, of a run's status and output."""
    # an error is that of a fixture: one of a file has another status
    failed = re.search(r"^(?:FAILED|ERROR) tests/(.+?) - (.*)$", output, re.MULTILINE)
    test, reason = failed.groups() if failed else ("", "")
    if status == TESTS_FAILED and reason and not reason.startswith(CRASHES):
        return "caught", test
    if status == 0:
        return "SURVIVED", tests
    return "BROKEN", f"status {status}: {reason or output.strip().splitlines()[-1]}"


def try_in_python(mutant: Mutant) -> tuple[str, str]:
    """Change a copy of the package and return what its tests say."""
    with tempfile.TemporaryDirectory() as folder:
        copied = copy_package(Path(folder))
        if extension := importlib.util.find_spec("handgrad.kernels.cpu._kernels"):
            shutil.copy(str(extension.origin), copied / "kernels" / "cpu")
        path = copied / mutant.file
        path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        return judged(*run_tests(mutant, Path(folder)), mutant.tests)


Try = Callable[[Mutant], tuple[str, str]]


def instruction_sets(mutant: Mutant) -> tuple[str, ...]:
    """Return the sets that a mutant is built for: the machine's fastest for floats, or those written out."""
    if Path(mutant.file).name.startswith(WRITTEN_OUT):
        return "plain", "plainbf16", "plainamx"
    return (load().module.tables()[0].of_floats,)


@contextmanager
def compiling(mutants: list[Mutant]) -> Iterator[Try]:
    """Give a function that builds and tries mutants of compiled kernels, `AT_ONCE` at a time."""
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_ONCE) as pool:
        kept = Counter(map(instruction_sets, mutants))
        wanted = [sets for sets, n in kept.items() for _ in range(min(AT_ONCE, n))]
        free: dict[tuple[str, ...], SimpleQueue[Workplace]] = {sets: SimpleQueue() for sets in kept}
        folders = [Path(folder, str(i)) for i in range(len(wanted))]
        for sets, place in zip(wanted, pool.map(Workplace, folders, wanted), strict=True):
            free[sets].put(place)

        def try_compiled(mutant: Mutant) -> tuple[str, str]:
            sets = instruction_sets(mutant)
            place = free[sets].get()
            try:
                place.build(mutant.file, mutant.old, mutant.new)
                status, output = run_tests(mutant, place.package, "cpu", seconds=300)
            except RuntimeError as error:
                first = re.search(r"error: .*", str(error))
                return "BROKEN", first[0] if first else str(error).strip().splitlines()[-1]
            finally:
                free[sets].put(place)
            if status < 0:
                return "caught", f"signal {-status} ended the process"
            return judged(status, output, mutant.tests)

        yield try_compiled


def verdict(mutant: Mutant, attempt: Try) -> tuple[str, str, float]:
    """Return "caught" or what is wrong, by which test or why, and the seconds it took."""
    began = time.perf_counter()
    reason = misfit(mutant)
    what, by = ("DOES NOT FIT", reason) if reason else attempt(mutant)
    return what, by, time.perf_counter() - began


def report(mutants: list[Mutant], attempt: Try) -> int:
    """Try mutants and print a line for each; return the exit status."""
    began, bad = time.perf_counter(), 0
    print(f"{'mutant':64} {'verdict':12} seconds  by")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        results = pool.map(lambda m: verdict(m, attempt), mutants)
        for mutant, (what, by, seconds) in zip(mutants, results, strict=True):
            bad += what != "caught"
            print(f"{mutant.name:64} {what:12} {seconds:7.1f}  {by}", flush=True)
    print(f"{len(mutants) - bad} of {len(mutants)} caught in {time.perf_counter() - began:.0f} s")
    return int(bad > 0)


def share(mutants: list[Mutant], number: int, of: int) -> list[Mutant]:
    """Return one of `of` shares of the mutants: the shares of numbers that follow one another differ."""
    return mutants[number % of :: of]


def main(words: list[str]) -> int:
    """Run all mutants, a share of them, or those with a word in their name; return the exit status."""
    number, of = 0, 1
    if words[:1] == ["--share"]:
        number, of = map(int, words[1].split("/"))
        words = words[2:]
    compiled = words[:1] == ["--compiled"]
    words = words[compiled:]
    chosen = [m for m in (COMPILED if compiled else MUTANTS) if not words or any(w in m.name for w in words)]
    chosen = share(chosen, number, of)
    if not compiled:
        return report(chosen, try_in_python)
    with compiling(chosen) as attempt:
        return report(chosen, attempt)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
