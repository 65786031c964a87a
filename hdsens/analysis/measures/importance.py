"""Which factor matters: exact variance shares of a full grid."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import mean_interval
from hdsens.analysis.measures.regret import interval_columns, panel_regret, with_bounds
from hdsens.analysis.measures.table import MeasureTable
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.checks import LEARNING_RATES
from hdsens.analysis.panel.panel import Panel

COLUMNS = [
    *("task", "arm", "baseline", "term"),
    *with_bounds("share"),
    *("variance", "n_points", "n_seeds"),
]


def variance_shares(grid: Floats, n_factors: int) -> tuple[dict[tuple[int, ...], Floats], Floats]:
    """Functional ANOVA of a full grid, exact: the variance of each main effect and interaction.

    Levels count alike, so the shares are those of one draw from the grid (Hutter et al. 2014 with
    the grid itself in place of a forest; Sobol' 1993).

    Args:
        grid: (..., n_levels of factor 1, …, n_levels of factor `n_factors`).
        n_factors: how many of the last axes are factors.

    Returns:
        Shares by the numbers of the factors involved, each (...), summing to 1 (NaN where nothing
        varies), and the variance over the grid, (...).

    >>> shares, variance = variance_shares(np.array([[1.0, 1.0], [3.0, 3.0]]), 2)
    >>> {term: float(share) for term, share in shares.items()}, float(variance)
    ({(0,): 1.0, (1,): 0.0, (0, 1): 0.0}, 1.0)
    """
    axes = tuple(range(-n_factors, 0))
    total = grid.var(axis=axes)
    effects: dict[tuple[int, ...], Floats] = {(): grid.mean(axis=axes, keepdims=True)}
    shares: dict[tuple[int, ...], Floats] = {}
    for size in range(1, n_factors + 1):
        for term in combinations(range(n_factors), size):
            others = tuple(axis for i, axis in enumerate(axes) if i not in term)
            mean = grid.mean(axis=others, keepdims=True) if others else grid
            lower = [effect for part, effect in effects.items() if set(part) < set(term)]
            effects[term] = mean - sum(lower)
            with np.errstate(divide="ignore", invalid="ignore"):
                variance = (effects[term] ** 2).mean(axis=axes)
                shares[term] = np.where(total > 0, variance / total, np.nan)
    return shares, np.asarray(total)


def importance(cells: CellsLike, metric: str = "train_loss") -> pd.DataFrame:
    """Share of the variance of regret that each factor and interaction explains, for each arm.

    Over the arm's full grid of nonzero learning rates (lr = 0 and hypergrad_lr = 0 are strata of
    their own), computed for each seed: a seed's own noise counts as interaction. Factors with a
    single level have no share. An arm whose grid has holes is left out, and named.

    Columns, one row an arm and term:
        task, arm, baseline, term ("lr", "hypergrad_lr", "lr x hypergrad_lr", …);
        share: mean over seeds, with `_lower`, `_upper` (95%, Student t); an arm's shares sum to 1;
        variance: of regret over the grid, mean over seeds: shares of nearly nothing mean nothing;
        n_points, n_seeds (with every point of the grid).
    `attrs`: accounting, restrictions, metric.

    Raises:
        InputError: as `regret_table`.
    """
    panel = CheckedCells.of(cells).panel(metric)
    regret = panel_regret(panel, "family")
    rows: list[dict[str, Any]] = []
    notes = list(panel.restrictions)
    for (task, arm, baseline), group in _nonzero(panel).groupby(["task", "arm", "baseline"]):
        levels = group[[*panel.factors]].nunique()
        varied = [name for name in panel.factors if levels[name] > 1]
        if len(group) != levels[varied].prod():
            notes.append(f"{arm} on {task}: left out, its grid has holes")
        elif varied:
            labels = {"task": task, "arm": arm, "baseline": baseline or None}
            rows += [labels | row for row in _terms(group, varied, regret)]
    return attach(pd.DataFrame(rows, columns=COLUMNS), panel.account, notes, metric=metric)


def _nonzero(panel: Panel) -> pd.DataFrame:
    rates = [name for name in LEARNING_RATES if name in panel.points]
    return panel.points[~(panel.points[rates] == 0).any(axis=1)]


def _terms(group: pd.DataFrame, varied: Sequence[str], regret: Floats) -> list[dict[str, Any]]:
    ordered = group.sort_values([*varied])
    shape = [int(group[name].nunique()) for name in varied]
    values = regret[ordered.index]
    grid = values[:, ~np.isnan(values).any(axis=0)].T.reshape(-1, *shape)
    shares, variance = variance_shares(grid, len(varied))
    return [
        {
            "term": " x ".join(varied[i] for i in term),
            **interval_columns("share", mean_interval(share)),
            "variance": float(variance.mean()) if len(grid) else np.nan,
            "n_points": len(group),
            "n_seeds": len(grid),
        }
        for term, share in shares.items()
    ]


IMPORTANCE = MeasureTable("importance", importance)
