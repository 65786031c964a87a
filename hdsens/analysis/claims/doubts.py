"""Why a part is not called supported though its intervals allow it, in words."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.decisions import MIN_SEEDS_ALIKE, MOST_DRAWS
from hdsens.analysis.claims.pairs import WORKS_BELOW, Pair, numbers
from hdsens.analysis.measures.intervals import Interval
from hdsens.analysis.measures.tunability import ArmGrid
from hdsens.analysis.panel.settings import levels_per_decade

NO_SPREAD = 1e-4
"""Width of an interval of regret: a hundredth of the least margin, above float32's rounding."""


def no_range(levels: Floats) -> Iterable[str]:
    """R is a mean over equally spaced levels; over others it says what the choice of them says."""
    if levels.size < 2:
        yield "one level of lr shows no sensitivity"
    elif np.isnan(levels_per_decade(levels)):
        yield "the lr levels are not equally spaced in log10"


def nothing_works(pair: Pair) -> Iterable[str]:
    """As good as, or less sensitive than, a base that fails everywhere would be true and empty."""
    if not pair.base_works:
        yield f"{pair.setting.baseline} works at no nonzero lr on the pilot seeds"


def zero_fails(regret: float) -> Iterable[str]:
    """No worse than a bad base is not "works"."""
    if regret > WORKS_BELOW:
        yield f"lr = 0 does not work, its mean regret is {regret:.2g}"


def not_run_at(arm: str, baseline: str, levels: Floats) -> Iterable[str]:
    """Levels that an arm leaves out may be those where it is bad."""
    if levels.size:
        yield f"{arm} was not run at lr = {numbers(levels)} of {baseline}"


def best_elsewhere(pair: Pair) -> Iterable[str]:
    """G compares each arm at its own best lr; a base that was not run at the other's may be better
    there.
    """
    if not np.isnan(pair.hd_best_level) and pair.hd_best_level not in pair.base_levels:
        yield (
            f"{pair.setting.baseline} was not run at lr = {pair.hd_best_level:g}, the best of"
            f" {pair.setting.arm}"
        )


def without_result(seeds: NDArray[np.int64]) -> Iterable[str]:
    """A lost cell can be run again."""
    if seeds.size:
        yield f"a cell of seeds {numbers(seeds)} has no result"


def few_alike(names: Sequence[str], effect: Interval) -> Iterable[str]:
    """Seeds that agree make the interval a point, however few they are.

    That no seed of n differs leaves a share of 1 − 0.05^(1/n) that may (one-sided 95%): 78% for
    two, 26% for ten.
    """
    alike = agree(effect)
    at = [name for name, same in zip(names, alike, strict=True) if same]
    if at:
        n = int(effect.n[alike].min())
        yield f"{', '.join(at)}: {n} seeds agree, and {MIN_SEEDS_ALIKE} are needed then"


def agree(effect: Interval) -> NDArray[np.bool_]:
    """Tests, (n_tests,), in which fewer than ten seeds have no spread but that of rounding."""
    few = (effect.n > 1) & (effect.n < MIN_SEEDS_ALIKE)
    return np.asarray(few & (effect.upper - effect.lower <= NO_SPREAD))


def few_choices(grid: ArmGrid, base: ArmGrid, most: int) -> Iterable[str]:
    """With one level of its own factors an arm has nothing more to tune than its baseline."""
    own = grid.points.loc[:, grid.points.notna().any() & base.points.isna().all()]
    if not own.empty and len(own.drop_duplicates()) == 1:
        yield f"{grid.arm} was run at one level of {', '.join(own.columns)}"
    if most < MOST_DRAWS:
        yield f"k = {MOST_DRAWS} needs grids of {MOST_DRAWS} points, these reach k = {most}"
