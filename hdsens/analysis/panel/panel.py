"""A frame of cells as labelled arrays: points of the grid by seeds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.panel.accounting import Accounting, one_row_a_cell, point_keys
from hdsens.analysis.panel.checks import floats, one_baseline_an_arm, with_numbers
from hdsens.errors import InputError

Bools = NDArray[np.bool_]


@dataclass(frozen=True)
class Runs:
    """Cells of one role. All arrays are (n_points, n_seeds).

    Attributes:
        cells: the rows they come from; `at`: their point and seed, two (n_cells,) indices.
        seeds: (n_seeds,).
        loss: capped loss L: a diverged cell, or one above its untrained model's loss, counts as
            that loss; NaN where there is no result, or where L0 is not finite.
        initial: untrained model's loss L0; NaN likewise.
        used: cells with a result, completed or diverged; `diverged`, `failed`: outcomes;
            `expected`: the point's task was run with that seed.
    """

    cells: pd.DataFrame
    at: tuple[NDArray[np.int64], NDArray[np.int64]]
    seeds: NDArray[np.int64]
    loss: Floats
    initial: Floats
    used: Bools
    diverged: Bools
    failed: Bools
    expected: Bools

    @property
    def missing(self) -> Bools:
        """Cells that the task's other cells make one expect, and that are not there."""
        return self.expected & ~self.used & ~self.failed

    def column(self, name: str) -> Floats:
        """Spread a column of numbers over points and seeds; NaN where null, failed or missing."""
        out = np.full(self.loss.shape, np.nan)
        out[self.at] = floats(self.cells, name)
        return np.where(self.used, out, np.nan)


@dataclass(frozen=True)
class Panel:
    """A study, or several, ready to be judged.

    Attributes:
        points: one row a point: task, arm, baseline ("" for a base arm) and the factors.
        factors: names of the factor columns.
        runs: the cells that statistics are computed from.
        pilot: the cells that choose references (L*, best lr); the same cells where `independent`
            is False for the point's task.
        independent: (n_points,) whether the pilot seeds are other seeds.
        account, restrictions: what the tables built on this must state.
    """

    points: pd.DataFrame
    factors: tuple[str, ...]
    runs: Runs
    pilot: Runs
    independent: Bools
    account: Accounting
    restrictions: tuple[str, ...]

    @cached_property
    def pilot_mean(self) -> Floats:
        """Mean capped loss over the seeds that choose references, (n_points,)."""
        known = ~np.isnan(self.pilot.loss)
        total = np.where(known, self.pilot.loss, 0.0).sum(axis=1)
        with np.errstate(invalid="ignore"):
            return np.asarray(total / known.sum(axis=1))

    @cached_property
    def pilot_lost(self) -> Bools:
        """Pilot cells that have no result, (n_points, n_pilot_seeds)."""
        lost = self.pilot.expected & ~self.pilot.used
        return np.asarray(lost & self.independent[:, None])


def build_panel(
    cells: pd.DataFrame, factors: Sequence[str], account: Accounting, metric: str | None
) -> Panel:
    """Arrange checked cells as arrays; without a metric every result has loss 0.

    Args:
        cells: one row a cell.
        factors: names of the factor columns.
        account: what became of the cells.
        metric: a loss.

    Raises:
        InputError: no cells; an arm with two baselines; the metric is missing, is not a loss or is
            null for a completed cell; two cells share task, arm, factors and seed.
    """
    cells = with_numbers(cells, ["initial_loss", metric]) if metric else cells
    if cells.empty:
        raise InputError("cells", "must hold at least one", remedy="run the study first")
    one_baseline_an_arm(cells)
    rows = one_row_a_cell(cells)
    code, points = _points(rows, factors)
    _check_one_cell_a_seed(rows, code)
    roles = _roles(rows)
    has_pilot = rows["task"].isin(roles.with_pilot).to_numpy()
    is_pilot = has_pilot & (rows["role"] == "pilot").to_numpy()
    loss = capped_loss(rows, metric) if metric else _no_loss(rows)
    panel = Panel(
        points,
        tuple(factors),
        _runs(rows, code, loss, points, ~is_pilot),
        _runs(rows, code, loss, points, is_pilot | ~has_pilot),
        points["task"].isin(roles.with_pilot).to_numpy(),
        account,
        roles.notes,
    )
    notes = (*roles.notes, *_other_split(rows, metric), *_few_seeds(panel), *_gaps(panel))
    return replace(panel, restrictions=notes)


def _few_seeds(panel: Panel) -> Iterable[str]:
    seeds = panel.runs.used.sum(axis=1)
    for n, text in {
        1: "have a single seed: no interval",
        2: "have 2 seeds: their intervals are very wide (t = 12.7)",
        3: "have 3 seeds: their intervals are wide (t = 4.3)",
    }.items():
        points = int((seeds == n).sum())
        if points:
            yield f"{points} points {text}"


def _gaps(panel: Panel) -> Iterable[str]:
    for task, rows in panel.points.groupby("task").indices.items():
        lost = int(panel.pilot_lost[rows].sum())
        if lost:
            yield (
                f"task {task!r}: {lost} pilot cells are missing or failed: the best lr and the"
                " reference loss rest on the others"
            )
        for runs in (panel.runs, panel.pilot) if panel.independent[rows].all() else (panel.runs,):
            no_start = int((runs.used[rows] & np.isnan(runs.initial[rows])).sum())
            if no_start:
                yield (
                    f"task {task!r}: {no_start} cells have an untrained loss L0 that is not"
                    " finite: no regret"
                )


UNTRAINED = {"valid_loss": "initial_valid_loss", "best_valid_loss": "initial_valid_loss"}
"""Where the untrained model's value of a metric stands; that of others is `initial_loss`."""


def _other_split(rows: pd.DataFrame, metric: str | None) -> Iterable[str]:
    """Say where a validation loss is judged against the untrained model's training loss."""
    own = UNTRAINED.get(metric or "")
    if own is None:
        return
    judged = rows[rows["outcome"] != "failed"]
    lacks = judged[own].isna() if own in judged else judged["outcome"].notna()
    for task, n in lacks.groupby(judged["task"]).sum().items():
        if n:
            yield (
                f"task {task!r}: {n} cells have no untrained validation loss: theirs is the"
                " untrained training loss"
            )


def check_metric(rows: pd.DataFrame, metric: str) -> None:
    """Raise InputError unless the metric is a loss that every completed cell has."""
    if "accuracy" in metric:
        raise InputError("metric", "must be a loss, lower is better", metric, "use valid_loss")
    completed = rows["outcome"] == "completed"
    null = int(rows.loc[completed, metric].isna().sum())
    if null:
        raise InputError(
            f"metric {metric!r}",
            "must be there for every completed cell",
            f"null in {null} of {int(completed.sum())}",
            "choose another metric",
        )
    if (rows.loc[completed, metric] == -np.inf).any():
        raise InputError(f"metric {metric!r}", "must be above -inf for every completed cell")


def capped_loss(rows: pd.DataFrame, metric: str) -> tuple[Floats, Floats]:
    """Capped loss and L0 of each row, NaN for failed ones; L0 from the seed where a cell's is null.

    L0 is the untrained model's loss on the split of the metric; the training loss where a
    validation loss has none, as cells of earlier versions have.
    """
    check_metric(rows, metric)
    initial = untrained_loss(rows, metric)
    failed = (rows["outcome"] == "failed").to_numpy()
    l0 = np.where(failed, np.nan, initial.to_numpy())
    if np.isnan(l0[~failed]).any():
        raise InputError(
            "cells: initial_loss", "must be there for every completed or diverged cell"
        )
    l0 = np.where(np.isfinite(l0), l0, np.nan)
    loss = rows[metric].astype("float64").to_numpy()
    diverged = (rows["outcome"] == "diverged").to_numpy()
    with np.errstate(invalid="ignore"):
        return np.where(~diverged & (loss < l0), loss, l0), l0


def untrained_loss(rows: pd.DataFrame, metric: str) -> pd.Series[float]:
    """Loss of each row's untrained model on the split of the metric, as far as it is known."""
    seeds = [rows["task"], rows["seed"]]

    def known(name: str) -> pd.Series[float]:
        found = rows[name].astype("float64")
        return found.fillna(found.groupby(seeds).transform("mean")) if found.isna().any() else found

    own = UNTRAINED.get(metric, "initial_loss")
    if own not in rows or own == "initial_loss":
        return known("initial_loss")
    return known(own).fillna(known("initial_loss"))


def _no_loss(rows: pd.DataFrame) -> tuple[Floats, Floats]:
    nothing = np.where((rows["outcome"] == "failed").to_numpy(), np.nan, 0.0)
    return nothing, nothing


def _points(rows: pd.DataFrame, names: Sequence[str]) -> tuple[NDArray[np.int64], pd.DataFrame]:
    keys = point_keys(rows, names)
    groups = keys.groupby([*keys.columns], dropna=False, sort=True)
    code = np.asarray(groups.ngroup(), dtype=np.int64)
    first = np.unique(code, return_index=True)[1]
    return code, keys.iloc[first].reset_index(drop=True)


def _check_one_cell_a_seed(rows: pd.DataFrame, code: NDArray[np.int64]) -> None:
    twice = pd.DataFrame({"point": code, "seed": rows["seed"].to_numpy()}).duplicated()
    if twice.any():
        row = rows[twice.to_numpy()].iloc[0]
        raise InputError(
            f"cells: task {row['task']!r}: arm {row['arm']!r}: seed {row['seed']}",
            "must be there once at each point of the factors",
            remedy="name every factor that varies: cells.attrs['factors'] = [...]",
        )


@dataclass(frozen=True)
class _Roles:
    with_pilot: frozenset[str]
    only_pilot: frozenset[str]
    notes: tuple[str, ...]


def _roles(rows: pd.DataFrame) -> _Roles:
    seen = {str(task): set(roles) for task, roles in rows.groupby("task")["role"]}
    both = frozenset(task for task, roles in seen.items() if {"pilot", "confirmatory"} <= roles)
    only = frozenset(task for task, roles in seen.items() if roles == {"pilot"})
    none = sorted(set(seen) - both - only)
    notes = [
        f"task {task!r}: no pilot seeds; best lr and reference loss come from the same seeds as"
        " the statistics (optimistic)"
        for task in none
    ]
    notes += [f"task {task!r}: only pilot seeds; nothing is confirmatory" for task in sorted(only)]
    return _Roles(both, only, tuple(notes))


def _runs(
    rows: pd.DataFrame,
    code: NDArray[np.int64],
    capped: tuple[Floats, Floats],
    points: pd.DataFrame,
    chosen: Bools,
) -> Runs:
    seeds, column = np.unique(rows["seed"].to_numpy(dtype=np.int64)[chosen], return_inverse=True)
    at = (code[chosen], column)
    outcome = rows["outcome"].to_numpy()[chosen]

    def spread(values: Floats) -> Floats:
        out = np.full((len(points), len(seeds)), np.nan)
        out[at] = values
        out.flags.writeable = False
        return out

    def mark(values: Bools) -> Bools:
        out = np.zeros((len(points), len(seeds)), dtype=bool)
        out[at] = values
        out.flags.writeable = False
        return out

    present = pd.DataFrame(mark(np.ones(len(column), dtype=bool)))
    expected = present.groupby(points["task"].to_numpy()).transform("any").to_numpy()
    loss, initial = (spread(values[chosen]) for values in capped)
    used, diverged, failed = (
        mark(which) for which in (outcome != "failed", outcome == "diverged", outcome == "failed")
    )
    return Runs(rows[chosen], at, seeds, loss, initial, used, diverged, failed, expected)
