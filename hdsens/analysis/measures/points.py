"""One row a point of the grid, with what a figure needs beside the regret."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.measures.regret import regret_table
from hdsens.analysis.measures.table import (
    N_DIVERGED,
    N_FAILED,
    N_MISSING,
    N_SEEDS,
    REGRET_MEAN,
    Column,
    MeasureTable,
)
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.settings import baseline_rows

EXTRA = ("loss_low", "loss_high", "initial_loss", "n_untrained", "base_point", "difference")


def point_table(cells: CellsLike, metric: str = "train_loss") -> pd.DataFrame:
    """`regret_table` with the columns `EXTRA` more.

    loss_low, loss_high: lowest and highest capped loss of a seed at the point; initial_loss: mean
    loss of the untrained model, all in the metric's units; n_untrained: completed seeds whose loss
    is no better than the untrained model's, where it was capped; base_point: label of the baseline
    arm's row at the same lr and shared factors, -1 where there is none; difference: mean regret
    minus the baseline's there, null likewise.
    """
    table = regret_table(cells, metric)
    panel = CheckedCells.of(cells).panel(metric)
    runs = panel.runs
    known = runs.used
    table["loss_low"] = _or_nan(np.where(known, runs.loss, np.inf).min(axis=1))
    table["loss_high"] = _or_nan(np.where(known, runs.loss, -np.inf).max(axis=1))
    table["n_untrained"] = (known & ~runs.diverged & (runs.loss >= runs.initial)).sum(axis=1)
    with np.errstate(invalid="ignore"):
        total = np.where(known, runs.initial, 0.0).sum(axis=1)
        table["initial_loss"] = total / known.sum(axis=1)
    base = baseline_rows(panel)
    regret = table["regret_mean"].to_numpy()
    table["base_point"] = base
    table["difference"] = np.where(base >= 0, regret - regret[base], np.nan)
    return table


def _or_nan(values: np.ndarray[Any, np.dtype[np.float64]]) -> np.ndarray[Any, Any]:
    return np.where(np.isfinite(values), values, np.nan)


REGRET = MeasureTable(
    name="regret",
    make=point_table,
    title="Regret at every level",
    caption="Regret, one row a point of the grid",
    columns=(
        REGRET_MEAN,
        Column("regret_median", "median regret"),
        Column("regret_worst", "worst", "highest regret"),
        Column("loss_mean", "mean loss", "nats; a diverged seed counts as untrained", "nats"),
        Column("loss_low", "lowest", "loss of the best seed, nats", "nats"),
        Column("loss_high", "highest", "loss of the worst seed, nats", "nats"),
        N_SEEDS,
        N_DIVERGED,
        N_FAILED,
        N_MISSING,
    ),
    drawn=EXTRA,
)
