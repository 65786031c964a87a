"""Studies with gaps: what their intervals alone would support, and what the verdict holds back.

Each is a study whose truth is known, with cells lost or left out where that flatters the HD arm.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.simulated_studies import (
    BASE,
    N_PILOT,
    PROTOCOL,
    RATES,
    ROBUST,
    Truth,
    at,
    cells_of,
    simulate,
)
from hdsens.analysis import verdict

Gap = Callable[[pd.DataFrame, np.random.Generator], pd.DataFrame]
PARTS = ("C1", "C2", "C3")
BEST = RATES[11]  # where the base has regret 0; at the level below it has 0.02
LOW = np.minimum(BASE, 0.9)
AT_EDGE = Truth(LOW, np.minimum(ROBUST, LOW))  # as robust as can be, but for what a row changes


def one_in_a_hundred(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Cells are missing at random."""
    return cells[rng.random(len(cells)) >= 0.01]


def pilots_fail(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """All pilot cells of the base at its best lr fail, so that another lr is its best."""
    at_best = (cells["role"] == "pilot") & (cells["arm"] == "sgd") & (cells["lr"] == BEST)
    return cells.assign(
        outcome=cells["outcome"].mask(at_best, "failed"),
        train_loss=cells["train_loss"].mask(at_best),
    )


def pilots_diverge(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Each of them diverges with chance one half, though none of the other seeds does."""
    at_best = (cells["role"] == "pilot") & (cells["arm"] == "sgd") & (cells["lr"] == BEST)
    lost = at_best & (rng.random(len(cells)) < 0.5)
    return cells.assign(
        outcome=cells["outcome"].mask(lost, "diverged"), train_loss=cells["train_loss"].mask(lost)
    )


def without(arm: str) -> Gap:
    """This arm was not run at the base's best lr."""
    return lambda cells, rng: cells[~((cells["arm"] == arm) & (cells["lr"] == BEST))]


def complete(cells: pd.DataFrame, rng: np.random.Generator) -> pd.DataFrame:
    """Nothing is lost."""
    return cells


AS_ROBUST = Truth(BASE, ROBUST)
EDGE_OF_C2 = replace(AT_EDGE, zero=0.02)
EDGE_OF_G = replace(AT_EDGE, hd=np.maximum(AT_EDGE.hd, 0.03 - at(10, 0.01)))
WORSE = replace(AT_EDGE, hd=AT_EDGE.hd + at(10, 0.1))
NO_SPREAD = replace(AT_EDGE, hd_diverges=at(10, 0.1), spread=0.0, shared=0.0)

# Name, truth, what is lost, seeds, and the parts that are not true, or just at their edge.
ROWS: tuple[tuple[str, Truth, Gap, int, str], ...] = (
    ("robust", AS_ROBUST, complete, 10, ""),
    ("robust; 1 in 100 cells missing", AS_ROBUST, one_in_a_hundred, 10, ""),
    ("robust; base pilots diverge at its best lr", AS_ROBUST, pilots_diverge, 10, ""),
    ("edge of C1; 1 in 100 cells missing", Truth(LOW, LOW / 2), one_in_a_hundred, 10, "C1"),
    ("edge of C2; base pilots fail at its best lr", EDGE_OF_C2, pilots_fail, 10, "C2"),
    ("edge of C2; base pilots diverge at its best lr", EDGE_OF_C2, pilots_diverge, 10, "C2"),
    ("worse at the best lr; not run there", WORSE, without("sgd_hd"), 10, "C3"),
    ("edge of G; base not run at its best lr", EDGE_OF_G, without("sgd"), 10, "C1"),
    ("1 in 10 diverges at the best lr; no spread", NO_SPREAD, complete, 3, "C1, C3"),
)


def held_back(n_studies: int, rng: np.random.Generator) -> pd.DataFrame:
    """Shares of studies in which C1 to C3 are supported, by the intervals and by the verdict."""
    rows = [
        {"study": name, "n": n, "not true": false, **rates(truth, gap, n_studies, n, rng)}
        for name, truth, gap, n, false in ROWS
    ]
    return pd.DataFrame(rows)


def rates(
    truth: Truth, gap: Gap, n_studies: int, n_seeds: int, rng: np.random.Generator
) -> dict[str, Any]:
    """Support of each part by intervals and by the verdict; studies with something held back."""
    studies, pilot = (simulate(truth, n_studies, n, rng) for n in (n_seeds, N_PILOT))
    found = verdict(gap(cells_of(studies, pilot), rng).reset_index(drop=True), PROTOCOL).parts
    found = found[found["part"].isin(PARTS)]
    held = found["held_back"] != ""
    row: dict[str, Any] = {}
    for part in PARTS:
        own = found["part"] == part
        supported = (found["verdict"] == "supported") & own
        row[f"{part} + by intervals"] = (supported | (held & own)).sum() / n_studies
        row[f"{part} +"] = supported.sum() / n_studies
    row["held back"] = held.groupby(found["task"]).any().mean()
    return row
