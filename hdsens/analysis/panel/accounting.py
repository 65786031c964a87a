"""What a table rests on: how many cells were expected, and what became of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from hdsens.analysis.panel.checks import OUTCOMES, times


@dataclass(frozen=True)
class Accounting:
    """Counts of cells; `used` = completed + diverged, because a diverged cell is a result.

    `used` is also pilot + confirmatory: cells that choose, and cells that judge.
    `source` says where `expected` comes from: "given", "study" (what the study declares) or "seen"
    (points of the grid that occur, times the seeds that occur with their task and role).
    """

    expected: int
    used: int
    completed: int
    diverged: int
    failed: int
    missing: int
    pilot: int
    confirmatory: int
    source: str

    def __str__(self) -> str:
        """One line for a table's foot."""
        return (
            f"{self.expected} cells expected ({self.source}), {self.used} used"
            f" ({self.completed} completed, {self.diverged} diverged; {self.pilot} pilot,"
            f" {self.confirmatory} confirmatory), {self.failed} failed, {self.missing} missing"
        )


def count_cells(cells: pd.DataFrame, expected: int, source: str) -> Accounting:
    """Count the cells of a checked frame; `source` says where `expected` comes from."""
    cells = one_row_a_cell(cells)
    count = cells["outcome"].value_counts().reindex(list(OUTCOMES), fill_value=0)
    completed, diverged, failed = (int(count[outcome]) for outcome in OUTCOMES)
    used = completed + diverged
    pilot = int(((cells["outcome"] != "failed") & (cells["role"] == "pilot")).sum())
    return Accounting(
        expected=expected,
        used=used,
        completed=completed,
        diverged=diverged,
        failed=failed,
        missing=max(expected - used - failed, 0),
        pilot=pilot,
        confirmatory=used - pilot,
        source=source,
    )


def count_what_is_seen(cells: pd.DataFrame, factors: Sequence[str]) -> int:
    """Cells of a full grid: points that occur, times the seeds of their task and role."""
    cells = one_row_a_cell(cells)
    keys = point_keys(cells, factors).assign(role=cells["role"], seed=cells["seed"])
    return sum(
        len(group.drop(columns="seed").drop_duplicates()) * len(set(group["seed"]))
        for _, group in keys.groupby(["task", "role"])
    )


def one_row_a_cell(cells: pd.DataFrame) -> pd.DataFrame:
    """Drop repeated rows of one cell_id: a result is kept before a failure, then the earliest."""
    rows = cells.reset_index(drop=True)
    keys = pd.DataFrame({"failed": rows["outcome"] == "failed"})
    if "finished_at" in rows:
        keys["finished_at"] = times(rows, "finished_at")
    results_first = rows.loc[keys.sort_values([*keys], kind="stable").index]
    repeated = results_first["cell_id"].notna() & results_first["cell_id"].duplicated()
    return rows.drop(index=results_first.index[repeated])


def point_keys(cells: pd.DataFrame, factors: Sequence[str]) -> pd.DataFrame:
    """Task, arm, baseline ("" for a base arm) and factors; levels that are no numbers as text."""
    keys = cells[["task", "arm", "baseline", *factors]].copy()
    keys["baseline"] = keys["baseline"].astype(object).where(keys["baseline"].notna(), "")
    for name in factors:
        if not pd.api.types.is_numeric_dtype(keys[name]):
            keys[name] = keys[name].map(str, na_action="ignore")
    return keys


def attach(
    table: pd.DataFrame, account: Accounting, restrictions: Sequence[str], **labels: Any
) -> pd.DataFrame:
    """Put a table's accounting and named restrictions into `table.attrs` (plain, for files)."""
    table.attrs["accounting"] = asdict(account)
    table.attrs["restrictions"] = list(restrictions)
    table.attrs.update(labels)
    return table
