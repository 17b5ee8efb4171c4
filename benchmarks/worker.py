"""Contenders in a process of their own, because malloc is tuned, and peak memory counted, by process.

The parent writes a request on a line of standard input, as JSON, and reads the answer from standard output.
"""

from __future__ import annotations

import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import onnx_runtime
from handgrad.bench import machine, pytorch
from handgrad.bench.clock import Step
from handgrad.bench.workloads import WORKLOADS, precisions, step

TUNED = {
    "MALLOC_MMAP_THRESHOLD_": str(1 << 32),
    "MALLOC_TRIM_THRESHOLD_": str(1 << 33),
    "MALLOC_TOP_PAD_": str(1 << 28),
}
"""glibc keeps what was freed and does not ask the system for every large array anew."""


def environment(threads: int, malloc: str) -> dict[str, str]:
    """Return the environment of a worker."""
    names = ("HANDGRAD_THREADS", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
    kept = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return kept | dict.fromkeys(names, str(threads)) | (TUNED if malloc == "tuned" else {})


class WorkerError(Exception):
    """What went wrong in a worker."""


class Worker:
    """A process that does what it is asked."""

    def __init__(self, threads: int, malloc: str = "default") -> None:
        command = [sys.executable, "-m", "benchmarks.worker", str(threads)]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
        self.process = subprocess.Popen(command, env=environment(threads, malloc), **pipes)

    def ask(self, do: str, **arguments: Any) -> Any:
        """Return the answer; raise WorkerError if there is none."""
        try:
            print(json.dumps({"do": do, **arguments}), file=self.process.stdin, flush=True)
            line = self.process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line:
            raise WorkerError(f"the process ended with status {self.process.wait()}")
        answer = json.loads(line)
        if "error" in answer:
            raise WorkerError(answer["error"])
        return answer["result"]

    def __enter__(self) -> Worker:
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(BrokenPipeError):  # of a process that is gone
            self.process.stdin.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()


@dataclass
class Remote:
    """A contender in a worker, with the values of its first steps."""

    worker: Worker
    name: str
    first: np.ndarray

    @classmethod
    def make(cls, worker: Worker, name: str, case: str, precision: str, steps: int) -> Remote:
        """Make it ready and do its first steps; raise WorkerError where it cannot."""
        worker.ask("make", name=name, case=case, precision=precision)
        return cls(worker, name, np.array(worker.ask("values", name=name, steps=steps)))

    def values(self, steps: int) -> np.ndarray:
        return self.first

    def sample(self, steps: int) -> float:
        return self.worker.ask("sample", name=self.name, steps=steps)


def ways(case: str, precision: str, *, compiled: bool = False) -> dict[str, Callable[[], Callable[[], Any]]]:
    """Return who can do a case, by name: handgrad first; each returns a function that does a step."""
    workload = WORKLOADS[case]
    found = {"handgrad": partial(step, workload, precision if precision in precisions() else "float32")}
    found |= pytorch.steps(workload, precision, compiled=compiled)
    if not workload.training and precision == "float32":
        found["onnxruntime"] = partial(onnx_runtime.inference_step, workload)
    return found


class Server:
    """The worker's side: a method for everything that can be asked."""

    def __init__(self) -> None:
        self._steps: dict[str, Step] = {}

    def make(self, name: str, case: str, precision: str) -> None:
        self._steps[name] = Step(name, ways(case, precision, compiled=True)[name]())
        machine.use_threads(machine.usable_threads())

    def load(self, module: str) -> None:
        importlib.import_module(module)

    def values(self, name: str, steps: int) -> list[float]:
        return self._steps[name].values(steps).tolist()

    def sample(self, name: str, steps: int) -> float:
        return self._steps[name].sample(steps)

    def forget(self) -> None:
        self._steps.clear()
        gc.collect()

    def memory(self) -> dict[str, int]:
        """Return the bytes of memory in use now, and the most there ever were."""
        lines = dict(line.split(":", 1) for line in Path("/proc/self/status").read_text().splitlines())
        return {
            name: 1024 * int(lines[f"Vm{key}"].split()[0]) for name, key in (("now", "RSS"), ("peak", "HWM"))
        }


def serve() -> None:
    """Answer requests until there are no more."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what others print is no answer
    server = Server()
    for line in sys.stdin:
        request = json.loads(line)
        try:
            answer = {"result": getattr(server, request.pop("do"))(**request)}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    serve()
