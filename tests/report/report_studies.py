"""A small study with real dynamics and no torch: noisy quadratic bowls under the paper's rules.

Every cell trains `DIM` parameters of a quadratic loss by SGD, SGDN or Adam, with or without HD, in
plain numpy, so curves, divergence at large lr and lr trajectories look as they do in life.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from hdsens.store import Results
from hdsens.study import Study
from hdsens.study.cells import Cell, expand

DIM, STEPS = 6, 40
CURVATURE = np.geomspace(0.05, 2.0, DIM)
TRAIN_SIZE = 1000


def paper_study(**changes: Any) -> Study:
    """Six arms, lr = 0 and five decades, three hypergrad_lr, three seeds: 216 cells."""
    lr = {"zero": True, "log10": [-4, 1], "per_decade": 1}
    arms = []
    for name, optimizer, settings, levels in (
        ("sgd", "SGD", {}, [1e-4, 1e-2, 1.0]),
        ("sgdn", "SGD", {"momentum": 0.9, "nesterov": True}, [1e-4, 1e-3, 1e-2]),
        ("adam", "Adam", {}, [1e-6, 1e-4, 1e-2]),
    ):
        shared = {"settings": settings, "lr": lr}
        arms.append({"name": name, "optimizer": optimizer, **shared})
        arms.append(
            {
                "name": f"{name}_hd",
                "optimizer": f"{optimizer}HD",
                "baseline": name,
                "hypergrad_lr": levels,
                **shared,
            }
        )
    declared = {
        "name": "bowls",
        "seeds": 3,
        "task": {"model": "bowl", "data": "none", "steps": STEPS},
        "targets": {"low": {"batch_loss": 0.5}},
        "arms": arms,
    }
    return Study.from_dict({**declared, **changes})


def results(
    study: Study, *, failed: Iterable[int] = (), missing: Iterable[int] = (), error: str = "boom"
) -> Results:
    """Train a study; the cells at these positions fail with `error`, or have not run."""
    failed, missing = set(failed), set(missing)
    cells = expand(study, TRAIN_SIZE)
    kept = [(i, cell) for i, cell in enumerate(cells) if i not in missing]
    trained = [(cell, train(study, cell) if i not in failed else None) for i, cell in kept]
    frame = pd.DataFrame([_row(study, cell, run, error) for cell, run in trained])
    traces = [pd.DataFrame(run["trace"]).assign(cell_id=c.cell_id) for c, run in trained if run]
    return Results(
        Path("results/bowls"),
        study,
        as_read(frame, study, len(cells)),
        pd.concat(traces, ignore_index=True) if traces else EMPTY_TRACES,
        (
            {
                "run_id": "r1",
                "started_at": "2026-11-23T10:00:00",
                "torch_version": "none",
                "n_cpus": 2,
            },
        ),
    )


COLUMNS = [
    "cell_id",
    "study",
    "task",
    "arm",
    "baseline",
    "optimizer",
    "lr",
    "hypergrad_lr",
    "seed",
    "role",
    "outcome",
    "error",
    "diverged_step",
    "steps",
    "steps_run",
    "initial_loss",
    "train_loss",
    "valid_loss",
    "valid_accuracy",
    "best_valid_loss",
    "lr_final",
    "lr_max",
    "lr_min",
    "wall_s",
    "pack_size",
    "device",
    "dtype",
    "torch_version",
    "hdsens_version",
]
EMPTY_TRACES = pd.DataFrame(
    columns=[
        "cell_id",
        "step",
        "epoch",
        "lr",
        "batch_loss",
        "train_loss",
        "valid_loss",
        "valid_accuracy",
    ]
)


def as_read(frame: pd.DataFrame, study: Study, expected: int) -> pd.DataFrame:
    """The frame as `read_cells` gives it."""
    factors = list(dict.fromkeys(f for arm in study.arms for f in arm.factor_levels))
    factors = list(dict.fromkeys(["lr", "hypergrad_lr", *factors]))
    frame = frame if len(frame) else pd.DataFrame(columns=COLUMNS)
    frame.attrs = {"factors": factors, "expected": expected}
    return frame


def train(study: Study, cell: Cell) -> dict[str, Any]:
    """One cell in plain numpy: final losses, and the trace of every step."""
    arm = study.arm(cell.arm)
    rng = np.random.default_rng([7, cell.seed])
    x = rng.normal(2.0, 0.2, DIM)
    noise = rng.normal(0.0, 0.05, (cell.steps, DIM))
    lr, beta = float(cell.factors["lr"]), float(cell.factors.get("hypergrad_lr", 0.0))
    state = {"m": np.zeros(DIM), "v": np.zeros(DIM), "u": np.zeros(DIM)}
    initial, trace = loss(x), []
    for step in range(1, cell.steps + 1):
        gradient = CURVATURE * x + noise[step - 1]
        lr += beta * float(gradient @ state["u"])
        batch_loss = loss(x) * math.exp(noise[step - 1][0])
        if not (math.isfinite(batch_loss) and abs(batch_loss) < 1e12 and math.isfinite(lr)):
            return {
                "outcome": "diverged",
                "diverged_step": step,
                "initial": initial,
                "trace": trace,
            }
        trace.append({"step": step, "epoch": step / 8, "lr": lr, "batch_loss": batch_loss})
        state["u"] = direction(arm, state, gradient, step)
        x = x - lr * state["u"]
    trace[-1] |= {"train_loss": loss(x), "valid_loss": loss(x) + 0.02, "valid_accuracy": 0.5}
    return {"outcome": "completed", "initial": initial, "final": loss(x), "trace": trace}


def loss(x: np.ndarray) -> float:
    with np.errstate(over="ignore"):
        return float(0.5 * (CURVATURE * x * x).sum()) + 0.05


def direction(arm: Any, state: dict[str, Any], gradient: np.ndarray, step: int) -> np.ndarray:
    if arm.optimizer.startswith("Adam"):
        state["m"] = 0.9 * state["m"] + 0.1 * gradient
        state["v"] = 0.999 * state["v"] + 0.001 * gradient**2
        second = np.sqrt(state["v"] / (1 - 0.999**step)) + 1e-8
        return state["m"] / (1 - 0.9**step) / second
    if arm.optimizer == "RMSprop":
        state["v"] = 0.99 * state["v"] + 0.01 * gradient**2
        return gradient / (np.sqrt(state["v"]) + 1e-8)
    momentum = arm.settings.get("momentum", 0.0)
    state["v"] = momentum * state["v"] + gradient
    return gradient + momentum * state["v"] if arm.settings.get("nesterov") else state["v"]


def _row(study: Study, cell: Cell, run: dict[str, Any] | None, error: str) -> dict[str, Any]:
    arm = study.arm(cell.arm)
    row: dict[str, Any] = {
        **dict.fromkeys(COLUMNS),
        "cell_id": cell.cell_id,
        "study": study.name,
        "task": study.task.label,
        "arm": cell.arm,
        "baseline": arm.baseline,
        "optimizer": arm.optimizer,
        **cell.factors,
        "hypergrad_lr": cell.factors.get("hypergrad_lr", np.nan),
        "seed": cell.seed,
        "role": cell.role,
        "steps": cell.steps,
        "wall_s": 0.25,
        "pack_size": 1,
        "device": "cpu",
        "dtype": "float32",
        "torch_version": "none",
        "hdsens_version": "0",
        **{f"steps_to_{name}": np.nan for name in study.targets},
    }
    if run is None:
        nothing = dict.fromkeys(("train_loss", "valid_loss", "initial_loss"), np.nan)
        return {**row, **nothing, "outcome": "failed", "error": error}
    final = run.get("final", np.nan)
    lrs = [point["lr"] for point in run["trace"]]
    return {
        **row,
        "outcome": run["outcome"],
        "diverged_step": run.get("diverged_step", np.nan),
        "steps_run": len(lrs),
        "initial_loss": run["initial"],
        "train_loss": final,
        "valid_loss": final + 0.02,
        "valid_accuracy": np.nan if math.isnan(final) else 0.5,
        "best_valid_loss": final + 0.02,
        "lr_final": lrs[-1],
        "lr_max": max(lrs),
        "lr_min": min(lrs),
    }
