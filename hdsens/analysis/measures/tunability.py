"""What tuning an arm costs: expected best of k random draws from its own grid."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import mean_interval
from hdsens.analysis.measures.regret import (
    interval_columns,
    panel_regret,
    reference_loss,
    reference_restrictions,
    with_bounds,
)
from hdsens.analysis.measures.table import MeasureTable
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.checks import LEARNING_RATES
from hdsens.analysis.panel.families import family_name
from hdsens.analysis.panel.panel import Panel
from hdsens.errors import InputError

N_RESAMPLES = 1000
COLUMNS = [
    *("task", "arm", "baseline", "draws", "n_points", "n_seeds"),
    *(name for measure in ("best", "difference", "cpe") for name in with_bounds(measure)),
]
BANDS = f"approximate: 95% percentile bootstrap over seeds, {N_RESAMPLES} resamples"


def expected_best(values: ArrayLike, draws: ArrayLike) -> Floats:
    """Expected lowest of k values drawn without replacement, for each k in `draws`.

    Exact for the given values, and for values that are themselves independent draws the unbiased
    U-statistic of Tang et al. (2020, ACL, "Showing Your Work Doesn't Always Work"); the plug-in
    estimate of Dodge et al. (2019) is too optimistic. Order statistic x_(i) weighs
    C(N − i, k − 1) / C(N, k).

    Args:
        values: (..., n_values), lower is better; NaN anywhere along the last axis gives NaN.
        draws: (n_draws,), each from 1 to n_values.

    Returns:
        (..., n_draws).

    >>> expected_best([3.0, 1.0, 2.0], [1, 2, 3]).round(4).tolist()  # 4/3: of 3 pairs 2 hold the 1
    [2.0, 1.3333, 1.0]
    """
    x = np.sort(np.asarray(values, dtype=np.float64), axis=-1)
    k = np.asarray(draws, dtype=np.int64)
    n = x.shape[-1]
    if k.min() < 1 or k.max() > n:
        raise InputError("draws", f"must be from 1 to the {n} points of the grid", k.tolist())
    remaining = (n - np.arange(1, n + 1))[:, None]  # (n_values, 1)
    ratio = special.gammaln(remaining + 1) - special.gammaln(np.maximum(remaining - k + 2, 1))
    whole = special.gammaln(n + 1) - special.gammaln(n - k + 1)
    weights = np.where(remaining >= k - 1, k * np.exp(ratio - whole), 0.0)
    return np.asarray(x @ weights)


def performance_weights(budget: int) -> Floats:
    """Weights over k = 1 … budget of CPE, "cumulative performance-early", (budget,).

    Proportional to budget + 1 − k and summing to 1: an arm that is good after few draws scores
    well. So weighs the code of Sivaprasad et al. 2020 (ICML, arXiv 1910.11758): idiap/DeepOBS,
    deepobs/analyzer/running_plot_utils.py, `compute_tunability_metrics`.

    >>> performance_weights(3).round(4).tolist()
    [0.5, 0.3333, 0.1667]
    """
    weight = np.arange(budget, 0, -1, dtype=np.float64)
    return np.asarray(weight / weight.sum())


def doubling(limit: int) -> NDArray[np.int64]:
    """1, 2, 4, 8, … up to `limit`.

    >>> doubling(10).tolist()
    [1, 2, 4, 8]
    """
    return 2 ** np.arange(int(limit).bit_length(), dtype=np.int64)


@dataclass(frozen=True)
class ArmGrid:
    """Regret over an arm's nonzero grid on one task.

    Attributes:
        regret: (n_seeds, n_points), NaN without a result.
        seeds: (n_seeds,).
        lost: (n_seeds, n_points), cells that should have a regret and have none.
        points: the factors of each point.
    """

    task: str
    arm: str
    baseline: str
    regret: Floats
    seeds: NDArray[np.int64]
    lost: NDArray[np.bool_]
    points: pd.DataFrame

    @property
    def rates(self) -> Floats:
        """Levels of lr, (n_levels,)."""
        return np.asarray(self.points["lr"].unique(), dtype=np.float64)

    @property
    def full_rates(self) -> Floats:
        """Levels of lr with every combination of the other factors, (n_levels,)."""
        combinations = len(self.points.drop(columns="lr").drop_duplicates())
        n = self.points.groupby("lr").size()
        return np.asarray(n.index[n == combinations], dtype=np.float64)

    def at(self, points: NDArray[np.bool_]) -> ArmGrid:
        """The grid at some of its points, (n_points,)."""
        return replace(
            self,
            regret=self.regret[:, points],
            lost=self.lost[:, points],
            points=self.points[points],
        )

    @property
    def complete(self) -> NDArray[np.bool_]:
        """Seeds with a result at every point of the grid, (n_seeds,)."""
        return np.asarray(~np.isnan(self.regret).any(axis=1))


def arm_grids(panel: Panel, regret: Floats) -> list[ArmGrid]:
    """Nonzero grid of each arm of each task: points at lr = 0 or hypergrad_lr = 0 left out."""
    points = panel.points
    rates = [name for name in LEARNING_RATES if name in points]
    nonzero = ~(points[rates] == 0).any(axis=1)
    groups = points[nonzero].groupby(["task", "arm", "baseline"], sort=True)
    lost = panel.runs.expected & np.isnan(regret)
    return [
        ArmGrid(
            str(task),
            str(arm),
            str(baseline),
            regret[group.index].T,
            panel.runs.seeds,
            lost[group.index].T,
            group[[*panel.factors]],
        )
        for (task, arm, baseline), group in groups
    ]


def tunability_curve(
    cells: CellsLike,
    metric: str = "train_loss",
    draws: Sequence[int] | None = None,
    rng: np.random.Generator | None = None,
) -> pd.DataFrame:
    """Expected best regret of k random draws from each arm's own nonzero grid.

    One seed is one tuning experiment: k points of the grid are drawn without replacement and run
    with that seed. Regret is relative to the family (see `regret_table`).

    Args:
        cells: one row a cell.
        metric: a loss.
        draws: values of k; by default 1, 2, 4, 8 … up to each arm's grid.
        rng: for the bootstrap bands; by default a generator seeded with 0.

    Columns, one row an arm and k:
        task, arm, baseline, draws (k), n_points (of the grid), n_seeds (with every point);
        best: expected best regret, with `_lower`, `_upper` (a band, approximate: bootstrap);
        difference: best minus the baseline's best at the same k, over the points that both were
            run at (see `common_points`), from pools of equal size (see `equal_pools`), paired by
            seed, with `_lower`, `_upper` (95%, Student t); null for a base arm;
        cpe: weighted mean of best over k = 1 … the smallest grid of the arm's family, with its t
            interval; the same in each row of an arm.
    `attrs`: accounting, restrictions, metric, bands.

    Raises:
        InputError: as `regret_table`; k outside 1 … the points of a grid.
    """
    panel = CheckedCells.of(cells).panel(metric)
    grids = arm_grids(panel, panel_regret(panel, "family"))
    rng = np.random.default_rng(0) if rng is None else rng
    by_arm = {(grid.task, grid.arm): grid for grid in grids}
    tables = [_curve(grid, by_arm, draws, rng) for grid in grids]
    notes = [
        *panel.restrictions,
        *reference_restrictions(panel, reference_loss(panel, "family")),
        *_incomplete(grids),
        *_between(grids, by_arm),
    ]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=COLUMNS)
    return attach(table, panel.account, notes, metric=metric, bands=BANDS)


def _incomplete(grids: Sequence[ArmGrid]) -> list[str]:
    lost = {f"{g.arm} on {g.task}": int(g.lost.any(axis=1).sum()) for g in grids}
    return [
        f"{name}: {n} seeds left out, not every point has a result" for name, n in lost.items() if n
    ]


def _between(grids: Sequence[ArmGrid], by_arm: dict[tuple[str, str], ArmGrid]) -> Iterable[str]:
    """Name what the difference between an arm and its baseline leaves out."""
    for grid in grids:
        base = by_arm.get((grid.task, grid.baseline))
        if base is None:
            continue
        own, other = common_points(grid, base)
        left_out = uncommon_points(grid, base, own, other)
        if left_out:
            yield f"{grid.arm} on {grid.task}: the difference is{left_out}; best and cpe are not"
        if (own.complete != other.complete).any():
            n = int((own.complete & other.complete).sum())
            yield f"{grid.arm} on {grid.task}: the difference pairs {n} seeds, the others have none"


def _curve(
    grid: ArmGrid,
    by_arm: dict[tuple[str, str], ArmGrid],
    draws: Sequence[int] | None,
    rng: np.random.Generator,
) -> pd.DataFrame:
    n_points = grid.regret.shape[1]
    k = np.asarray(draws, dtype=np.int64) if draws is not None else doubling(n_points)
    best = expected_best(grid.regret, k)  # (n_seeds, n_draws)
    lower, upper = bootstrap_band(best[grid.complete], rng)
    base = by_arm.get((grid.task, grid.baseline))
    columns: dict[str, Any] = {
        "task": grid.task,
        "arm": grid.arm,
        "baseline": grid.baseline or None,
        "draws": k,
        "n_points": n_points,
        "n_seeds": int(grid.complete.sum()),
        "best": mean_interval(best.T).estimate,
        "best_lower": lower,
        "best_upper": upper,
        **interval_columns("difference", mean_interval(tuning_contrast(grid, base, k).T)),
    }
    return pd.DataFrame({**columns, **_cpe(grid, _family(grid, by_arm))})


def common_points(grid: ArmGrid, base: ArmGrid) -> tuple[ArmGrid, ArmGrid]:
    """Both grids where both arms were run, by the factors that both have.

    Where an arm has factors of its own it must have been run at every combination of them. Of two
    arms that are alike, the one with more good levels would seem easier to tune.
    """
    grids = (grid, base)
    factors = [[str(name) for name in g.points if g.points[name].notna().any()] for g in grids]
    shared = [name for name in factors[0] if name in factors[1]]
    if not shared:
        return grids
    keys = [_keys(g, shared) for g in grids]
    own = [
        _keys(g, [f for f in has if f not in shared]) for g, has in zip(grids, factors, strict=True)
    ]
    common = _full(keys[0], own[0]) & _full(keys[1], own[1])
    one, other = (
        g.at(np.array([point in common for point in key], dtype=bool))
        for g, key in zip(grids, keys, strict=True)
    )
    return one, other


def _keys(grid: ArmGrid, names: Sequence[str]) -> list[tuple[Any, ...]]:
    if not names:
        return [()] * len(grid.points)
    return list(zip(*(grid.points[name].tolist() for name in names), strict=True))


def _full(shared: Sequence[tuple[Any, ...]], own: Sequence[tuple[Any, ...]]) -> set[Any]:
    """Points of the shared factors that were run with every combination of the arm's own."""
    combinations = len(set(own))
    return {point for point, n in Counter(shared).items() if n == combinations}


def uncommon_points(grid: ArmGrid, base: ArmGrid, own: ArmGrid, other: ArmGrid) -> str:
    """Say what `common_points` left out of two grids; empty where nothing."""
    lost = [
        f"{g.arm} {len(g.points) - len(kept.points)} of {len(g.points)}"
        for g, kept in ((grid, own), (base, other))
        if len(kept.points) < len(g.points)
    ]
    return f" over the points of both arms (left out: {', '.join(lost)})" if lost else ""


def equal_pools(one: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Repeat the points of two grids, (…, n_points), until both pools are equally large.

    Draws without replacement exhaust a small grid sooner: of two arms that are alike, the one with
    a second factor that changes nothing would seem harder to tune. Repeated points are what such a
    factor makes of a grid.

    >>> [pool.tolist() for pool in equal_pools(np.array([1, 2]), np.array([3, 4, 5, 6]))]
    [[1, 1, 2, 2], [3, 4, 5, 6]]
    """
    size = math.lcm(one.shape[-1], other.shape[-1])
    pools = (np.repeat(grid, size // grid.shape[-1], axis=-1) for grid in (one, other))
    first, second = pools
    return first, second


def tuning_contrast(grid: ArmGrid, base: ArmGrid | None, draws: NDArray[np.int64]) -> Floats:
    """Expected best of an arm minus its baseline's, from equal pools, by seed: (n_seeds, n_draws).

    Over the points that both were run at (`common_points`).

    NaN for a k beyond the pools, and for seeds that are not complete in both.
    """
    contrast = np.full((len(grid.regret), len(draws)), np.nan)
    common = () if base is None else common_points(grid, base)
    if not common or not len(common[0].points):
        return contrast
    own, other = equal_pools(*(one.regret for one in common))
    possible = draws <= own.shape[1]
    k = draws[possible]
    if k.size:
        contrast[:, possible] = expected_best(own, k) - expected_best(other, k)
    return contrast


def bootstrap_band(values: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Percentile bootstrap band of a mean curve; values (n_seeds, n_draws). NaN below two seeds.

    Approximate: at ten seeds it covers less than its 95% says; contrasts use t intervals. opda's
    bands are exact, but for independent draws from one distribution: points of a grid that share
    seeds are not that.
    """
    n_seeds, n_draws = values.shape
    if n_seeds < 2:
        return np.full(n_draws, np.nan), np.full(n_draws, np.nan)
    weights = rng.multinomial(n_seeds, np.full(n_seeds, 1 / n_seeds), N_RESAMPLES) / n_seeds
    lower, upper = np.quantile(weights @ values, [0.025, 0.975], axis=0)
    return lower, upper


def _family(grid: ArmGrid, by_arm: dict[tuple[str, str], ArmGrid]) -> list[ArmGrid]:
    name = family_name(grid.arm, grid.baseline)
    return [
        g for g in by_arm.values() if g.task == grid.task and family_name(g.arm, g.baseline) == name
    ]


def _cpe(grid: ArmGrid, family: Sequence[ArmGrid]) -> dict[str, Any]:
    budget = min(member.regret.shape[1] for member in family)
    best = expected_best(grid.regret, np.arange(1, budget + 1))
    return interval_columns("cpe", mean_interval(best @ performance_weights(budget)))


TUNABILITY = MeasureTable("tunability", tunability_curve)
