"""Does a pack's time a cell stay flat, and its memory linear, as packs and studies grow?

Run ``python -m benchmarks.growth``. Each pack size runs in a process of its own, so that its peak
memory is its own; a study is run whole, with its store and report, on scikit-learn's digits.
"""

from __future__ import annotations

import argparse
import multiprocessing
import resource
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from benchmarks.sweep import LOADS, declare, describe_machine, per_cell
from hdsens import Study, run
from hdsens.launch import Resources
from hdsens.study.cells import Cell, expand
from hdsens.training.check import examples_to_train
from hdsens.training.environment import resolve_device
from hdsens.training.examples import load_examples
from hdsens.training.pack import PackTraining

STEPS = 100


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--sizes", type=int, nargs="+", default=[2**k for k in range(6, 13)])
    parser.add_argument("--studies", type=int, nargs="*", default=[100, 1_000, 10_000])
    arguments = parser.parse_args()
    print(describe_machine(resolve_device(arguments.device)))
    print(f"\nlogreg on mnist, {STEPS} steps and one evaluation a cell")
    print(f"{'cells':>8}{'ms a cell':>12}{'peak MiB':>12}")
    for size in arguments.sizes:
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            seconds, peak = pool.apply(measure_pack, (size, arguments.device))
        print(f"{size:8}{seconds * 1e3:12.2f}{peak / 2**20:12.0f}", flush=True)
    print("\nlogreg on digits, 50 steps a cell, inline, store and report included")
    print(f"{'cells':>8}{'ms a cell':>12}")
    for n_cells in arguments.studies:
        print(f"{n_cells:8}{measure_study(n_cells, arguments.device) * 1e3:12.2f}", flush=True)


def measure_pack(n_cells: int, device_name: str) -> tuple[float, float]:
    """Seconds a cell, the better of two, and the process's peak memory in bytes."""
    device = resolve_device(device_name)
    study = declare(LOADS[0], n_cells, steps=STEPS)
    cells = expand(study, examples_to_train(study.task))
    load_examples(study.task, device)
    found = [per_cell(lambda: train(study, cells, device_name), n_cells, device) for _ in range(2)]
    if device.type == "cuda":
        return min(found), float(torch.cuda.max_memory_allocated(device))
    return min(found), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024.0


def train(study: Study, cells: Sequence[Cell], device: str) -> None:
    """The cells as one pack, as a worker trains it."""
    records = list(PackTraining(study, cells, device, path="fused"))
    assert all(record.outcome == "completed" for record in records)


def measure_study(n_cells: int, device: str) -> float:
    """Seconds a cell of a whole study of ten seeds."""
    levels = [1e-4 * 1.01**i for i in range(n_cells // 10)]
    study = Study.from_dict(
        {
            "name": "growth",
            "seeds": 10,
            "task": {"model": "logreg", "data": "digits", "steps": 50},
            "arms": [{"name": "sgd", "optimizer": "SGD", "lr": levels}],
        }
    )
    started = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        run(study, Path(folder) / "out", executor="inline", resources=Resources(device))
    return (time.perf_counter() - started) / n_cells


if __name__ == "__main__":
    main()
