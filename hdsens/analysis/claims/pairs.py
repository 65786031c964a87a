"""A setting of a compared arm beside its baseline's, level by level and seed by seed."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.evidence import SettingEvidence
from hdsens.analysis.claims.pilots import Reading
from hdsens.analysis.measures.regret import normalised_regret
from hdsens.analysis.measures.sensitivity import best_row
from hdsens.analysis.panel.panel import Panel, Runs
from hdsens.analysis.panel.settings import (
    Setting,
    baselines,
    levels_per_decade,
    name_of,
    settings,
    shared_levels,
)

WORKS_BELOW = 0.5  # mean regret up to which an arm works: the baseline at a level, others at lr = 0


@dataclass(frozen=True)
class Pair:
    """One setting of a compared arm and the setting of its baseline that it is compared with.

    Attributes:
        evidence: regret of both, over the nonzero levels that both have.
        levels: (n_levels,) of lr.
        base_best_level, arm_best_level: lr of each one's own pilot-best nonzero level; NaN: none.
        base_levels: all nonzero levels of the baseline.
        base_diverged, arm_diverged: (n_levels,) seeds that diverged.
        base_works: whether the baseline works at any nonzero level, shared or not.
        absent: nonzero levels of the baseline that the arm was not run at; `absent_working`: those
            of them at which the baseline works.
        seeds: (n_seeds,).
        lost_base, lost_arm: (n_levels, n_seeds) cells that should have a regret and have none;
            `lost_base_best`, `lost_arm_best`, `lost_zero`: (n_seeds,) likewise.
        unpaired: seeds with a failed or missing cell at a shared level; `unpaired_zero`: at lr = 0.
        restrictions: what was left out of every claim, named.
    """

    setting: Setting
    evidence: SettingEvidence
    levels: Floats
    base_best_level: float
    arm_best_level: float
    base_levels: Floats
    base_diverged: NDArray[np.int64]
    arm_diverged: NDArray[np.int64]
    base_works: bool
    absent: Floats
    absent_working: Floats
    seeds: NDArray[np.int64]
    lost_base: NDArray[np.bool_]
    lost_arm: NDArray[np.bool_]
    lost_base_best: NDArray[np.bool_]
    lost_arm_best: NDArray[np.bool_]
    lost_zero: NDArray[np.bool_]
    unpaired: NDArray[np.int64]
    unpaired_zero: NDArray[np.int64]
    restrictions: tuple[str, ...]

    @property
    def task(self) -> str:
        """Label of the task."""
        return self.setting.task

    @property
    def arm(self) -> str:
        """Name of the compared arm."""
        return self.setting.arm

    @property
    def baseline(self) -> str:
        """Name of the arm that it is compared with."""
        return self.setting.baseline

    @property
    def fixed(self) -> Mapping[str, Any]:
        """Levels of the arm's other factors."""
        return self.setting.fixed

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Seeds with a result at every level of both, (n_seeds,)."""
        return np.asarray(~np.isnan(self.evidence.base + self.evidence.arm).any(axis=0))


def pair_up(panel: Panel, reading: Reading) -> tuple[list[Pair], list[str]]:
    """Pair every setting of a compared arm with its baseline's; name those that have none."""
    best = reading.best[:, None]
    regret = normalised_regret(panel.runs.loss, best, panel.runs.initial)
    pilot = reading.base.pilot
    scores = _Scores(
        regret,
        panel.runs.expected & np.isnan(regret),
        np.where(panel.runs.used, panel.runs.diverged, np.nan),
        _works(pilot, normalised_regret(pilot.loss, best, pilot.initial)),
    )
    pairs: list[Pair] = []
    alone: list[str] = []
    found = settings(panel, "lr")
    for setting, base in zip(found, baselines(found), strict=True):
        if base is setting:
            continue
        if base is None or not np.isin(setting.levels, base.levels).any():
            alone.append(f"{name_of(setting)}: no level of lr in common with {setting.baseline!r}")
        else:
            pairs.append(_pair(setting, base, panel, reading.base, scores))
    return pairs, alone


def _works(pilot: Runs, regret: Floats) -> NDArray[np.bool_]:
    known = ~np.isnan(regret)
    total = np.where(known, regret, 0.0).sum(axis=1)
    low = total <= WORKS_BELOW * known.sum(axis=1)
    return np.asarray(known.any(axis=1) & ~pilot.diverged.any(axis=1) & low)


class _Scores(NamedTuple):
    """Of all points: regret, cells that should have one and have none, divergence (1, 0, NaN)."""

    regret: Floats
    lost: NDArray[np.bool_]
    diverged: Floats
    works: NDArray[np.bool_]


def _pair(setting: Setting, base: Setting, panel: Panel, chooser: Panel, scores: _Scores) -> Pair:
    base_rows, arm_rows, levels = shared_levels(base, setting)
    base_best, arm_best = best_row(base, chooser), best_row(setting, panel)
    zero = setting.zero_row
    regret, lost, diverged, works = scores
    absent = ~np.isin(base.levels, setting.levels)

    def at(values: NDArray[Any], row: int | None, otherwise: Any) -> NDArray[Any]:
        return np.full(values.shape[1], otherwise) if row is None else values[row]

    return Pair(
        setting=setting,
        evidence=SettingEvidence(
            base=regret[base_rows],
            arm=regret[arm_rows],
            base_best=at(regret, base_best, np.nan),
            arm_best=at(regret, arm_best, np.nan),
            zero=at(regret, zero, np.nan),
            zero_diverged=at(diverged, zero, np.nan),
            base_works=works[base_rows],
        ),
        levels=levels,
        base_best_level=_level(base, base_best),
        arm_best_level=_level(setting, arm_best),
        base_levels=base.levels,
        base_diverged=panel.runs.diverged[base_rows].sum(axis=1),
        arm_diverged=panel.runs.diverged[arm_rows].sum(axis=1),
        base_works=bool(works[base.rows].any()),
        absent=base.levels[absent],
        absent_working=base.levels[absent & works[base.rows]],
        seeds=panel.runs.seeds,
        lost_base=lost[base_rows],
        lost_arm=lost[arm_rows],
        lost_base_best=at(lost, base_best, False),
        lost_arm_best=at(lost, arm_best, False),
        lost_zero=at(lost, zero, False),
        unpaired=_without_result(panel.runs, [*base_rows, *arm_rows]),
        unpaired_zero=_without_result(panel.runs, [] if zero is None else [zero]),
        restrictions=(
            *_restrictions(setting, base, levels),
            *_at_the_edge(base, _level(base, base_best)),
        ),
    )


def _without_result(runs: Runs, rows: Sequence[int]) -> NDArray[np.int64]:
    """Seeds that were run at some of the points and have a failed or missing cell at one."""
    expected = runs.expected[rows].any(axis=0)
    return np.asarray(runs.seeds[expected & ~runs.used[rows].all(axis=0)])


def _level(setting: Setting, row: int | None) -> float:
    return float("nan") if row is None else float(setting.levels[setting.rows == row][0])


def _at_the_edge(base: Setting, best: float) -> Sequence[str]:
    """Name a baseline whose best lr is at an end of its grid: it may look worse than it is."""
    for end, edge in (("lowest", base.levels.min()), ("highest", base.levels.max())):
        if base.levels.size > 1 and best == edge:
            return [
                f"{name_of(base)}: its best lr, {best:g}, is the {end} tried; a better one may lie"
                " beyond"
            ]
    return []


def _restrictions(setting: Setting, base: Setting, levels: Floats) -> Iterable[str]:
    name = name_of(setting)
    apart = np.setxor1d(setting.levels, base.levels)
    if apart.size:
        yield f"{name}: lr {numbers(apart)} not in both arms, left out"
    if levels.size > 1 and np.isnan(levels_per_decade(levels)):
        yield f"{name}: lr levels are not equally spaced in log10; they count alike"


def numbers(values: NDArray[np.generic]) -> str:
    """Levels or seeds as a list in words."""
    return ", ".join(f"{value:g}" for value in values)
