"""What handgrad and PyTorch take besides time: memory of a training step, time to import, size installed.

    python -m pip install torch==2.13.0
    python -m benchmarks.footprint

Memory is the most that a process of its own ever held while it did three training steps, and what they added
to what it held when the program had been imported. Import time is over that of NumPy, the least of several
processes. The installed size is that of a package's own files, and with everything it depends on.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

import handgrad
from benchmarks.worker import Worker, ways
from handgrad.bench import machine
from handgrad.bench.compare import program
from handgrad.bench.workloads import WORKLOADS

MIB = 1 << 20


def memory(cases: list[str], threads: int) -> Iterator[dict[str, Any]]:
    for case in cases:
        for name in ways(case, "float32"):
            with Worker(threads) as worker:
                worker.ask("load", module=program(name))
                before = worker.ask("memory")["now"]
                worker.ask("make", name=name, case=case, precision="float32")
                worker.ask("values", name=name, steps=3)
                peak = worker.ask("memory")["peak"]
            yield {"case": case, "name": name, "before": before, "peak": peak}


def import_seconds(module: str, times: int) -> float:
    """Return how much longer importing a module takes than NumPy alone."""
    code = "import time; begun = time.perf_counter(); import {}; print(time.perf_counter() - begun)"

    def least(what: str) -> float:
        command = [sys.executable, "-c", code.format(what)]
        runs = (subprocess.run(command, capture_output=True, text=True, check=True) for _ in range(times))
        return min(float(run.stdout) for run in runs)

    return least(f"numpy, {module}") - least("numpy")


def requirements(name: str, seen: set[str]) -> set[str]:
    """Return the names of a distribution and all it depends on, those of extras left out."""
    try:
        needed = metadata.requires(name) or []
    except metadata.PackageNotFoundError:  # needed on other systems only
        return seen
    seen.add(name)
    for line in needed:
        other = re.match(r"[\w.-]+", line)[0].lower().replace("_", "-")
        if "extra ==" not in line and other not in seen:
            requirements(other, seen)
    return seen


def size(name: str) -> int:
    """Return the bytes of a distribution's files; of handgrad those of the package in use."""
    if name == "handgrad":
        files = Path(handgrad.__file__).parent.rglob("*")
        return sum(f.stat().st_size for f in files if f.is_file() and "__pycache__" not in f.parts)
    paths = (file.locate() for file in metadata.files(name) or ())
    return sum(p.stat().st_size for p in paths if p.is_file() and "__pycache__" not in p.parts)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    training = [name for name, w in WORKLOADS.items() if w.training]
    parser.add_argument("--cases", nargs="+", choices=training, default=training, metavar="CASE")
    parser.add_argument("--threads", type=int, default=machine.usable_threads())
    parser.add_argument("--times", type=int, default=5, help="how often modules are imported")
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the results")
    options = parser.parse_args()

    report: dict[str, Any] = {"memory": [], "import": {}, "installed": {}}
    print(f"{'training step':24} {'peak MiB':>9} {'added MiB':>9}")
    for row in memory(options.cases, options.threads):
        report["memory"].append(row)
        added = (row["peak"] - row["before"]) / MIB
        print(f"{row['case']:24} {row['peak'] / MIB:9.0f} {added:9.0f}  {row['name']}", flush=True)
    print(f"\n{'':24} {'import s':>9} {'own MiB':>9} {'all MiB':>9}")
    for name in ("handgrad", "torch"):
        seconds = import_seconds(name, options.times)
        own, whole = size(name), sum(map(size, requirements(name, set())))
        report["import"][name], report["installed"][name] = seconds, {"own": own, "with_requirements": whole}
        print(f"{name:24} {seconds:9.3f} {own / MIB:9.1f} {whole / MIB:9.1f}")
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "footprint.json"
    path.write_text(json.dumps(report, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
