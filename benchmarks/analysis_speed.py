"""All tables and the verdict for 100,000 cells: seconds and memory.

    python -m benchmarks.analysis_speed

8 tasks, 3 families, lr = 0 and 13 half-decades, 29 levels of hypergrad_lr, 10 seeds of which 3 are
pilot seeds, 5% diverged; traces of 10 recorded steps a cell. Losses are random: only size matters.
"""

from __future__ import annotations

import platform
import resource
import time
from collections.abc import Callable
from typing import Any

import numpy as np
import pandas as pd

from hdsens import analysis

FAMILIES = ("sgd", "sgdn", "adam")
RATES = (0.0, *(float(f"{10**e:.6g}") for e in np.arange(-6, 0.1, 0.5)))
BETAS = tuple(float(f"{10**e:.6g}") for e in np.linspace(-8, -1, 29))
N_TASKS, N_SEEDS, N_PILOT, N_TRACED = 8, 10, 3, 10
PROTOCOL = {
    "pilot_seeds": list(range(N_PILOT)),
    "primary": {f"{family}_hd": {"hypergrad_lr": BETAS[10]} for family in FAMILIES},
}


def cells(n_tasks: int = N_TASKS) -> pd.DataFrame:
    """Random cells, as read_cells gives them."""
    rng = np.random.default_rng(0)
    base = pd.MultiIndex.from_product([range(n_tasks), FAMILIES, [np.nan], RATES, range(N_SEEDS)])
    hd = pd.MultiIndex.from_product([range(n_tasks), FAMILIES, BETAS, RATES, range(N_SEEDS)])
    names = ["task", "arm", "hypergrad_lr", "lr", "seed"]
    frame = pd.concat([index.to_frame(index=False, name=names) for index in (base, hd)])
    frame = frame.reset_index(drop=True)
    is_hd, n = frame["hypergrad_lr"].notna(), len(frame)
    diverged = rng.random(n) < 0.05
    return frame.assign(
        cell_id=[f"{i:064x}" for i in range(n)],
        task="task " + frame["task"].astype(str),
        baseline=frame["arm"].where(is_hd),
        arm=frame["arm"].where(~is_hd, frame["arm"] + "_hd"),
        role=np.where(frame["seed"] < N_PILOT, "pilot", "confirmatory"),
        outcome=np.where(diverged, "diverged", "completed"),
        steps=100,
        steps_run=100,
        initial_loss=2.3,
        train_loss=np.where(diverged, np.nan, rng.uniform(0.3, 2.5, n)),
        steps_to_target=np.where(rng.random(n) < 0.5, rng.integers(1, 100, n), np.nan),
    )


def traces(of: pd.DataFrame) -> pd.DataFrame:
    """Random traces of these cells."""
    step = np.tile(np.arange(1, N_TRACED + 1), len(of))
    lr = np.random.default_rng(1).normal(size=len(step))
    return pd.DataFrame(
        {"cell_id": np.repeat(of["cell_id"].to_numpy(), N_TRACED), "step": step, "lr": lr}
    )


def work(of: pd.DataFrame, recorded: pd.DataFrame) -> dict[str, Callable[[], Any]]:
    """Everything that reads a frame of cells."""
    return {
        "regret_table": lambda: analysis.regret_table(of),
        "sensitivity_table": lambda: analysis.sensitivity_table(of),
        "tunability_curve": lambda: analysis.tunability_curve(of),
        "steps_to_target_table": lambda: analysis.steps_to_target_table(of),
        "importance": lambda: analysis.importance(of),
        "cross_task_table": lambda: analysis.cross_task_table(of),
        "trajectory_table": lambda: analysis.trajectory_table(of, recorded),
        "verdict": lambda: str(analysis.verdict(of, PROTOCOL)),
    }


def main() -> None:
    """Time each."""
    frame = cells()
    recorded = traces(frame)
    print(f"{len(frame)} cells, {N_SEEDS} seeds; Python {platform.python_version()},")
    print(f"pandas {pd.__version__}, numpy {np.__version__}, {platform.machine()}")
    total = 0.0
    for name, run in work(frame, recorded).items():
        start = time.perf_counter()
        run()
        seconds = time.perf_counter() - start
        total += seconds
        print(f"{name:24s}{seconds:7.2f} s")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{'all':24s}{total:7.2f} s, {peak:.0f} MiB at most")


if __name__ == "__main__":
    main()
