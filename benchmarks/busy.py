"""Training on a busy machine: its seconds beside processes that compute all the time.

Each run is a process of its own, which trains a network on the digits and measures its training alone.
Numbers of threads take turns. Medians and least times, and the ratio of the medians to that of the first
number of threads beside as many processes.

    python -m benchmarks.busy
    python -m benchmarks.busy --busy 0 2 --repeats 9
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from handgrad.bench import machine

TRAIN = """
import time
import handgrad as hg
from handgrad import data
digits, model = data.digits(), hg.models.small_cnn((8, 8, 1), 10)
trainer = hg.Trainer(model, "cross_entropy", hg.optim.AdamW(4e-3))
trainer.fit(digits.x_train, digits.y_train, batch_size=64)
begun = time.perf_counter()
trainer.fit(digits.x_train, digits.y_train, epochs=4, batch_size=64)
print(time.perf_counter() - begun)
"""


@contextmanager
def busy(processes: int) -> Iterator[None]:
    """Let so many processes compute meanwhile."""
    running = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(processes)]
    try:
        yield
    finally:
        for process in running:
            process.kill()
            process.wait()


def seconds(threads: int) -> float:
    """Return how long training took."""
    environment = os.environ | {"HANDGRAD_THREADS": str(threads), "OPENBLAS_NUM_THREADS": "1"}
    command = [sys.executable, "-c", TRAIN]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--busy", type=int, nargs="+", default=[0, 1, 2], help="numbers of processes")
    parser.add_argument("--threads", type=int, nargs="+", default=[1, machine.usable_threads()])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results"), help="folder of the result")
    options = parser.parse_args()

    rows = []
    print(f"{machine.cpu_name()}\n{'busy':>4} {'threads':>7} {'median s':>9} {'least s':>8} {'by one':>7}")
    for processes in options.busy:
        times: dict[int, list[float]] = {n: [] for n in options.threads}
        with busy(processes):
            for _ in range(options.repeats):
                for n, taken in times.items():
                    taken.append(seconds(n))
        one = statistics.median(times[options.threads[0]])
        for n, taken in times.items():
            median = statistics.median(taken)
            rows.append({"busy": processes, "threads": n, "seconds": taken})
            print(f"{processes:4} {n:7} {median:9.2f} {min(taken):8.2f} {median / one:7.2f}", flush=True)
    options.out.mkdir(parents=True, exist_ok=True)
    path = options.out / "busy.json"
    path.write_text(json.dumps({"cpu": machine.cpu_name(), "rows": rows}, indent=1) + "\n")
    print(path)


if __name__ == "__main__":
    main()
