"""Where mutants of the compiled kernels are built: a copy of the source, compiled where it changes."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "handgrad"
NO_REDIRECTION = """
import sys  # an editable installation would lead every import to the source as it is
sys.meta_path[:] = [f for f in sys.meta_path if type(f).__name__ != "ScikitBuildRedirectingFinder"]
"""


def copy_package(folder: Path) -> Path:
    """Copy the package without its extension module into a folder to be imported from; return the copy."""
    copied = folder / "handgrad"
    shutil.copytree(SOURCE, copied, ignore=shutil.ignore_patterns("__pycache__", "_kernels*"))
    Path(folder, "sitecustomize.py").write_text(NO_REDIRECTION, encoding="utf-8")
    return copied


class Workplace:
    """A build of some instruction sets, in a folder of its own.

    Parameters
    ----------
    folder : Path
        Empty.
    sets : sequence of str
        Their names.

    Raises
    ------
    RuntimeError
        If the source as it is cannot be built; the message is what the compiler said.
    """

    def __init__(self, folder: Path, sets: Sequence[str]) -> None:
        self.package = folder / "package"
        self._place, self._kept = folder / "place", folder / "kept"
        self._in_package = copy_package(self.package) / "kernels" / "cpu"
        self._place.mkdir()
        shutil.copytree(ROOT / "csrc", self._place / "csrc")
        shutil.copy2(ROOT / "CMakeLists.txt", self._place)
        nanobind = _output(sys.executable, "-m", "nanobind", "--cmake_dir").strip()
        found = [f"-Dnanobind_DIR={nanobind}", f"-DPython_EXECUTABLE={sys.executable}"]
        only = f"-DHANDGRAD_ISA={';'.join(sets)}"
        _output("cmake", "-S", self._place, "-B", self._place / "build", *found, only)
        self._build()
        shutil.copytree(self._place, self._kept)

    def build(self, file: str, old: str, new: str) -> None:
        """Build with a text of one file in place of another; as `Workplace` where that cannot be built."""
        # with the times that files had, so that what the last mutant changed is not compiled again
        shutil.rmtree(self._place)
        shutil.copytree(self._kept, self._place)
        path = self._place / file
        path.write_text(path.read_text(encoding="utf-8").replace(old, new), encoding="utf-8")
        self._build()

    def _build(self) -> None:
        _output("cmake", "--build", self._place / "build")
        (module,) = (self._place / "build").glob("_kernels*")
        shutil.copy2(module, self._in_package)


def _output(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stdout + done.stderr)
    return done.stdout
