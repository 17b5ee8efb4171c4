"""Apply every mutant to a copy of the source and run the tests that must notice.

``python -m tests.mutants`` at the root of the repository; words after it choose mutants by their names. The
exit status is 1 where one survives, or does not fit the source any more. The reference kernels run, unless a
test asks for others: most mutants are theirs.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from tests.mutants.mutants import MUTANTS, Mutant

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "handgrad"
AT_ONCE = 2
TESTS_FAILED = 1
"""pytest's exit status where tests ran and failed; other errors, as of an import, have others."""
NO_REDIRECTION = """
import sys  # an editable installation would lead every import to the source as it is
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
"""
CRASHES = ("AttributeError", "ImportError", "NameError", "SyntaxError", "UnboundLocalError")
"""What a mutant fails by that is not wrong but no program at all."""


def misfit(mutant: Mutant) -> str:
    """Return why a mutant cannot be applied; nothing where it can."""
    path = SOURCE / mutant.file
    if not path.is_file():
        return f"there is no {mutant.file}"
    count = path.read_text(encoding="utf-8").count(mutant.old)
    missing = [t for t in mutant.tests.split() if not (ROOT / "tests" / t).is_file()]
    if count != 1:
        return f"the text to change stands {count} times in {mutant.file}"
    return f"there is no tests/{missing[0]}" if missing else ""


def run_tests(mutant: Mutant, source: Path) -> tuple[int, str]:
    """Return pytest's exit status and its output, with `source` in place of the package."""
    environment = os.environ | {
        "PYTHONPATH": str(source),
        "PYTHONDONTWRITEBYTECODE": "1",
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "HANDGRAD_KERNELS": "reference",  # which the mutants are in
        "COLUMNS": "300",
    }
    options = ["-x", "-q", "-p", "no:cacheprovider", "-k", "not live", "--timeout", "60"]
    files = [f"tests/{name}" for name in mutant.tests.split()]
    command = [sys.executable, "-m", "pytest", *options, *files]
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    return done.returncode, done.stdout + done.stderr


def verdict(mutant: Mutant) -> tuple[str, str, float]:
    """Return "caught" or what is wrong, the name of the test that noticed, and the seconds it took."""
    began = time.perf_counter()
    if reason := misfit(mutant):
        return "DOES NOT FIT", reason, 0.0
    with tempfile.TemporaryDirectory() as folder:
        copied = Path(folder) / "handgrad"
        shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__", "_kernels*"))
        if extension := importlib.util.find_spec("handgrad.kernels.cpu._kernels"):
            shutil.copy(str(extension.origin), copied / "kernels" / "cpu")
        Path(folder, "sitecustomize.py").write_text(NO_REDIRECTION, encoding="utf-8")
        path = copied / mutant.file
        path.write_text(path.read_text(encoding="utf-8").replace(mutant.old, mutant.new), encoding="utf-8")
        status, output = run_tests(mutant, Path(folder))
    seconds = time.perf_counter() - began
    failed = [line for line in output.splitlines() if line.startswith("FAILED")]
    test, _, reason = failed[0].removeprefix("FAILED tests/").partition(" - ") if failed else ("", "", "")
    if status == TESTS_FAILED and reason and not reason.startswith(CRASHES):
        return "caught", test, seconds
    if status == 0:
        return "SURVIVED", mutant.tests, seconds
    return "BROKEN", f"status {status}: {reason or output.strip().splitlines()[-1]}", seconds


def main(words: list[str]) -> int:
    """Run all mutants, or those with a word in their name; return the exit status."""
    chosen = [m for m in MUTANTS if not words or any(w in m.name for w in words)]
    began, bad = time.perf_counter(), 0
    print(f"{'mutant':64} {'verdict':12} seconds  by")
    with ThreadPoolExecutor(AT_ONCE) as pool:
        for mutant, (what, by, seconds) in zip(chosen, pool.map(verdict, chosen), strict=True):
            bad += what != "caught"
            print(f"{mutant.name:64} {what:12} {seconds:7.1f}  {by}", flush=True)
    print(f"{len(chosen) - bad} of {len(chosen)} caught in {time.perf_counter() - began:.0f} s")
    return int(bad > 0)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
