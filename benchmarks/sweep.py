"""Cells per second: packs, the plain loop, Ray Tune with a trial per cell, and JAX.

Run ``python -m benchmarks.sweep`` (JAX joins when it is installed). All contenders train the same
cells of one seed: SGD with Nesterov momentum and hypergradient descent on MNIST, minibatch 128, one
full evaluation at the end, one CPU thread or one GPU. Rounds are interleaved; a ratio is the median
over rounds of the ratio within a round. Ray's number is the time between two trials' ends once its
actor is up, for trials of the plain loop and for trials that read through a ``DataLoader``; JAX's
leaves compilation out and states it apart.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks import sweep_jax, sweep_ray
from hdsens.study import Study
from hdsens.study.cells import Cell, expand
from hdsens.training.check import examples_to_train
from hdsens.training.choosing.choice import choose_packs
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.examples import load_examples
from hdsens.training.fused.products import product
from hdsens.training.fused.run import train_fused
from hdsens.training.job import Job, evaluate
from hdsens.training.plain import PlainRun, train_cells


@dataclass(frozen=True)
class Load:
    """What is trained: a model, its steps a cell, cells for each contender."""

    name: str
    model: str
    settings: dict[str, int]
    steps: int
    n_cells: int
    n_plain: int


LOADS = [
    Load("logreg", "logreg", {}, 422, 64, 2),
    Load("mlp 2x32", "mlp", {"width": 32}, 422, 64, 2),
    Load("mlp 2x1000", "mlp", {"width": 1000}, 20, 4, 1),
    Load("cnn", "cnn", {}, 10, 4, 2),
]


def declare(load: Load, n_cells: int, steps: int | None = None) -> Study:
    levels = [float(x) for x in np.geomspace(1e-5, 1e-1, n_cells)]
    return Study.from_dict(
        {
            "name": "sweep",
            "seeds": 1,
            "task": {
                "model": load.model,
                "model_settings": load.settings,
                "data": "mnist",
                "batch_size": 128,
                "steps": steps or load.steps,
                "weight_decay": 1e-4,
            },
            "trace": {"points": 10, "evaluate": [1.0]},
            "arms": [
                {
                    "name": "sgdn_hd",
                    "optimizer": "SGDHD",
                    "settings": {"momentum": 0.9, "nesterov": True},
                    "lr": levels,
                    "hypergrad_lr": 1e-4,
                }
            ],
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", default="auto")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cells", type=int, help="in a pack; default 64, fewer for large models")
    parser.add_argument("--loads", nargs="+", default=[load.name for load in LOADS])
    parser.add_argument("--ray-trials", type=int, default=8, help="a round; 0 leaves Ray out")
    arguments = parser.parse_args()
    sys.stdout.reconfigure(line_buffering=True)  # type: ignore[union-attr] # it is a file
    device = resolve_device(arguments.device)
    print(describe_machine(device))
    with training_environment(torch.float32, 1):
        peak = matmul_peak(device)
        print(f"matrix product of 1024 x 1024, float32: {peak / 1e9:.0f} GFLOP/s")
        for load in LOADS:
            if load.name in arguments.loads:
                n_cells = arguments.cells or load.n_cells
                measure(load, n_cells, device, arguments.rounds, arguments.ray_trials, peak)


def measure(
    load: Load, n_cells: int, device: torch.device, rounds: int, ray_trials: int, peak: float
) -> None:
    study = declare(load, n_cells)
    cells = expand(study, examples_to_train(study.task))
    job = Job(study, load_examples(study.task, device), device)
    job.initial_loss(0)
    contenders: dict[str, Callable[[], float]] = {
        "pack": lambda: per_cell(lambda: train_fused(job, cells), n_cells, device),
        "plain": lambda: per_cell(
            lambda: list(train_cells(job, cells[: load.n_plain])), load.n_plain, device
        ),
    }
    if ray_trials:
        some = cells[:ray_trials]
        contenders["ray"] = lambda: sweep_ray.seconds_per_cell(study, some, device)
        contenders["ray, loader"] = lambda: sweep_ray.seconds_per_cell(
            study, some, device, sweep_ray.LoaderTrial
        )
    note = ""
    if sweep_jax.AVAILABLE and load.model in ("logreg", "mlp"):
        program, compile_s = sweep_jax.program(job, cells)
        contenders["jax"] = lambda: program() / n_cells
        note = f"; JAX compiles in {compile_s:.1f} s"
    chosen = choose_packs(study, cells, str(device), 1, None, "auto")[0]
    seconds = interleaved(contenders, rounds)
    flops = flops_per_cell(job, cells[0], load.steps)
    print(f"\n{load.name}: {n_cells} cells x {load.steps} steps, {rounds} rounds{note}")
    print(f"measured choice: {chosen.path}, packs of {len(chosen.cells)}")
    print(f"{'':12}{'s a cell':>10}{'range':>18}{'pack is faster':>16}{'of peak':>9}")
    for name, values in seconds.items():
        ratio = statistics.median(a / b for a, b in zip(values, seconds["pack"], strict=True))
        middle = statistics.median(values)
        spread = f"{min(values):.4f}-{max(values):.4f}"
        share = flops / middle / peak
        print(f"{name:12}{middle:10.4f}{spread:>18}{ratio:15.2f}x{share:9.0%}")


def interleaved(contenders: dict[str, Callable[[], float]], rounds: int) -> dict[str, list[float]]:
    """Seconds a cell, one number a round; a first round warms up."""
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(rounds + 1):
        for name, run in contenders.items():
            found = run()
            if round_ > 0:
                seconds[name].append(found)
    return seconds


def per_cell(train: Callable[[], object], n_cells: int, device: torch.device) -> float:
    started = time.perf_counter()
    train()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return (time.perf_counter() - started) / n_cells


def flops_per_cell(job: Job, cell: Cell, steps: int) -> float:
    """Arithmetic of the matrix products and convolutions of a cell, its evaluation included."""
    run = PlainRun(job, cell, job.fresh_model(cell.seed))
    with FlopCounterMode(display=False) as of_step:
        run.backward(run.batches.at(1))
    with FlopCounterMode(display=False) as of_end:
        evaluate(run.model, job.examples.train, job.loss)
        evaluate(run.model, job.examples.valid, job.loss)
    return float(steps * of_step.get_total_flops() + of_end.get_total_flops())


def matmul_peak(device: torch.device, n: int = 1024) -> float:
    """Operations a second of the best of many matrix products, as packs make them."""
    a, b = torch.randn(n, n, device=device), torch.randn(n, n, device=device)
    seconds = [per_cell(lambda: product(a, b), 1, device) for _ in range(30)]
    return 2 * n**3 / min(seconds)


def describe_machine(device: torch.device) -> str:
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    others: Sequence[str] = [f"torch {torch.__version__}", *sweep_jax.VERSIONS]
    return f"{name}, one {'GPU' if device.type == 'cuda' else 'thread'}, " + ", ".join(others)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    names = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.processor()


if __name__ == "__main__":
    main()
