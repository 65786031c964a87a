"""An HD setting beside its baseline's, level by level and seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
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

WORKS_BELOW = 0.5  # mean regret where an arm works: of the base where C3 is tested, of HD at lr = 0


@dataclass(frozen=True)
class Pair:
    """Regret of an HD setting and of its baseline's, over lr.

    Attributes:
        base, hd: (n_levels, n_seeds) regret at the nonzero levels that both have.
        levels: (n_levels,) of lr.
        base_best, hd_best: (n_seeds,) regret of each at its own pilot-best nonzero level.
        base_best_level, hd_best_level: those levels of lr; `base_levels`: all of the base's.
        zero, zero_diverged: (n_seeds,) regret of HD at lr = 0, and whether it diverged (1, 0, NaN).
        base_diverged, hd_diverged: (n_levels,) seeds that diverged.
        eligible: (n_levels,) whether all pilot seeds of the base complete there with mean r <= 0.5;
            pilot cells without a result are passed over here, and hold back support.
        base_works: whether any nonzero level of the base is eligible, shared or not.
        absent: nonzero levels of the base that the HD arm was not run at; `absent_eligible`: those
            of them that are eligible.
        lost_base, lost_hd: (n_levels, n_seeds) cells that should have a regret and have none;
            `lost_base_best`, `lost_hd_best`,
            `lost_zero`: (n_seeds,) likewise.
        restrictions: what was left out, named.
    """

    setting: Setting
    levels: Floats
    base: Floats
    hd: Floats
    base_best: Floats
    hd_best: Floats
    base_best_level: float
    hd_best_level: float
    base_levels: Floats
    zero: Floats
    zero_diverged: Floats
    base_diverged: NDArray[np.int64]
    hd_diverged: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    base_works: bool
    absent: Floats
    absent_eligible: Floats
    seeds: NDArray[np.int64]
    lost_base: NDArray[np.bool_]
    lost_hd: NDArray[np.bool_]
    lost_base_best: NDArray[np.bool_]
    lost_hd_best: NDArray[np.bool_]
    lost_zero: NDArray[np.bool_]
    restrictions: tuple[str, ...]

    @property
    def gap(self) -> Floats:
        """G by seed, (n_seeds,)."""
        return self.hd_best - self.base_best

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Seeds with a result at every level of both, (n_seeds,)."""
        return np.asarray(~np.isnan(self.base + self.hd).any(axis=0))


def pair_up(panel: Panel, reading: Reading) -> tuple[list[Pair], list[str]]:
    """Pair every setting of an HD arm with its baseline's; and name the settings that have none."""
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
    base_rows, hd_rows, levels = shared_levels(base, setting)
    base_best, hd_best = best_row(base, chooser), best_row(setting, panel)
    zero = setting.zero_row
    regret, lost, diverged, works = scores
    absent = ~np.isin(base.levels, setting.levels)

    def at(values: NDArray[Any], row: int | None, otherwise: Any) -> NDArray[Any]:
        return np.full(values.shape[1], otherwise) if row is None else values[row]

    return Pair(
        setting=setting,
        levels=levels,
        base=regret[base_rows],
        hd=regret[hd_rows],
        base_best=at(regret, base_best, np.nan),
        hd_best=at(regret, hd_best, np.nan),
        base_best_level=_level(base, base_best),
        hd_best_level=_level(setting, hd_best),
        base_levels=base.levels,
        zero=at(regret, zero, np.nan),
        zero_diverged=at(diverged, zero, np.nan),
        base_diverged=panel.runs.diverged[base_rows].sum(axis=1),
        hd_diverged=panel.runs.diverged[hd_rows].sum(axis=1),
        eligible=works[base_rows],
        base_works=bool(works[base.rows].any()),
        absent=base.levels[absent],
        absent_eligible=base.levels[absent & works[base.rows]],
        seeds=panel.runs.seeds,
        lost_base=lost[base_rows],
        lost_hd=lost[hd_rows],
        lost_base_best=at(lost, base_best, False),
        lost_hd_best=at(lost, hd_best, False),
        lost_zero=at(lost, zero, False),
        restrictions=(
            *_restrictions(setting, base, panel, levels),
            *_at_the_edge(base, _level(base, base_best)),
        ),
    )


def _level(setting: Setting, row: int | None) -> float:
    return float("nan") if row is None else float(setting.levels[setting.rows == row][0])


def _at_the_edge(base: Setting, best: float) -> Sequence[str]:
    """A grid that ends before the baseline's valley does makes it look worse than it is."""
    for end, edge in (("lowest", base.levels.min()), ("highest", base.levels.max())):
        if base.levels.size > 1 and best == edge:
            return [
                f"{name_of(base)}: its best lr, {best:g}, is the {end} tried; a better one may lie"
                " beyond"
            ]
    return []


def _restrictions(setting: Setting, base: Setting, panel: Panel, levels: Floats) -> Sequence[str]:
    notes = []
    name = name_of(setting)
    apart = np.setxor1d(setting.levels, base.levels)
    if apart.size:
        notes.append(f"{name}: lr {numbers(apart)} not in both arms, left out")
    if levels.size > 1 and np.isnan(levels_per_decade(levels)):
        notes.append(f"{name}: lr levels are not equally spaced in log10; they count alike")
    if setting.zero_row is None:
        notes.append(f"{name}: lr = 0 was not run, C2 is not tested")
    base_rows, hd_rows, _ = shared_levels(base, setting)
    rows = [*base_rows, *hd_rows]
    expected = panel.runs.expected[rows].any(axis=0)
    unpaired = panel.runs.seeds[expected & ~panel.runs.used[rows].all(axis=0)]
    if unpaired.size:
        notes.append(
            f"{name}: seeds {numbers(unpaired)} left out of C1, a cell is failed or missing"
        )
    if setting.zero_row is not None:
        lost = panel.runs.expected[setting.zero_row] & ~panel.runs.used[setting.zero_row]
        if lost.any():
            notes.append(
                f"{name}: seeds {numbers(panel.runs.seeds[lost])} left out of C2, the cell at"
                " lr = 0 is failed or missing"
            )
    return notes


def numbers(values: NDArray[np.generic]) -> str:
    """List levels or seeds."""
    return ", ".join(f"{value:g}" for value in values)
