"""How the learning rate moved while a cell trained."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import median_interval
from hdsens.analysis.measures.regret import interval_columns, labels, seed_counts, share_columns
from hdsens.analysis.measures.steps import kaplan_meier, median_time
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.checks import check_columns, floats, texts
from hdsens.analysis.panel.panel import Runs
from hdsens.errors import InputError


def trajectory_table(cells: CellsLike, traces: pd.DataFrame) -> pd.DataFrame:
    """Learning-rate trajectories at each point of the factors, over seeds.

    Steps are known as finely as the trace was kept: the first *recorded* step counts.

    Args:
        cells: one row a cell, of `read_cells`.
        traces: one row a recorded step, of `read_traces`; cells without a trace are left out.

    Columns, one row a point:
        task, arm, baseline, factors, n_seeds, n_completed, n_diverged, n_failed, n_missing;
        n_traced: seeds with a trace;
        left_zero: share of traced seeds whose lr was not 0 at some recorded step, with
            Clopper-Pearson `_lower`, `_upper`; null where lr starts above 0;
        steps_to_leave_zero: Kaplan-Meier median step of that (inf: half never did), with its 95%
            interval;
        lr_peak, lr_peak_step: largest recorded absolute lr, and its step; lr_final: last recorded;
        sign_changes: how often lr went from positive to negative or back, zeros passed over.
    The last four are medians over seeds with their order-statistic interval (from 6 seeds on).
    `attrs`: accounting, restrictions.

    Raises:
        InputError: a column is missing or holds what it should not; a cell has no cell_id.
    """
    check_columns(traces, ("cell_id", "step", "lr"), "traces")
    panel = CheckedCells.of(cells).panel(None)
    if "lr" not in panel.factors:
        raise InputError("cells: factors", "must include lr", list(panel.factors))
    measured = _by_cell(panel.runs, traces)
    spread = {name: _spread(panel.runs, values) for name, values in measured.items()}
    traced = ~np.isnan(spread["lr_final"])
    columns: dict[str, Any] = {"n_traced": traced.sum(axis=1)}
    columns |= _leaving_zero(spread, panel.points["lr"].to_numpy(dtype=float) == 0)
    for name in ("lr_peak", "lr_peak_step", "lr_final", "sign_changes"):
        columns |= interval_columns(name, median_interval(spread[name]))
    table = pd.concat([labels(panel), seed_counts(panel), pd.DataFrame(columns)], axis=1)
    return attach(table, panel.account, panel.restrictions)


def _by_cell(runs: Runs, traces: pd.DataFrame) -> dict[str, Floats]:
    """Measures of each cell's trace, each (n_cells,), NaN for a cell without one."""
    of_cells, of_traces = texts(runs.cells, "cell_id"), texts(traces, "cell_id", kind="traces")
    code = pd.Index(of_cells).get_indexer(pd.Index(of_traces))
    step, lr = (floats(traces, name, "traces") for name in ("step", "lr"))
    known = (code >= 0) & ~np.isnan(lr) & ~np.isnan(step)
    code, step, lr = code[known], step[known], lr[known]
    order = np.lexsort((step, code))
    return _measure(code[order], step[order], lr[order], len(runs.cells))


def _measure(code: NDArray[np.int64], step: Floats, lr: Floats, n_cells: int) -> dict[str, Floats]:
    """Measures of the traces of `n_cells` cells; rows are sorted by cell, then by step."""
    peak = np.lexsort((-step, np.abs(lr), code))  # last row of a cell: first of its highest steps
    away = lr != 0
    sign, sign_code = np.sign(lr[away]), code[away]
    changed = (sign[1:] != sign[:-1]) & (sign_code[1:] == sign_code[:-1])
    changes = np.bincount(sign_code[1:][changed], minlength=n_cells).astype(np.float64)
    last_step = _last(code, step, n_cells)
    return {
        "left_zero_step": _last(code[away][::-1], step[away][::-1], n_cells),
        "last_step": last_step,
        "lr_peak": _last(code[peak], lr[peak], n_cells),
        "lr_peak_step": _last(code[peak], step[peak], n_cells),
        "lr_final": _last(code, lr, n_cells),
        "sign_changes": np.where(np.isnan(last_step), np.nan, changes),
    }


def _last(code: NDArray[np.int64], values: Floats, n_cells: int) -> Floats:
    """Value in the last row of each cell, (n_cells,); NaN for a cell without rows."""
    out = np.full(n_cells, np.nan)
    out[code] = values
    return out


def _spread(runs: Runs, values: Floats) -> Floats:
    out = np.full(runs.loss.shape, np.nan)
    out[runs.at] = values
    return np.where(runs.used, out, np.nan)


def _leaving_zero(spread: dict[str, Floats], starts_at_zero: NDArray[np.bool_]) -> dict[str, Any]:
    """Share that left zero and the median step of it, for points with lr = 0 alone."""
    last = np.where(starts_at_zero[:, None], spread["last_step"], np.nan)
    left = ~np.isnan(spread["left_zero_step"]) & ~np.isnan(last)
    km = kaplan_meier(np.where(left, spread["left_zero_step"], last), left)
    n = (~np.isnan(last)).sum(axis=1)
    median, lower, upper = median_time(km)
    return {
        **share_columns("left_zero", np.where(np.isnan(last), np.nan, left)),
        "steps_to_leave_zero": np.where(n > 0, median, np.nan),
        "steps_to_leave_zero_lower": np.where(n > 1, lower, np.nan),
        "steps_to_leave_zero_upper": np.where(n > 1, upper, np.nan),
    }
