"""How much an arm depends on one factor, usually lr: R, W, G and LR sensitivity."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.cross_task import cross_task_rows
from hdsens.analysis.measures.intervals import Interval, clopper_pearson, mean_interval
from hdsens.analysis.measures.regret import (
    interval_columns,
    panel_regret,
    reference_loss,
    reference_restrictions,
    with_bounds,
)
from hdsens.analysis.measures.table import (
    N_CELLS,
    N_DIVERGED,
    N_FAILED,
    N_MISSING,
    N_SEEDS,
    REGRET_MEAN,
    Column,
    MeasureTable,
)
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.panel import Panel
from hdsens.analysis.panel.settings import (
    Setting,
    baselines,
    decades_within,
    levels_per_decade,
    name_of,
    settings,
)

ACROSS_TASKS = [
    "arm",
    *with_bounds("cross_task_sensitivity"),
    *with_bounds("effective_dimensionality"),
]


def sensitivity_table(
    cells: CellsLike, metric: str = "train_loss", factor: str = "lr"
) -> pd.DataFrame:
    """Sensitivity of each arm to one factor, at each point of its other factors.

    Regret r is relative to the family (see `regret_table`). Levels are those of `factor` except
    zero, which is a stratum of its own; they count alike, so let them be equally spaced in log. A
    seed counts in a mean over levels only if it has a result at each of them.

    Columns, one row a setting (task, arm, baseline, other factors):
        n_levels, n_seeds (with all levels), n_cells, n_diverged, n_failed, n_missing (lr = 0 in);
        regret_mean: R, mean r over the levels; regret_below, regret_above: over the levels below
            and above the baseline's best one (null where there are none);
        regret_zero: r at zero;
        regret_median, regret_worst: over the levels' mean r;
        decades_within_5pct: W, decades with mean r <= 0.05; levels_per_decade;
        best_level: level with the lowest mean loss on the pilot seeds;
        gap_at_best: G, r at the own best level minus the baseline's r at its best, paired by seed
            (null for a base arm);
        lr_sensitivity: E[min(L, L0) − L*] with the setting's own best L* (Wortsman et al. 2023,
            arXiv 2309.14322), in the metric's units; 0 for an arm that fails everywhere, so read
            it beside excess_loss: the same with the family's L*;
        divergence_rate: share of cells that diverged, lr = 0 in. Its Clopper-Pearson interval
            counts seeds, not cells, because cells of a seed are not independent.
        with several tasks, cross_task_sensitivity and effective_dimensionality of the arm
            (Adkins et al. 2024; see `cross_task_table`), with bootstrap bounds.
    Means carry `_lower`, `_upper`: 95%, Student t over seeds; none for a single seed.

    `attrs`: accounting, restrictions, factor, metric.

    Raises:
        InputError: as `regret_table`; `factor` is no factor of the frame.
    """
    panel = CheckedCells.of(cells).panel(metric)
    found = settings(panel, factor)
    regret = panel_regret(panel, "family")
    excess = panel.runs.loss - reference_loss(panel, "family")[:, None]
    rows = [
        _labels(setting, panel, factor)
        | _counts(setting, panel)
        | _regret_over_levels(setting, base, panel, regret)
        | _loss_over_levels(setting, panel, excess)
        | _divergence(setting, panel)
        for setting, base in zip(found, baselines(found), strict=True)
    ]
    notes = [
        *panel.restrictions,
        *reference_restrictions(panel, reference_loss(panel, "family")),
        *level_restrictions(found, panel, factor),
        *_uncommon(found),
        *_unpaired(found, panel, regret),
    ]
    table = pd.DataFrame(rows)
    if len(set(panel.points["task"])) > 1:
        across, left_out = cross_task_rows(panel, np.random.default_rng(0))
        notes += left_out
        table = table.merge(pd.DataFrame(across, columns=ACROSS_TASKS), on="arm", how="left")
    return attach(table, panel.account, notes, factor=factor, metric=metric)


def best_row(setting: Setting, panel: Panel) -> int | None:
    """Point of the level (zero left out) with the lowest mean loss on the choosing seeds."""
    mean = panel.pilot_mean[setting.rows]
    return None if np.isnan(mean).all() else int(setting.rows[np.nanargmin(mean)])


def level_restrictions(found: Sequence[Setting], panel: Panel, factor: str) -> Iterable[str]:
    """Name settings whose levels are unequally spaced, and seeds left out for a missing cell."""
    uneven = sum(s.rows.size > 1 and np.isnan(levels_per_decade(s.levels)) for s in found)
    if uneven:
        yield f"{uneven} settings: {factor} is not equally spaced in log10; decades are not given"
    lost = sum(int(_incomplete(panel.runs.loss[s.rows]).sum()) for s in found)
    if lost:
        yield f"{lost} seeds left out of means over {factor}: not every level has a result"


def _uncommon(found: Sequence[Setting]) -> Iterable[str]:
    """Name settings that were run at other levels than their baseline."""
    for setting, base in zip(found, baselines(found), strict=True):
        if base is not None and set(setting.levels) != set(base.levels):
            yield f"{name_of(setting)}: other levels than {base.arm}; each mean is over its own"


def _unpaired(found: Sequence[Setting], panel: Panel, regret: Floats) -> Iterable[str]:
    """Name settings whose gap to the baseline lacks seeds."""
    for setting, base in zip(found, baselines(found), strict=True):
        if base is None or base is setting:
            continue
        best = [best_row(s, panel) for s in (setting, base)]
        rows = [row for row in best if row is not None]
        run = int(panel.runs.expected[rows].any(axis=0).sum())
        paired = int((~np.isnan(regret[rows])).all(axis=0).sum())
        if paired < run:
            yield f"{name_of(setting)}: gap_at_best pairs {paired} of {run} seeds"


def _incomplete(loss: Floats) -> Floats:
    """Seeds (n_levels, n_seeds -> n_seeds) with a result at some level but not at all."""
    known = ~np.isnan(loss)
    return np.asarray(known.any(axis=0) & ~known.all(axis=0), dtype=np.float64)


def _all_rows(setting: Setting) -> list[int]:
    return [*setting.rows, *([] if setting.zero_row is None else [setting.zero_row])]


def _labels(setting: Setting, panel: Panel, factor: str) -> dict[str, Any]:
    others = {name: setting.fixed.get(name, np.nan) for name in panel.factors if name != factor}
    return {
        "task": setting.task,
        "arm": setting.arm,
        "baseline": setting.baseline or None,
        **others,
    }


def _counts(setting: Setting, panel: Panel) -> dict[str, Any]:
    rows, runs = _all_rows(setting), panel.runs
    return {
        "n_levels": setting.rows.size,
        "n_seeds": int(runs.used[setting.rows].all(axis=0).sum()),
        "n_cells": int(runs.used[rows].sum()),
        "n_diverged": int(runs.diverged[rows].sum()),
        "n_failed": int(runs.failed[rows].sum()),
        "n_missing": int(runs.missing[rows].sum()),
    }


def _regret_over_levels(
    setting: Setting, base: Setting | None, panel: Panel, regret: Floats
) -> dict[str, Any]:
    r = regret[setting.rows]
    level_mean = mean_interval(r).estimate
    base_best = None if base is None else best_row(base, panel)
    pivot = np.nan if base is None or base_best is None else base.levels[base.rows == base_best][0]
    below, above = setting.levels < pivot, setting.levels > pivot
    own_best = best_row(setting, panel)
    return {
        **interval_columns("regret_mean", mean_over_levels(r)),
        **interval_columns("regret_below", mean_over_levels(r[below])),
        **interval_columns("regret_above", mean_over_levels(r[above])),
        **interval_columns("regret_zero", _at(setting.zero_row, regret)),
        "regret_median": np.median(level_mean) if level_mean.size else np.nan,
        "regret_worst": level_mean.max(initial=-np.inf) if level_mean.size else np.nan,
        "decades_within_5pct": decades_within(level_mean, setting.levels),
        "levels_per_decade": levels_per_decade(setting.levels),
        "best_level": np.nan if own_best is None else setting.levels[setting.rows == own_best][0],
        **interval_columns("gap_at_best", _gap(setting, own_best, base_best, regret)),
    }


def mean_over_levels(values: Floats) -> Interval:
    """Mean over levels, then its t interval over seeds; (n_levels, n_seeds).

    A seed counts only with a value at every level. No levels give NaN.
    """
    if not len(values):
        return mean_interval(np.full(values.shape[-1], np.nan))
    return mean_interval(values.mean(axis=0))


def _at(row: int | None, values: Floats) -> Interval:
    return mean_interval(values[row] if row is not None else np.full(values.shape[1], np.nan))


def _gap(setting: Setting, own: int | None, base: int | None, regret: Floats) -> Interval:
    if not setting.baseline or own is None or base is None:
        return _at(None, regret)
    return mean_interval(regret[own] - regret[base])


def _loss_over_levels(setting: Setting, panel: Panel, excess: Floats) -> dict[str, Any]:
    best = best_row(setting, panel)
    own_best = np.nan if best is None else panel.pilot_mean[best]
    return {
        **interval_columns(
            "lr_sensitivity", mean_over_levels(panel.runs.loss[setting.rows] - own_best)
        ),
        **interval_columns("excess_loss", mean_over_levels(excess[setting.rows])),
    }


def _divergence(setting: Setting, panel: Panel) -> dict[str, Any]:
    rows = _all_rows(setting)
    used = panel.runs.used[rows]
    n_cells, n_seeds = used.sum(), int(used.any(axis=0).sum())
    rate = panel.runs.diverged[rows].sum() / n_cells if n_cells else np.nan
    lower, upper = clopper_pearson(rate * n_seeds, n_seeds if n_seeds > 1 else 0)
    return {
        "divergence_rate": rate,
        "divergence_rate_lower": float(lower),
        "divergence_rate_upper": float(upper),
    }


SENSITIVITY = MeasureTable(
    name="sensitivity",
    make=sensitivity_table,
    title="Sensitivity to lr",
    caption="Sensitivity to lr, one row a setting",
    columns=(
        REGRET_MEAN,
        Column(
            "regret_below", "below best lr", "mean regret over levels below the base arm's best lr"
        ),
        Column(
            "regret_above", "above best lr", "mean regret over levels above the base arm's best lr"
        ),
        Column("regret_zero", "at lr = 0", "mean regret at lr = 0"),
        Column(
            "gap_at_best",
            "gap at best lr",
            "regret at its best lr minus the base arm's at its best",
        ),
        Column("best_level", "best lr", "nonzero level with the lowest mean loss", "level"),
        Column(
            "decades_within_5pct",
            "good decades",
            "decades of lr whose mean regret is at most 0.05",
        ),
        Column(
            "lr_sensitivity",
            "lr sensitivity",
            "mean loss above the arm's own best, in nats",
            "nats",
        ),
        N_SEEDS,
        N_CELLS,
        N_DIVERGED,
        N_FAILED,
        N_MISSING,
    ),
)
