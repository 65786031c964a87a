"""What the page needs to show a cell's curves: data for its script, small enough to embed."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pandas as pd
from markupsafe import Markup
from numpy.typing import NDArray

from hdsens.analysis.panel.factors import factors_of
from hdsens.report.drawing.trajectories import until_one_ends
from hdsens.report.evidence.points import point_of_cells
from hdsens.store import Results

MAX_CELLS = 1000
MAX_POINTS = 6000
NUMBERS = 40_000
FEWEST, MOST = 8, 60


def cell_curves(results: Results, points: pd.DataFrame) -> Markup:
    """JSON for a `<script>` element: the study, the points of the grid, and their curves.

    Up to `MAX_CELLS` cells there is a curve a cell; beyond, a curve a point, the median over its
    seeds up to where the first of them ends, and of more than `MAX_POINTS` points an even choice.
    Curves are thinned by step.

    Args:
        results: the study with its cells and traces.
        points: of `point_table`; the keys of "points" are its labels.
    """
    factors = factors_of(points)
    cells = results.cells.reset_index(drop=True)
    cells = cells.assign(point=point_of_cells(cells, points))
    kept = points.index.to_numpy()[_even(len(points), MAX_POINTS)]
    cells = cells[cells["point"].isin(kept)]
    whole = len(cells) <= MAX_CELLS
    curves = _curves(cells, results.traces, "cell_id" if whole else "point")
    content = {
        "study": results.study.model_dump(mode="json", exclude_none=True),
        "points": _points(points.loc[kept], factors),
        "runs": [_run(row) for row in cells.to_dict("records")] if whole else [],
        "curves": curves,
        "by": "cell" if whole else "point",
    }
    text = json.dumps(content, separators=(",", ":"), allow_nan=False)
    return Markup(text.replace("<", "\\u003c"))


def _even(n: int, most: int) -> NDArray[np.int64]:
    """Positions of at most `most` of `n` things, evenly chosen, both ends included."""
    return np.linspace(0, n - 1, min(n, most)).round().astype(np.int64)


def _points(points: pd.DataFrame, factors: list[str]) -> dict[int, Any]:
    """The arm and levels of each point, and the label of its baseline's point if it has one."""
    rows = points[["arm", *factors]].to_dict("records")
    bases = points["base_point"].tolist()
    return {
        int(label): {"arm": row.pop("arm"), "at": {str(k): v for k, v in row.items() if v == v}}
        | ({"base": base} if base >= 0 else {})
        for label, row, base in zip(points.index, rows, bases, strict=True)
    }


def _run(row: dict[Any, Any]) -> dict[str, Any]:
    """What became of one cell."""
    note = row["error"] if row["outcome"] == "failed" else None
    if row["outcome"] == "diverged":
        note = f"at step {row['diverged_step']:.0f}"
    return {
        "id": row["cell_id"],
        "point": int(row["point"]),
        "seed": int(row["seed"]),
        "outcome": row["outcome"],
        "note": note,
        **{name: _short(row[name]) for name in ("train_loss", "valid_loss", "lr_final")},
    }


def _curves(cells: pd.DataFrame, traces: pd.DataFrame, by: str) -> dict[str, Any]:
    """Step, lr and batch loss by cell or point; those with the same steps share them."""
    rows = traces[["cell_id", "step", "lr", "batch_loss"]].merge(
        cells[["cell_id", "point"]], on="cell_id"
    )
    if by == "point":
        rows = until_one_ends(rows, cells, "point")
        rows = rows.groupby(["point", "step"], as_index=False)[["lr", "batch_loss"]].median()
    groups = rows.groupby(by, sort=False)
    length = int(np.clip(NUMBERS // max(groups.ngroups, 1), FEWEST, MOST))
    steps: dict[tuple[int, ...], int] = {}
    curves: dict[str, Any] = {}
    for name, group in groups:
        at = _even(len(group), length)
        step = tuple(int(v) for v in group["step"].to_numpy()[at])
        values = [[_short(v) for v in group[c].to_numpy()[at]] for c in ("lr", "batch_loss")]
        key = str(name) if by == "cell_id" else str(int(str(name)))
        curves[key] = [steps.setdefault(step, len(steps)), *values]
    return {"steps": [list(step) for step in steps], "of": curves}


def _short(value: Any) -> float | None:
    """Four significant digits; None where there is no finite number."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.4g}")
