"""Sensitivity across tasks (Adkins, Bowling and White 2024, NeurIPS, arXiv 2412.07165)."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.panel import Panel
from hdsens.errors import InputError

N_RESAMPLES = 500
KEPT_SHARE = 0.95
BANDS = f"approximate: 95% percentile bootstrap over seeds, {N_RESAMPLES} resamples"


class CrossTask(NamedTuple):
    """Arrays (...), one value a resample: scores are 0 at the 5th and 1 at the 95th percentile.

    `sensitivity` = `tuned_score` (each task at its own best point) minus `default_score` (the one
    point that is best on average); `dimensionality` is the effective dimensionality.
    """

    tuned_score: Floats
    default_score: Floats
    sensitivity: Floats
    dimensionality: Floats


def cross_task_measures(score: Floats, n_factors: int) -> CrossTask:
    """Hyperparameter sensitivity Φ and effective hyperparameter dimensionality d.

    Φ = mean over tasks of the best score − best over points of the mean score. d is the smallest
    number of factors that, tuned for each task with the others left at the one best point, keep
    95% of the fully tuned score.

    Args:
        score: (..., n_tasks, n_levels of factor 1, …, of factor `n_factors`), higher is better.
        n_factors: how many of the last axes are factors.

    >>> result = cross_task_measures(np.array([[1.0, 0.6, 0.0], [0.0, 0.6, 1.0]]), 1)
    >>> round(float(result.sensitivity), 3), int(result.dimensionality)
    (0.4, 1)
    """
    shape = score.shape[-n_factors:]
    flat = score.reshape(*score.shape[:-n_factors], -1)
    tuned = flat.max(axis=-1).mean(axis=-1)
    average = flat.mean(axis=-2)
    default, best = average.max(axis=-1), average.argmax(axis=-1)
    at = np.stack(np.unravel_index(np.arange(flat.shape[-1]), shape))
    same = np.stack(
        [levels == levels[best][..., None] for levels in at]
    )  # (n_factors, …, n_points)
    needed = np.full(tuned.shape, n_factors)
    for size in range(n_factors - 1, -1, -1):
        kept = _best_with(flat, same, size)
        needed = np.where(kept >= KEPT_SHARE * tuned, size, needed)
    return CrossTask(tuned, default, tuned - default, np.where(np.isnan(tuned), np.nan, needed))


def _best_with(flat: Floats, same: NDArray[np.bool_], size: int) -> Floats:
    """Score with the best choice of `size` factors tuned for each task, (...)."""
    best = np.full(flat.shape[:-2], -np.inf)
    for tuned in combinations(range(len(same)), size):
        fixed = [i for i in range(len(same)) if i not in tuned]
        allowed = np.all(same[fixed], axis=0)[..., None, :]
        best = np.maximum(best, np.where(allowed, flat, -np.inf).max(axis=-1).mean(axis=-1))
    return best


def cross_task_table(
    cells: CellsLike, metric: str = "train_loss", rng: np.random.Generator | None = None
) -> pd.DataFrame:
    """Adkins et al.'s measures of each arm that ran on every task, at the points common to all.

    Performance is −L (capped loss, mean over seeds), put on one scale by the 5th and 95th
    percentile of all arms' points on the task. lr = 0 is a point like any other.

    Args:
        cells: one row a cell, at least two tasks.
        metric: a loss.
        rng: for the bootstrap over seeds; by default a generator seeded with 0.

    Columns, one row an arm:
        arm, n_tasks, n_points (common to all tasks), n_factors (that vary), n_seeds (smallest);
        tuned_score, default_score, cross_task_sensitivity, effective_dimensionality, each with
            `_lower`, `_upper` (approximate: bootstrap over seeds; none for a single seed).
    `attrs`: accounting, restrictions, metric, bands.

    Raises:
        InputError: fewer than two tasks, and as `regret_table`.
    """
    panel = CheckedCells.of(cells).panel(metric)
    tasks = sorted(set(panel.points["task"]))
    if len(tasks) < 2:
        raise InputError("cells: tasks", "must be at least two", tasks)
    rows, notes = cross_task_rows(panel, np.random.default_rng(0) if rng is None else rng)
    notes = [*panel.restrictions, *notes]
    return attach(pd.DataFrame(rows), panel.account, notes, metric=metric, bands=BANDS)


def cross_task_rows(
    panel: Panel, rng: np.random.Generator
) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows of `cross_task_table`, and the arms left out."""
    every = sorted(set(panel.points["task"]))
    tasks = [task for task in every if not np.isnan(panel.runs.loss[_rows(panel, task)]).all()]
    notes = [f"task {task}: left out, no cell has a result" for task in every if task not in tasks]
    if len(tasks) < 2:
        return [], notes
    loss = _resampled_means(panel, tasks, rng)
    score = _normalise(-loss, panel.points["task"].to_numpy(), tasks)
    rows = []
    for arm, group in panel.points.groupby("arm"):
        grid = _common_grid(group, tasks, panel.factors)
        if grid is None:
            notes.append(f"arm {arm}: no full grid of points common to all tasks")
        else:
            rows.append({"arm": arm, **_measures(grid, score, panel)})
    return rows, notes


def _resampled_means(panel: Panel, tasks: Sequence[str], rng: np.random.Generator) -> Floats:
    """Mean loss of each point, (1 + N_RESAMPLES, n_points): as seen, then with seeds resampled."""
    means = np.full((1 + N_RESAMPLES, len(panel.points)), np.nan)
    for task in tasks:
        rows = _rows(panel, task)
        loss = panel.runs.loss[rows]
        loss = loss[:, ~np.isnan(loss).all(axis=0)]
        n = loss.shape[1]
        weights = np.vstack([np.ones(n), rng.multinomial(n, np.full(n, 1 / n), N_RESAMPLES)])
        known = ~np.isnan(loss)
        with np.errstate(invalid="ignore"):
            means[:, rows] = (weights @ np.where(known, loss, 0.0).T) / (weights @ known.T)
    return means


def _rows(panel: Panel, task: str) -> NDArray[np.int64]:
    return np.flatnonzero((panel.points["task"] == task).to_numpy())


def _normalise(performance: Floats, task: NDArray[Any], tasks: Sequence[str]) -> Floats:
    score = np.full_like(performance, np.nan)
    for name in tasks:
        low, high = np.nanpercentile(performance[:, task == name], [5, 95], axis=1)[..., None]
        with np.errstate(divide="ignore", invalid="ignore"):
            score[:, task == name] = (performance[:, task == name] - low) / (high - low)
    return score


class _Grid(NamedTuple):
    rows: NDArray[np.int64]  # (n_tasks, n_levels of factor 1, …)
    n_factors: int


def _common_grid(group: pd.DataFrame, tasks: Sequence[str], factors: Sequence[str]) -> _Grid | None:
    keys = [*factors]
    group = group[group["task"].isin(tasks)]
    counts = group.groupby(keys, dropna=False)["task"].transform("nunique")
    common = group[counts == len(tasks)]
    levels = common[keys].nunique(dropna=False)
    varied = [name for name in keys if levels[name] > 1]
    shape = [int(levels[name]) for name in varied]
    if not varied or len(common) != len(tasks) * int(np.prod(shape)):
        return None
    rows = common.sort_values(["task", *varied]).index.to_numpy()
    return _Grid(rows.reshape(len(tasks), *shape), len(varied))


def _measures(grid: _Grid, score: Floats, panel: Panel) -> dict[str, Any]:
    result = cross_task_measures(score[:, grid.rows], grid.n_factors)
    n_seeds = int(panel.runs.used[grid.rows].sum(axis=-1).min())
    columns: dict[str, Any] = {
        "n_tasks": len(grid.rows),
        "n_points": int(np.prod(grid.rows.shape[1:])),
        "n_factors": grid.n_factors,
        "n_seeds": n_seeds,
    }
    names = ("tuned_score", "default_score", "cross_task_sensitivity", "effective_dimensionality")
    for name, values in zip(names, result, strict=True):
        bounds = np.quantile(values[1:], [0.025, 0.975]) if n_seeds > 1 else [np.nan, np.nan]
        columns |= {name: values[0], f"{name}_lower": bounds[0], f"{name}_upper": bounds[1]}
    return columns
