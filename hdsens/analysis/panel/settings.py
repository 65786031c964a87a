"""Settings: the levels of one factor, usually lr, with everything else about an arm held fixed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.panel.checks import LEARNING_RATES
from hdsens.analysis.panel.families import family_name
from hdsens.analysis.panel.panel import Panel
from hdsens.errors import InputError
from hdsens.text import level

SPACING_TOLERANCE = 1e-3  # in log10; levels are rounded to 6 significant digits


@dataclass(frozen=True)
class Setting:
    """One arm on one task at one point of its other factors.

    Attributes:
        fixed: levels of the other factors that the arm has.
        rows: (n_levels,) its points in `panel.points`, by rising level, lr = 0 left out.
        levels: (n_levels,) of the factor; NaN where they are not numbers.
        zero_row: its point at lr = 0 (or hypergrad_lr = 0), which is a stratum of its own.
    """

    task: str
    arm: str
    baseline: str
    fixed: Mapping[str, Any]
    rows: NDArray[np.int64]
    levels: Floats
    zero_row: int | None

    @property
    def family(self) -> str:
        """Name of the arm's family."""
        return family_name(self.arm, self.baseline)


def settings(panel: Panel, factor: str = "lr") -> list[Setting]:
    """Split the points of a panel by task, arm and every factor but `factor`."""
    if factor not in panel.factors:
        raise InputError("factor", f"must be one of {', '.join(panel.factors)}", factor)
    points = panel.points[panel.points[factor].notna()]
    others = [name for name in panel.factors if name != factor]
    groups = points.groupby(["task", "arm", "baseline", *others], dropna=False, sort=True)
    return [
        _setting(group, factor, dict(zip(others, key[3:], strict=True))) for key, group in groups
    ]


def _setting(group: pd.DataFrame, factor: str, others: dict[str, Any]) -> Setting:
    rows = group.index.to_numpy()
    numeric = pd.api.types.is_numeric_dtype(group[factor])
    levels = group[factor].to_numpy(dtype=float) if numeric else np.full(len(group), np.nan)
    zero = (levels == 0) & (factor in LEARNING_RATES)
    first = group.iloc[0]
    return Setting(
        first["task"],
        first["arm"],
        first["baseline"],
        {name: level for name, level in others.items() if not pd.isna(level)},
        rows[~zero],  # points are sorted by their factors
        levels[~zero],
        int(rows[zero][0]) if zero.any() else None,
    )


def baselines(all_settings: Sequence[Setting]) -> list[Setting | None]:
    """Setting of the baseline arm that each setting is compared with, None where there is none.

    It has the same task and the same level of every factor that both arms have; factors that only
    the compared arm has (hypergrad_lr) are free. A base arm's setting is its own.
    """
    by_arm: dict[tuple[str, str], list[Setting]] = defaultdict(list)
    for setting in all_settings:
        by_arm[setting.task, setting.arm].append(setting)
    return [
        _baseline(setting, by_arm[setting.task, setting.baseline]) if setting.baseline else setting
        for setting in all_settings
    ]


def _baseline(setting: Setting, candidates: Sequence[Setting]) -> Setting | None:
    fitting = [base for base in candidates if _agree(setting.fixed, base.fixed)]
    if len(fitting) > 1:
        raise InputError(
            f"task {setting.task!r}: arm {setting.arm!r}: baseline {setting.baseline!r}",
            "must match at one point",
            f"{len(fitting)} points",
            "give both arms the factors that the baseline varies",
        )
    return fitting[0] if fitting else None


def baseline_rows(panel: Panel) -> NDArray[np.int64]:
    """Point of the baseline at each point's own lr and shared factors, (n_points,); -1: none."""
    found = settings(panel, "lr")
    rows = np.full(len(panel.points), -1)
    for setting, base in zip(found, baselines(found), strict=True):
        if base is None or base is setting:
            continue
        of_base, of_setting, _ = shared_levels(base, setting)
        rows[of_setting] = of_base
        if base.zero_row is not None and setting.zero_row is not None:
            rows[setting.zero_row] = base.zero_row
    return rows


def shared_levels(
    one: Setting, other: Setting
) -> tuple[NDArray[np.int64], NDArray[np.int64], Floats]:
    """Points of two settings at the levels that both have, zero left out, and those levels."""
    levels, at_one, at_other = np.intersect1d(one.levels, other.levels, return_indices=True)
    return one.rows[at_one], other.rows[at_other], levels


def name_of(setting: Setting) -> str:
    """Name a setting in one phrase, for lists and messages."""
    fixed = ", ".join(f"{name} = {level(value)}" for name, value in setting.fixed.items())
    return f"{setting.arm} on {setting.task}" + (f" ({fixed})" if fixed else "")


def _agree(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return all(one[name] == other[name] for name in one.keys() & other.keys())


def levels_per_decade(levels: ArrayLike) -> float:
    """Levels per decade of a log-spaced grid; NaN for fewer than two or unequal spacing.

    >>> round(levels_per_decade([1e-3, 3.16228e-3, 1e-2]), 3)
    2.0
    """
    x = np.asarray(levels, dtype=np.float64)
    if x.size < 2 or np.isnan(x).any() or (x <= 0).any():
        return float("nan")
    gaps = np.diff(np.log10(np.sort(x)))
    equal = gaps.min() > 0 and np.ptp(gaps) <= SPACING_TOLERANCE
    return float(1 / gaps.mean()) if equal else float("nan")


def decades_within(regret: ArrayLike, levels: ArrayLike, threshold: float = 0.05) -> float:
    """Decades of a factor with mean regret <= threshold: such levels / levels per decade.

    `regret` and `levels` are (n_levels,), one mean regret a level.

    >>> round(decades_within([0.9, 0.04, 0.0, 1.0], [1e-4, 1e-3, 1e-2, 1e-1]), 6)
    2.0
    """
    return float(np.sum(np.asarray(regret) <= threshold)) / levels_per_decade(levels)
