"""One row a point of the grid, as the analysis gives it, and the ways a report cuts it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis import regret_table
from hdsens.analysis.panel import build_panel
from hdsens.report.families import Family

METRICS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "best_valid_loss": "best validation loss",
}
"""Losses that a report can show, in nats, with what they are called there."""

EXTRA = ("loss_low", "loss_high", "initial_loss", "n_untrained")


def point_table(cells: pd.DataFrame, metric: str = "train_loss") -> pd.DataFrame:
    """`regret_table` with the columns `EXTRA` more.

    loss_low, loss_high: lowest and highest capped loss of a seed at the point; initial_loss: mean
    loss of the untrained model, all in the metric's units; n_untrained: completed seeds whose loss
    is no better than the untrained model's, where it was capped.
    """
    table = regret_table(cells, metric)
    runs = build_panel(cells, metric).runs
    known = runs.used
    table["loss_low"] = _or_nan(np.where(known, runs.loss, np.inf).min(axis=1))
    table["loss_high"] = _or_nan(np.where(known, runs.loss, -np.inf).max(axis=1))
    table["n_untrained"] = (known & ~runs.diverged & (runs.loss >= runs.initial)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        total = np.where(known, runs.initial, 0.0).sum(axis=1)
        table["initial_loss"] = total / known.sum(axis=1)
    return table


def shown_metrics(cells: pd.DataFrame) -> tuple[str, ...]:
    """Losses that every completed cell has, so that they can be compared."""
    completed = cells[cells["outcome"] == "completed"]
    return tuple(m for m in METRICS if m in cells and completed[m].notna().all())


def family_points(
    points: pd.DataFrame, family: Family, fixed: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Rows of a family's arms at the `fixed` levels of other factors, where an arm has them."""
    rows = points[points["arm"].isin([arm.name for arm in family.arms])]
    for factor, value in (fixed or {}).items():
        rows = rows[rows[factor].isna() | (rows[factor] == value)]
    return rows


def other_settings(points: pd.DataFrame, factors: Sequence[str]) -> list[dict[str, Any]]:
    """Combinations of the factors besides lr and hypergrad_lr that occur; [{}] without any."""
    others = [f for f in factors if f not in ("lr", "hypergrad_lr") and points[f].notna().any()]
    if not others:
        return [{}]
    found = points[others].dropna().drop_duplicates().sort_values(others, kind="stable")
    return [{f: row[f] for f in others} for _, row in found.iterrows()] or [{}]


def factors_of(points: pd.DataFrame) -> list[str]:
    """Names of the factor columns: those between the labels and the counts."""
    return factors_between(points, "baseline", "n_seeds")


def factors_between(frame: pd.DataFrame, before: str, after: str) -> list[str]:
    """Names of the columns between two others; none where there are no columns."""
    columns = [str(column) for column in frame.columns]
    if before not in columns or after not in columns:
        return []
    return columns[columns.index(before) + 1 : columns.index(after)]


def point_of_cells(cells: pd.DataFrame, points: pd.DataFrame) -> pd.Series[int]:
    """Label of each cell's row in `points`."""
    keys = ["arm", *factors_of(points)]
    labels = dict(zip(map(_key, points[keys].itertuples(index=False)), points.index, strict=True))
    found = [labels[_key(row)] for row in cells[keys].itertuples(index=False)]
    return pd.Series(found, index=cells.index, dtype="int64")


def _key(row: Iterable[Any]) -> tuple[Any, ...]:
    """Levels that compare: null is None, and what is no number is text, as the analysis has it."""
    return tuple(
        None if pd.api.types.is_scalar(v) and pd.isna(v) else v if type(v) is float else str(v)
        for v in row
    )


def _or_nan(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    return np.where(np.isfinite(values), values, np.nan)
