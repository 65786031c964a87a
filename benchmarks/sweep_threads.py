"""Packs in parallel, or threads inside a pack? Run ``python -m benchmarks.sweep_threads``.

As many processes as CPUs, each with a pack on one thread, against one pack after the other on as
many threads; the same packs, on the loads of `benchmarks.sweep`, rounds interleaved.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import statistics
import time
from multiprocessing.pool import Pool

import torch

from benchmarks.sweep import LOADS, Load, declare, describe_machine
from hdsens.study.cells import expand
from hdsens.training.check import examples_to_train
from hdsens.training.environment import training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.run import train_fused
from hdsens.training.job import Job

DEVICE = torch.device("cpu")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--loads", nargs="+", default=["logreg", "mlp 2x32", "mlp 2x1000"])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--steps", type=int, default=100)
    arguments = parser.parse_args()
    cpus = os.cpu_count() or 1
    print(describe_machine(DEVICE).replace("one thread", f"{cpus} CPUs"))
    print(f"{'':12}{'packs in parallel':>20}{f'{cpus} threads a pack':>20}{'ratio':>8}   s a cell")
    with multiprocessing.get_context("spawn").Pool(cpus) as pool:
        for load in LOADS:
            if load.name in arguments.loads:
                steps = min(load.steps, arguments.steps)
                compare(pool, load, steps, cpus, arguments.rounds)


def compare(pool: Pool, load: Load, steps: int, cpus: int, rounds: int) -> None:
    parallel, threaded = [], []
    for round_ in range(rounds + 1):
        together = max(pool.map(seconds, [(load, steps, 1)] * cpus, chunksize=1))
        in_turn = sum(pool.apply(seconds, ((load, steps, cpus),)) for _ in range(cpus))
        if round_ > 0:
            parallel.append(together / (cpus * load.n_cells))
            threaded.append(in_turn / (cpus * load.n_cells))
    ratio = statistics.median(b / a for a, b in zip(parallel, threaded, strict=True))
    a, b = statistics.median(parallel), statistics.median(threaded)
    print(f"{load.name:12}{a:20.4f}{b:20.4f}{ratio:8.2f}", flush=True)


def seconds(given: tuple[Load, int, int]) -> float:
    load, steps, threads = given
    study = declare(load, load.n_cells, steps)
    cells = expand(study, examples_to_train(study.task))
    with training_environment(torch.float32, threads):
        job = Job(study, load_examples(study.task, DEVICE), DEVICE)
        job.initial_loss(0)
        started = time.perf_counter()
        train_fused(job, cells)
        return time.perf_counter() - started


if __name__ == "__main__":
    main()
