"""What it costs to submit a pack to an open executor, and whether each one is stored once.

    python -m benchmarks.launch                      # overheads of five-step cells, interleaved
    python -m benchmarks.launch --feed OUT --packs 200
    python -m benchmarks.launch --feed OUT --packs 200 --kill-every 5

The overhead of a submission is the time from `submit` until the pack is given back as finished,
less the training itself (`wall_s` of its cell, measured where it trained). The first submission,
which starts a worker and loads the data, is stated apart.

With `--feed` packs of one cell each are submitted one by one while others train; called again it
submits those that the store lacks. With `--kill-every` a worker is killed every so many packs.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import ray
import torch

import hdsens
from benchmarks.faults import KILLED, kill_worker
from hdsens import Study, read_cells
from hdsens.launch import Resources, Safeguards
from hdsens.launch.executor import Executor, Means
from hdsens.launch.interrupts import Interrupts
from hdsens.launch.opening import EXECUTORS, open_executor
from hdsens.store import Store
from hdsens.study.cells import Cell, make_cell
from hdsens.study.packs import make_pack
from hdsens.training.check import examples_to_train

STEPS = 5
IN_FLIGHT = 6
"""Packs that train or wait when the next one is submitted."""


def declare(steps: int) -> Study:
    return Study.from_dict(
        {
            "name": "launch",
            "seeds": 1,
            "task": {"model": "logreg", "data": "digits", "steps": steps},
            "trace": {"points": 4, "evaluate": [1.0]},
            "arms": [{"name": "sgd", "optimizer": "SGD", "lr": [0.1]}],
        }
    )


def cells_of(study: Study, n: int) -> list[Cell]:
    """Made one by one; all but the first lie beside the study's grid."""
    train_size = examples_to_train(study.task)
    return [make_cell(study, "sgd", {"lr": 0.1 / (1 + i)}, 0, train_size) for i in range(n)]


@contextmanager
def opened(name: str, study: Study, out: Path) -> Iterator[Executor]:
    store = Store(out)
    store.begin(study, examples_to_train(study.task))
    with Interrupts() as interrupts:
        means = Means(study, store, Resources("cpu"), Safeguards(max_failures=20), interrupts)
        with open_executor(name, means) as executor:
            yield executor


def overheads(n: int) -> None:
    """Print seconds a submission beside training, of both executors in turns."""
    study = declare(STEPS)
    cells = cells_of(study, n)
    took: dict[str, list[float]] = {name: [] for name in EXECUTORS}
    opening: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        with ExitStack() as stack:
            executors = {}
            for name in EXECUTORS:
                began = time.perf_counter()
                executors[name] = stack.enter_context(opened(name, study, Path(folder) / name))
                opening[name] = time.perf_counter() - began
            for cell in cells:
                for name, executor in executors.items():
                    began = time.perf_counter()
                    executor.submit(make_pack([cell]))
                    for _ in executor.finished():
                        took[name].append(time.perf_counter() - began)
        training = {name: _training_s(Path(folder) / name, cells) for name in EXECUTORS}
    print(f"a cell of {STEPS} steps, {n} submissions to each executor, one at a time, in turns\n")
    print(
        "| executor | opening | first submission | later ones: median | 90% | largest | training |"
    )
    print("|---|---|---|---|---|---|---|")
    for name in EXECUTORS:
        beside = [a - b for a, b in zip(took[name], training[name], strict=True)]
        later = sorted(beside[1:])
        numbers = (statistics.median(later), later[int(0.9 * len(later))], later[-1])
        print(
            f"| {name} | {opening[name]:.1f} s | {beside[0]:.1f} s | "
            + " | ".join(f"{1e3 * x:.1f} ms" for x in numbers)
            + f" | {1e3 * statistics.median(training[name]):.1f} ms |"
        )


def _training_s(out: Path, cells: Sequence[Cell]) -> list[float]:
    rows = read_cells(out, all=True).set_index("cell_id")
    return [float(rows.at[cell.cell_id, "wall_s"]) for cell in cells]


def feed(out: Path, name: str, n: int, steps: int, kill_every: int) -> None:
    """Submit what the store lacks of `n` packs, one by one, while others train."""
    study, rng = declare(steps), random.Random(0)
    cells = cells_of(study, n)
    found = Store(out).outcomes() if out.exists() else {}
    waiting = iter([cell for cell in cells if cell.cell_id not in found])
    with opened(name, study, out) as executor:
        for cell in itertools.islice(waiting, IN_FLIGHT):
            executor.submit(make_pack([cell]))
        for number, _ in enumerate(executor.finished(), 1):
            for cell in itertools.islice(waiting, 1):
                executor.submit(make_pack([cell]))
            if kill_every and number % kill_every == 0 and kill_worker(os.getpid(), rng):
                print(KILLED, file=sys.stderr)
    rows = read_cells(out, all=True)
    completed = rows["cell_id"][rows["outcome"] == "completed"]
    print(f"{n} packs fed to {name}: {completed.nunique()} completed, {len(completed)} rows")
    if not len(completed) == completed.nunique() == n:
        sys.exit(1)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--submissions", type=int, default=50)
    parser.add_argument("--feed", type=Path, metavar="OUT")
    parser.add_argument("--executor", default="ray", choices=EXECUTORS)
    parser.add_argument("--packs", type=int, default=200)
    parser.add_argument("--steps", type=int, default=100, help="of a cell that is fed")
    parser.add_argument("--kill-every", type=int, default=0, metavar="PACKS")
    asked = parser.parse_args()
    if asked.feed:
        feed(asked.feed, asked.executor, asked.packs, asked.steps, asked.kill_every)
        return
    print(f"hdsens {hdsens.__version__}, Python {platform.python_version()}", end=", ")
    print(f"torch {torch.__version__}, ray {ray.__version__}", end=", ")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} CPUs")
    print(f"load average before: {os.getloadavg()[0]:.1f}")
    overheads(asked.submissions)


if __name__ == "__main__":
    main()
