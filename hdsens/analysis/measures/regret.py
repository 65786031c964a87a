"""Normalised regret: how much worse a cell is than the best of a reference set."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal, get_args

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import (
    Interval,
    clopper_pearson,
    mean_interval,
    median_interval,
)
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.families import family_name
from hdsens.analysis.panel.panel import Panel
from hdsens.analysis.panel.settings import decades_within, settings
from hdsens.errors import InputError

Reference = Literal["family", "own", "baseline", "all"]
SHARES = (0.01, 0.05, 0.10)
WORST_SHARE = 0.25
ROUNDING = 1e-9
LEAST_GAIN = 0.01  # of L0: where the best of a set gains less, regret is noise over nothing


def normalised_regret(loss: ArrayLike, best: ArrayLike, initial: ArrayLike) -> Floats:
    """Regret r = (L − L*) / (L0 − L*), elementwise: 0 as good as tuned, 1 as bad as untrained.

    `loss` is capped at `initial` (L0) here too; r may be slightly negative and is not clipped.
    Where the reference itself does not beat the untrained model (L* >= L0) r is 1, never 0: a set
    in which everything fails is not robust. NaN stays NaN.

    >>> normalised_regret([0.5, 1.5, 2.5, 9.9], best=0.5, initial=2.5).tolist()
    [0.0, 0.5, 1.0, 1.0]
    """
    final, star, l0 = (np.asarray(a, dtype=np.float64) for a in (loss, best, initial))
    with np.errstate(divide="ignore", invalid="ignore"):
        regret = (np.minimum(final, l0) - star) / (l0 - star)
    return np.where((star >= l0) & ~np.isnan(final), 1.0, regret)


def cvar(values: ArrayLike, worst_share: float = WORST_SHARE) -> Floats:
    """Conditional value at risk: mean of the worst share of the last axis (seeds), NaN left out.

    A part of a seed counts in part (Rockafellar and Uryasev 2002).

    >>> float(cvar([0, 1, 2, 3, 4, 5, 6, 7, 8, 9]))  # 9, 8 and half of 7, over 2.5
    8.2
    """
    x = -np.sort(-np.asarray(values, dtype=np.float64), axis=-1)  # worst first, NaN last
    size = worst_share * (~np.isnan(x)).sum(axis=-1, keepdims=True)
    weight = np.clip(size - np.arange(x.shape[-1]), 0.0, 1.0)
    total = np.where(weight > 0, x * weight, 0.0).sum(axis=-1)
    with np.errstate(invalid="ignore"):
        return np.asarray(total / size[..., 0])


def reference_loss(panel: Panel, reference: Reference = "family") -> Floats:
    """Best mean loss L* of each point's reference set, (n_points,), from the choosing seeds.

    A set: within the task, the point's `family` (a base arm and the arms that name it), its `own`
    arm, its `baseline` arm, or `all` arms.
    """
    if reference not in get_args(Reference):
        raise InputError(
            "regret: reference", f"must be one of {', '.join(get_args(Reference))}", reference
        )
    points = panel.points
    own = points["arm"].astype(str)
    base = pd.Series([*map(family_name, own, points["baseline"])], index=points.index)
    if reference == "baseline":
        _check_baselines(points, base, own)
    everyone = pd.Series("", index=points.index)
    member = {"family": base, "own": own, "baseline": own, "all": everyone}
    wanted = {**member, "baseline": base}
    best = pd.Series(panel.pilot_mean).groupby([points["task"], member[reference]]).min()
    keys = pd.MultiIndex.from_arrays([points["task"], wanted[reference]])
    return np.asarray(best.reindex(keys), dtype=np.float64)


def _check_baselines(points: pd.DataFrame, base: pd.Series[str], own: pd.Series[str]) -> None:
    present = set(zip(points["task"], own, strict=True))
    for task, arm, wanted in zip(points["task"], own, base, strict=True):
        if (task, wanted) not in present:
            raise InputError(
                f"task {task!r}: arm {arm!r}: baseline",
                "must be among the cells",
                wanted,
                "use reference='family'",
            )


def panel_regret(panel: Panel, reference: Reference = "family") -> Floats:
    """Regret of every run, (n_points, n_seeds).

    NaN without a result or a reference, and where L* is below L0 by less than 1% of it.
    """
    best = reference_loss(panel, reference)
    best = np.where(too_little_gained(panel, best), np.nan, best)
    return normalised_regret(panel.runs.loss, best[:, None], panel.runs.initial)


def too_little_gained(panel: Panel, best: Floats) -> NDArray[np.bool_]:
    """Points, (n_points,), whose reference L* is within 1% below the task's mean L0.

    At or above L0 nothing was learnt at all, which regret 1 says; just below it, dividing by
    L0 − L* would blow up noise.
    """
    initial = pd.Series(mean_interval(panel.runs.initial).estimate)
    l0 = initial.groupby(panel.points["task"].to_numpy()).transform("mean").to_numpy()
    with np.errstate(divide="ignore", invalid="ignore"):  # L0 may be 0
        gain = (l0 - best) / np.abs(l0)
    return np.asarray((gain > ROUNDING) & (gain < LEAST_GAIN))


def reference_restrictions(panel: Panel, best: Floats) -> Iterable[str]:
    """Name the arms without regret, because their reference hardly beats the untrained model."""
    refused = panel.points[too_little_gained(panel, best)]
    for task, points in refused.groupby("task"):
        yield (
            f"task {str(task)!r}: {', '.join(sorted(set(points['arm'])))}: no regret, the best of"
            f" the reference set is less than {LEAST_GAIN:.0%} below the untrained loss"
        )


def regret_table(
    cells: CellsLike, metric: str = "train_loss", reference: Reference = "family"
) -> pd.DataFrame:
    """Regret of each arm at each point of its factors, over seeds.

    Regret is r = (L − L*) / (L0 − L*): L a cell's `metric`, its untrained model's loss L0 where it
    diverged or is above that; L* the lowest mean L in the reference set on the pilot seeds, or on
    the same seeds where a task has no others (optimistic, and said in `attrs["restrictions"]`).

    Columns, one row a point:
        task, arm, baseline (null for a base arm), the factors;
        n_seeds (with a result), n_completed, n_diverged, n_failed, n_missing;
        loss_mean: mean L, in the metric's units; reference_loss: L*;
        regret_mean, regret_median: dimensionless; regret_worst: the worst seed;
        regret_cvar: mean of the worst quarter of the seeds;
        within_1pct, within_5pct, within_10pct: share of seeds with r <= 0.01, 0.05, 0.10;
        divergence_rate: share of seeds that diverged;
        decades_within_5pct: decades of lr, at this row's other factors, with mean r <= 0.05.
    Means carry `_lower`, `_upper` (95%, Student t), the median its order-statistic interval (from
    6 seeds on), shares their Clopper-Pearson interval; a single seed gives none (NaN). The worst
    seed and CVaR describe the seeds that ran: no interval for them is sound at ten seeds.

    `attrs`: accounting, restrictions, reference, metric.

    Raises:
        InputError: columns missing, the metric not a loss, a point given twice for one seed, an
            unknown reference, or reference "baseline" with a baseline arm that has no cells.
    """
    panel = CheckedCells.of(cells).panel(metric)
    best, regret = reference_loss(panel, reference), panel_regret(panel, reference)
    table = pd.concat(
        [
            labels(panel),
            seed_counts(panel),
            pd.DataFrame(interval_columns("loss_mean", mean_interval(panel.runs.loss))),
            pd.DataFrame({"reference_loss": best}),
            pd.DataFrame(_regret_columns(regret)),
            pd.DataFrame(share_columns("divergence_rate", _divergence(panel))),
            pd.DataFrame({"decades_within_5pct": _decades(panel, regret)}),
        ],
        axis=1,
    )
    notes = [*panel.restrictions, *reference_restrictions(panel, best), *_without(panel, best)]
    return attach(table, panel.account, notes, reference=reference, metric=metric)


def labels(panel: Panel) -> pd.DataFrame:
    """Task, arm, baseline (null for a base arm) and factors of each point."""
    points = panel.points.copy()
    points["baseline"] = points["baseline"].astype("str").where(points["baseline"] != "")
    return points


def seed_counts(panel: Panel) -> pd.DataFrame:
    """Seeds of each point by what became of them."""
    runs = panel.runs
    parts = {
        "n_seeds": runs.used,
        "n_completed": runs.used & ~runs.diverged,
        "n_diverged": runs.diverged,
        "n_failed": runs.failed,
        "n_missing": runs.missing,
    }
    return pd.DataFrame({name: part.sum(axis=1) for name, part in parts.items()})


def interval_columns(name: str, interval: Interval) -> dict[str, Any]:
    """Columns `name`, `name_lower`, `name_upper`."""
    return dict(zip(with_bounds(name), interval[:3], strict=True))


def with_bounds(name: str) -> tuple[str, str, str]:
    """Name the columns of `interval_columns`, for tables that may have no rows."""
    return name, f"{name}_lower", f"{name}_upper"


def share_columns(name: str, hits: Floats) -> dict[str, Any]:
    """Share of seeds (last axis; 1 a hit, 0 none, NaN no result) with Clopper-Pearson bounds."""
    n = (~np.isnan(hits)).sum(axis=-1)
    count = np.nansum(hits, axis=-1)
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.asarray(count / n)
    lower, upper = clopper_pearson(count, np.where(n > 1, n, 0))
    return dict(zip(with_bounds(name), (share, lower, upper), strict=True))


def _regret_columns(regret: Floats) -> dict[str, Any]:
    columns = interval_columns("regret_mean", mean_interval(regret))
    columns |= interval_columns("regret_median", median_interval(regret))
    known = ~np.isnan(regret)
    worst = np.where(known, regret, -np.inf).max(axis=1)
    columns["regret_worst"] = np.where(known.any(axis=1), worst, np.nan)
    columns["regret_cvar"] = cvar(regret)
    for share in SHARES:
        hits = np.where(known, regret <= share, np.nan)
        columns |= share_columns(f"within_{share:.0%}".replace("%", "pct"), hits)
    return columns


def _divergence(panel: Panel) -> Floats:
    return np.where(panel.runs.used, panel.runs.diverged, np.nan)


def _decades(panel: Panel, regret: Floats) -> Floats:
    mean = mean_interval(regret).estimate
    decades = np.full(len(mean), np.nan)
    for setting in settings(panel, "lr") if "lr" in panel.factors else []:
        rows = [*setting.rows, *([] if setting.zero_row is None else [setting.zero_row])]
        decades[rows] = decades_within(mean[setting.rows], setting.levels)
    return decades


def _without(panel: Panel, best: Floats) -> Iterable[str]:
    lost = int((np.isnan(best)[:, None] & panel.runs.used).sum())
    if lost:
        yield f"{lost} cells have no regret: no cell of their reference set has a pilot result"
