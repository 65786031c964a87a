"""An HD setting beside its baseline's, level by level and seed by seed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.grid import (
    Setting,
    baselines,
    levels_per_decade,
    settings,
    shared_levels,
)
from hdsens.analysis.intervals import Floats
from hdsens.analysis.panel import Panel
from hdsens.analysis.regret import normalised_regret, reference_loss
from hdsens.analysis.sensitivity import best_row

WORKS_BELOW = 0.5  # mean pilot regret of the base at a level where C3 is tested


@dataclass(frozen=True)
class Pair:
    """Regret of an HD setting and of its baseline's, over lr.

    Attributes:
        base, hd: (n_levels, n_seeds) regret at the nonzero levels that both have.
        levels: (n_levels,) of lr.
        base_best, hd_best: (n_seeds,) regret of each at its own pilot-best nonzero level.
        base_best_level, hd_best_level: those levels of lr.
        zero, zero_diverged: (n_seeds,) regret of HD at lr = 0, and whether it diverged (1, 0, NaN).
        base_diverged, hd_diverged: (n_levels,) seeds that diverged.
        eligible: (n_levels,) whether all pilot seeds of the base complete there with mean r <= 0.5.
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
    zero: Floats
    zero_diverged: Floats
    base_diverged: NDArray[np.int64]
    hd_diverged: NDArray[np.int64]
    eligible: NDArray[np.bool_]
    seeds: NDArray[np.int64]
    restrictions: tuple[str, ...]

    @property
    def gap(self) -> Floats:
        """G by seed, (n_seeds,)."""
        return self.hd_best - self.base_best

    @property
    def paired(self) -> NDArray[np.bool_]:
        """Seeds with a result at every level of both, (n_seeds,)."""
        return np.asarray(~np.isnan(self.base + self.hd).any(axis=0))


def pair_up(panel: Panel) -> tuple[list[Pair], list[str]]:
    """Pair every setting of an HD arm with its baseline's; and name the settings that have none."""
    best = reference_loss(panel, "family")[:, None]
    regret = normalised_regret(panel.runs.loss, best, panel.runs.initial)
    eligible = _works(panel, normalised_regret(panel.pilot.loss, best, panel.pilot.initial))
    pairs: list[Pair] = []
    alone: list[str] = []
    found = settings(panel, "lr")
    for setting, base in zip(found, baselines(found), strict=True):
        if base is setting:
            continue
        if base is None or not np.isin(setting.levels, base.levels).any():
            alone.append(f"{name_of(setting)}: no level of lr in common with {setting.baseline!r}")
        else:
            pairs.append(_pair(setting, base, panel, regret, eligible))
    return pairs, alone


def name_of(setting: Setting) -> str:
    """Name a setting in one phrase, for lists and messages."""
    fixed = ", ".join(
        f"{name} = {level:g}" if _is_number(level) else f"{name} = {level}"
        for name, level in setting.fixed.items()
    )
    return f"{setting.arm} on {setting.task}" + (f" ({fixed})" if fixed else "")


def _is_number(level: object) -> bool:
    return isinstance(level, (int, float)) and not isinstance(level, bool)


def _works(panel: Panel, pilot_regret: Floats) -> NDArray[np.bool_]:
    pilot = panel.pilot
    completed = pilot.used & ~pilot.diverged
    whole = (completed | ~pilot.expected).all(axis=1) & completed.any(axis=1)
    total = np.where(completed, pilot_regret, 0.0).sum(axis=1)
    return np.asarray(whole & (total <= WORKS_BELOW * completed.sum(axis=1)))


def _pair(
    setting: Setting, base: Setting, panel: Panel, regret: Floats, eligible: NDArray[np.bool_]
) -> Pair:
    base_rows, hd_rows, levels = shared_levels(base, setting)
    base_best, hd_best = best_row(base, panel), best_row(setting, panel)
    nothing = np.full(regret.shape[1], np.nan)
    diverged, used = panel.runs.diverged, panel.runs.used
    zero = setting.zero_row
    return Pair(
        setting=setting,
        levels=levels,
        base=regret[base_rows],
        hd=regret[hd_rows],
        base_best=nothing if base_best is None else regret[base_best],
        hd_best=nothing if hd_best is None else regret[hd_best],
        base_best_level=_level(base, base_best),
        hd_best_level=_level(setting, hd_best),
        zero=nothing if zero is None else regret[zero],
        zero_diverged=nothing if zero is None else np.where(used[zero], diverged[zero], np.nan),
        base_diverged=diverged[base_rows].sum(axis=1),
        hd_diverged=diverged[hd_rows].sum(axis=1),
        eligible=eligible[base_rows],
        seeds=panel.runs.seeds,
        restrictions=tuple(_restrictions(setting, base, panel, levels)),
    )


def _level(setting: Setting, row: int | None) -> float:
    return float("nan") if row is None else float(setting.levels[setting.rows == row][0])


def _restrictions(setting: Setting, base: Setting, panel: Panel, levels: Floats) -> Sequence[str]:
    notes = []
    name = name_of(setting)
    apart = np.setxor1d(setting.levels, base.levels)
    if apart.size:
        notes.append(f"{name}: lr {_numbers(apart)} not in both arms, left out")
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
            f"{name}: seeds {_numbers(unpaired)} left out of C1, a cell is failed or missing"
        )
    return notes


def _numbers(values: NDArray[np.generic]) -> str:
    return ", ".join(f"{value:g}" for value in values)
