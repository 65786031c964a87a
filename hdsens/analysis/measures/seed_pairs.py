"""A cell's loss beside its baseline's with the same seed."""

from __future__ import annotations

import numpy as np
import pandas as pd

from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.settings import baseline_rows


def seed_pairs(cells: CellsLike, metric: str) -> pd.DataFrame:
    """One row a cell of a compared arm with its baseline's cell.

    `own` and `base` are capped losses in the metric's units. Columns: arm, factors, seed,
    own, base, `lost`: whether either diverged.
    """
    panel = CheckedCells.of(cells).panel(metric)
    base, runs = baseline_rows(panel), panel.runs
    with_base = np.flatnonzero(base >= 0)
    own, other = runs.loss[with_base], runs.loss[base[with_base]]
    lost = runs.diverged[with_base] | runs.diverged[base[with_base]]
    at, seed = np.nonzero(~np.isnan(own) & ~np.isnan(other))
    rows = panel.points.iloc[with_base[at]][["arm", *panel.factors]].reset_index(drop=True)
    return rows.assign(
        seed=runs.seeds[seed], own=own[at, seed], base=other[at, seed], lost=lost[at, seed]
    )
