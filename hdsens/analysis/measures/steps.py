"""Steps until a target is reached: right-censored, so never averaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from scipy import special

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import CONFIDENCE
from hdsens.analysis.measures.regret import ROUNDING, labels, seed_counts, share_columns
from hdsens.analysis.panel.accounting import attach
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.checks import check_columns
from hdsens.analysis.panel.panel import Panel
from hdsens.analysis.panel.settings import baseline_rows
from hdsens.errors import InputError


class Survival(NamedTuple):
    """Kaplan-Meier estimate of not having reached a target; arrays (..., n_seeds), by rising time.

    `time` is inf for seeds without a result; `lower` and `upper` are pointwise, on the log(−log)
    scale, and NaN where the estimate is 0 or 1.
    """

    time: Floats
    survival: Floats
    lower: Floats
    upper: Floats


def kaplan_meier(time: ArrayLike, reached: ArrayLike, confidence: float = CONFIDENCE) -> Survival:
    """Kaplan-Meier (1958) over the last axis, with Greenwood's variance on the log(−log) scale.

    The same estimate as scipy.stats.ecdf and lifelines, for many groups at once.

    Args:
        time: (..., n_seeds) step of reaching the target, or the last step observed; NaN: no result.
        reached: (..., n_seeds) False where right-censored at `time`.
        confidence: of the pointwise interval.

    >>> kaplan_meier([5, 8, 8, 10], [True, True, False, False]).survival.tolist()
    [0.75, 0.5, 0.5, 0.5]
    """
    t = np.asarray(time, dtype=np.float64)
    t = np.where(np.isnan(t), np.inf, t)
    event = np.asarray(reached, dtype=bool) & np.isfinite(t)
    order = np.lexsort((~event, t), axis=-1)  # at one time, events come before censorings
    t, event = np.take_along_axis(t, order, -1), np.take_along_axis(event, order, -1)
    at_risk = np.isfinite(t).sum(axis=-1, keepdims=True) - np.arange(t.shape[-1])
    # Tied events one after another make the same product as all at once: (r-1)/r · (r-2)/(r-1) …
    factor = np.where(event, (at_risk - 1) / np.maximum(at_risk, 1), 1.0)
    survival = np.cumprod(factor, axis=-1, dtype=np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        # Greenwood's terms telescope likewise: 1/(r-1) - 1/r summed over ties is d / (r (r - d)).
        greenwood = np.cumsum(np.where(event, 1 / (at_risk - 1) - 1 / at_risk, 0.0), axis=-1)
        reach = special.ndtri(0.5 + confidence / 2) * np.sqrt(greenwood) / np.log(survival)
        lower, upper = survival ** np.exp(-reach), survival ** np.exp(reach)
    inner = (survival > 0) & (survival < 1)
    return Survival(t, survival, np.where(inner, lower, np.nan), np.where(inner, upper, np.nan))


def median_time(km: Survival) -> tuple[Floats, Floats, Floats]:
    """Median time with its 95% interval (Brookmeyer and Crowley 1982); inf: not reached.

    The first time at which the estimate, or its lower and upper bound, is at or below one half.
    Where the last estimate is 0 its bound does not exist, and neither does that end (inf).
    """
    median, lower, upper = (
        _first_at_half(km.time, curve) for curve in (km.survival, km.lower, km.upper)
    )
    return median, lower, upper


def _first_at_half(time: Floats, curve: Floats) -> Floats:
    below = np.isfinite(time) & (curve <= 0.5 + ROUNDING)  # a half is a product of many factors
    first = np.take_along_axis(time, below.argmax(axis=-1)[..., None], axis=-1)[..., 0]
    return np.where(below.any(axis=-1), first, np.inf)


class Contest(NamedTuple):
    """Counts over seeds of one arm's steps against another's, (...); `neither` reached it."""

    better: NDArray[np.int64]
    worse: NDArray[np.int64]
    equal: NDArray[np.int64]
    neither: NDArray[np.int64]


def compare_steps(steps: ArrayLike, other: ArrayLike) -> Contest:
    """Pairwise comparison over the last axis of steps to a target, inf where never reached.

    Fewer steps are better; never is worse than any number; NaN (no result) pairs are left out.

    >>> [int(n) for n in compare_steps([5, 9, 7, np.inf, np.inf], [6, 8, 7, 3, np.inf])]
    [1, 2, 1, 1]
    """
    a, b = np.asarray(steps, dtype=np.float64), np.asarray(other, dtype=np.float64)
    never = np.isinf(a) & np.isinf(b)
    parts = (a < b, a > b, (a == b) & ~never, never)
    return Contest(*(part.sum(axis=-1) for part in parts))


def steps_to_target_table(cells: CellsLike, target: str | None = None) -> pd.DataFrame:
    """Steps until a cell's minibatch loss first reached a target, at each point of the factors.

    A completed cell that never reached it is censored at the steps it ran. A diverged cell will
    never reach it: it stays among those at risk to the end of its budget, because censoring it when
    it diverged would count it as one that might still have come.

    Args:
        cells: one row a cell, with a column `steps_to_<target>`, null where never reached.
        target: its name; may be left out where there is one.

    Columns, one row a point:
        task, arm, baseline, factors, n_seeds, n_completed, n_diverged, n_failed, n_missing;
        reached: share of seeds that reached it, with Clopper-Pearson `_lower`, `_upper`;
        median_steps: Kaplan-Meier median, inf where half did not reach it, with its 95% interval
            (Brookmeyer-Crowley, log-log); none for a single seed;
        better, worse, equal, neither: seeds on which this point took fewer steps than its baseline
            at the same point, more, as many, or neither reached it; null for a base arm.
    `attrs`: accounting, restrictions, target.

    Raises:
        InputError: no such target, or several and none named.
    """
    cells = CheckedCells.of(cells)
    target = _target(cells.frame, target)
    column = f"steps_to_{target}"
    check_columns(cells.frame, ["steps", "steps_run", column])
    panel = cells.panel(None)
    steps = panel.runs.column(column)
    reached = ~np.isnan(steps)
    used = panel.runs.used
    table = pd.concat(
        [
            labels(panel),
            seed_counts(panel),
            pd.DataFrame(share_columns("reached", np.where(used, reached, np.nan))),
            _median_columns(np.where(reached, steps, _censored_at(panel)), reached, used),
            _contests(panel, np.where(used & ~reached, np.inf, steps)),
        ],
        axis=1,
    )
    notes = [*panel.restrictions, *_unpaired(panel)]
    return attach(table, panel.account, notes, target=target)


def _target(cells: pd.DataFrame, target: str | None) -> str:
    known = [str(c).removeprefix("steps_to_") for c in cells if str(c).startswith("steps_to_")]
    if target is None and len(known) == 1:
        return known[0]
    if target not in known:
        raise InputError("target", f"must be one of {', '.join(known) or '(none)'}", target)
    return target


def _censored_at(panel: Panel) -> Floats:
    """Last step at which each cell was under observation; a diverged one stays to the end."""
    ran, budget = panel.runs.column("steps_run"), panel.runs.column("steps")
    return np.where(panel.runs.diverged, budget, ran)


def _median_columns(
    time: Floats, reached: NDArray[np.bool_], used: NDArray[np.bool_]
) -> pd.DataFrame:
    median, lower, upper = median_time(kaplan_meier(time, reached))
    n = used.sum(axis=1)
    return pd.DataFrame(
        {
            "median_steps": np.where(n > 0, median, np.nan),
            "median_steps_lower": np.where(n > 1, lower, np.nan),
            "median_steps_upper": np.where(n > 1, upper, np.nan),
        }
    )


def _unpaired(panel: Panel) -> Iterable[str]:
    base, used = baseline_rows(panel), panel.runs.used
    apart = (base >= 0) & (used != used[base]).any(axis=1)
    named = panel.points.loc[apart, ["arm", "task"]].drop_duplicates()
    for arm, task in zip(named["arm"], named["task"], strict=True):
        yield f"{arm} on {task}: seeds without a cell of the baseline are in no comparison"


def _contests(panel: Panel, steps: Floats) -> pd.DataFrame:
    base = baseline_rows(panel)
    counts = compare_steps(steps, np.where(base[:, None] >= 0, steps[base], np.nan))
    columns = {name: np.where(base >= 0, n, np.nan) for name, n in counts._asdict().items()}
    return pd.DataFrame(columns).astype("Int64")
