"""Small frames of cells, written out so that a test can show what it rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd

L0 = 2.0


def cell(arm: str, lr: float, seed: int, loss: float | None, **other: Any) -> dict[str, Any]:
    """One row of read_cells; `loss=None` is a diverged cell."""
    given = {
        "task": "toy",
        "arm": arm,
        "baseline": None,
        "optimizer": "SGD",
        "lr": lr,
        "hypergrad_lr": np.nan,
        "seed": seed,
        "role": "confirmatory",
        "outcome": "completed" if loss is not None else "diverged",
        "error": None,
        "diverged_step": np.nan if loss is not None else 3.0,
        "steps": 100,
        "steps_run": 100,
        "initial_loss": L0,
        "train_loss": np.nan if loss is None else loss,
    } | other
    key = [given[k] for k in ("task", "arm", "lr", "hypergrad_lr", "seed")]
    return {"cell_id": "/".join(map(str, key)), "study": "toy", **given}


def frame(cells: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(cells))


def hd_cell(lr: float, seed: int, loss: float | None, beta: float = 1e-3, **other: Any) -> Any:
    return cell("sgd_hd", lr, seed, loss, baseline="sgd", hypergrad_lr=beta, **other)


def small_study() -> pd.DataFrame:
    """Two arms, lr 0, 0.01, 0.1, 1, seeds 0 and 1; pilot seed 100 reaches 0.4 with sgd at 0.1."""
    base = {0.0: (2.0, 2.0), 0.01: (1.6, 1.8), 0.1: (0.4, 0.6), 1.0: (None, 1.2)}
    hd = {0.0: (0.8, 0.6), 0.01: (0.8, 0.4), 0.1: (0.4, 0.4), 1.0: (None, 2.6)}
    rows = [
        cell("sgd", lr, seed, loss) for lr, pair in base.items() for seed, loss in enumerate(pair)
    ]
    rows += [hd_cell(lr, seed, loss) for lr, pair in hd.items() for seed, loss in enumerate(pair)]
    for lr, loss in {0.0: 2.0, 0.01: 1.6, 0.1: 0.4, 1.0: None}.items():
        rows.append(cell("sgd", lr, 100, loss, role="pilot"))
    for lr, loss in {0.0: 0.8, 0.01: 0.6, 0.1: 0.8, 1.0: None}.items():
        rows.append(hd_cell(lr, 100, loss, role="pilot"))
    return frame(rows)
