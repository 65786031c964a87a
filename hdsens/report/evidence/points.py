"""Rows of a table with one row a point of the grid: those of a family, of a setting, of a cell."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hdsens.analysis.panel.factors import factors_of
from hdsens.analysis.panel.families import Family

METRICS = {
    "train_loss": "training loss",
    "valid_loss": "validation loss",
    "best_valid_loss": "best validation loss",
}
"""Losses that a report can show, in nats, with what they are called there."""


def shown_metrics(cells: pd.DataFrame, judged: str) -> tuple[str, ...]:
    """Losses that every completed cell has, so that they can be compared; the judged one first."""
    completed = cells[cells["outcome"] == "completed"]
    names = dict.fromkeys((judged, *METRICS))
    return tuple(m for m in names if m in cells and completed[m].notna().all())


def family_points(
    points: pd.DataFrame, family: Family, fixed: Mapping[str, Any] | None = None
) -> pd.DataFrame:
    """Rows of a family's arms at the `fixed` levels of other factors, where an arm has them."""
    rows = points[points["arm"].isin(family.arms)]
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


def point_of_cells(cells: pd.DataFrame, points: pd.DataFrame) -> pd.Series[int]:
    """Label of each cell's row in `points`."""
    keys = ["arm", *factors_of(points)]
    labels = dict(zip(map(_key, points[keys].itertuples(index=False)), points.index, strict=True))
    found = [labels[_key(row)] for row in cells[keys].itertuples(index=False)]
    return pd.Series(found, index=cells.index, dtype="int64")


def _key(row: Iterable[Any]) -> tuple[Any, ...]:
    """A row's levels as a key: None for null, text for what is no number, as in the analysis."""
    return tuple(
        None if pd.api.types.is_scalar(v) and pd.isna(v) else v if type(v) is float else str(v)
        for v in row
    )
