"""What packs gain for each update rule: seconds a cell of a pack against the plain loop.

Run ``python -m benchmarks.sweep_rules``. Logistic regression on MNIST, 64 cells of one seed,
minibatch 128, one full evaluation at the end, one CPU thread or one GPU. Rounds are interleaved
over all optimizers and both ways; a ratio is the median over rounds of the ratio within a round.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
import torch

from benchmarks.sweep import describe_machine, interleaved, per_cell
from hdsens.study import Study
from hdsens.study.cells import expand
from hdsens.training.check import examples_to_train
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.run import train_fused
from hdsens.training.job import Job
from hdsens.training.plain import train_cells

N_CELLS, N_PLAIN, STEPS = 64, 2, 200
HD = {"hypergrad_lr": 1e-6}
ARMS: dict[str, dict[str, Any]] = {
    "SGD": {"optimizer": "SGD"},
    "SGDHD, multiplicative": {"optimizer": "SGDHD", **HD, "settings": {"rule": "multiplicative"}},
    **{
        name: {"optimizer": name}
        for name in ("Adam", "AdamW", "RMSprop", "Adagrad", "Adamax", "NAdam", "RAdam")
    },
    "AdamHD, decoupled": {
        "optimizer": "AdamHD", **HD, "settings": {"decoupled_weight_decay": True}
    },
}  # fmt: skip


def declare(arm: dict[str, Any]) -> Study:
    levels = [float(x) for x in np.geomspace(1e-5, 1e-1, N_CELLS)]
    task = {"model": "logreg", "data": "mnist", "steps": STEPS, "weight_decay": 1e-4}
    return Study.from_dict(
        {
            "name": "rules",
            "seeds": 1,
            "task": task,
            "trace": {"points": 10, "evaluate": [1.0]},
            "arms": [{"name": "a", "lr": levels, **arm}],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    device = resolve_device(arguments.device)
    print(describe_machine(device))
    with training_environment(torch.float32, 1):
        seconds = interleaved(contenders(device), arguments.rounds)
    print(f"{N_CELLS} cells x {STEPS} steps, {arguments.rounds} rounds\n")
    print("| optimizer | plain, s a cell | pack, s a cell | pack is faster | of SGD's gain |")
    print("|---|---|---|---|---|")
    gains = {
        name: statistics.median(
            a / b for a, b in zip(seconds[name, "plain"], seconds[name, "pack"], strict=True)
        )
        for name in ARMS
    }
    for name, gain in gains.items():
        plain, pack = (statistics.median(seconds[name, way]) for way in ("plain", "pack"))
        print(f"| {name} | {plain:.4f} | {pack:.4f} | {gain:.1f} x | {gain / gains['SGD']:.0%} |")


def contenders(device: torch.device) -> dict[tuple[str, str], Callable[[], float]]:
    made: dict[tuple[str, str], Callable[[], float]] = {}
    for name, arm in ARMS.items():
        study = declare(arm)
        cells = expand(study, examples_to_train(study.task))
        job = Job(study, load_examples(study.task, device), device)
        job.initial_loss(0)
        made[name, "pack"] = partial(per_cell, partial(train_fused, job, cells), N_CELLS, device)
        some = cells[:N_PLAIN]
        made[name, "plain"] = partial(per_cell, partial(_train_alone, job, some), N_PLAIN, device)
    return made


def _train_alone(job: Job, cells: Any) -> None:
    list(train_cells(job, cells))


if __name__ == "__main__":
    main()
