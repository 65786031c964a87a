"""C1 to C4 of one HD setting, with what decided them in words."""

from __future__ import annotations

from typing import Any

import numpy as np

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.decisions import (
    MIN_SEEDS_FOR_ZERO,
    MOST_DRAWS,
    ONE_SIDED,
    TOLERATED_DIVERGENCE,
    as_test,
    less_sensitive,
    never_worse,
    not_harder_to_tune,
    zero_works,
)
from hdsens.analysis.claims.doubts import (
    agree,
    best_elsewhere,
    few_alike,
    few_choices,
    no_range,
    not_run_at,
    nothing_works,
    without_result,
    zero_fails,
)
from hdsens.analysis.claims.findings import Part
from hdsens.analysis.claims.pairs import Pair
from hdsens.analysis.measures.intervals import CONFIDENCE, Interval, clopper_pearson, mean_interval
from hdsens.analysis.measures.tunability import ArmGrid, equal_pools, expected_best, uncommon_points
from hdsens.study import Margins


def parts_of_pair(pair: Pair, primary: bool, margins: Margins) -> list[Part]:
    """C1, C2 and C3 of one HD setting."""
    return [
        _insensitivity(pair, primary, margins),
        _zero(pair, primary, margins),
        _never_worse(pair, primary, margins),
    ]


def _labels(pair: Pair, primary: bool) -> dict[str, Any]:
    setting = pair.setting
    return {
        "task": setting.task,
        "arm": setting.arm,
        "baseline": setting.baseline,
        "fixed": dict(setting.fixed),
        "primary": primary,
    }


def _insensitivity(pair: Pair, primary: bool, margins: Margins) -> Part:
    decision = less_sensitive(pair.base, pair.hd, pair.gap, margins)
    gap = mean_interval(pair.gap)
    setting = pair.setting
    alike = bool(agree(decision.effect).any())
    tested = (
        f"{_range(pair.levels)}, {_seeds(int(pair.paired.sum()), alike)}; G at lr ="
        f" {pair.hd_best_level:g}, baseline at lr = {pair.base_best_level:g}, {_paired(int(gap.n))}"
    )
    lost = (pair.lost_base | pair.lost_hd).any(axis=0) | pair.lost_base_best | pair.lost_hd_best
    return Part(
        "C1",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=(tested,),
        quantities=(f"R({setting.arm}) − {margins.ratio:g}·R({setting.baseline})",),
        supported_tests=(bool(decision.supported),),
        made=(True,),
        tested=tested,
        rule=(
            f"supported: interval of R − {margins.ratio:g}·R(baseline) below 0, that of G below"
            f" {margins.best:g}; refuted: one of them above"
        ),
        confidence=CONFIDENCE,
        margin=margins.ratio,
        side=side_of(pair, margins),
        check=("G, regret at best lr", float(gap.estimate), float(gap.lower), float(gap.upper)),
        held_back=(
            *no_range(pair.levels),
            *nothing_works(pair),
            *not_run_at(setting.arm, setting.baseline, pair.absent),
            *best_elsewhere(pair),
            *without_result(pair.seeds[lost]),
            *few_alike(["R"], decision.effect),
            *few_alike(["G"], as_test(gap)),
        ),
    )


def _paired(n: int) -> str:
    return f"{n} paired seeds" if n != 1 else "1 seed"


def _seeds(n: int, alike: bool = False) -> str:
    wide = "" if alike else ": the interval is very wide"
    return _paired(n) + {0: ": no interval", 1: ": no interval", 2: wide}.get(n, "")


def _fewest(effect: Interval) -> str:
    """Say that one or two seeds hardly make intervals."""
    n = int(effect.n.min())
    return f"; {_seeds(n, bool(agree(effect).any()))}" if n <= 2 else ""


def side_of(pair: Pair, margins: Margins) -> str:
    """Sides of the base's pilot-best lr on which C1's contrast is below 0 with confidence."""
    contrast = pair.hd - margins.ratio * pair.base
    sides = {
        "below": pair.levels < pair.base_best_level,
        "above": pair.levels > pair.base_best_level,
    }
    held = [
        name
        for name, at in sides.items()
        if at.any() and bool(mean_interval(contrast[at].mean(axis=0)).upper < 0)
    ]
    return "both" if len(held) == 2 else held[0] if held else "neither"


def _range(levels: Floats) -> str:
    return f"{levels.size} levels, lr = {levels.min():g} to {levels.max():g}"


def _zero(pair: Pair, primary: bool, margins: Margins) -> Part:
    decision = zero_works(pair.zero, pair.base_best, pair.zero_diverged, margins)
    known = ~np.isnan(pair.zero_diverged)
    n, diverged = int(known.sum()), pair.seeds[pair.zero_diverged == 1]
    lower, upper = clopper_pearson(len(diverged), n if n > 1 else 0, ONE_SIDED)
    ran = f"lr = 0, {n} {'seeds' if n != 1 else 'seed'}, {len(diverged)} diverged"
    tested = ran if n else "lr = 0 was not run"
    tested += f" (seeds {', '.join(map(str, diverged))})" if len(diverged) else ""
    tested += f"; {MIN_SEEDS_FOR_ZERO} seeds are needed" if 0 < n < MIN_SEEDS_FOR_ZERO else ""
    setting = pair.setting
    return Part(
        "C2",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=(tested,),
        quantities=(
            f"r({setting.arm} at lr = 0) − r({setting.baseline} at lr ="
            f" {pair.base_best_level:g}, its best)",
        ),
        supported_tests=(bool(decision.supported),),
        made=(True,),
        tested=tested,
        rule=(
            f"supported: interval below {margins.zero:g} and none of at least"
            f" {MIN_SEEDS_FOR_ZERO} seeds diverged; refuted: interval above {margins.zero:g}, or"
            f" more than {TOLERATED_DIVERGENCE:.0%} diverge (one-sided)"
        ),
        confidence=CONFIDENCE,
        margin=margins.zero,
        check=(
            "share diverged",
            len(diverged) / n if n else float("nan"),
            float(lower),
            float(upper),
        ),
        held_back=(
            *nothing_works(pair),
            *zero_fails(float(mean_interval(pair.zero).estimate)),
            *without_result(pair.seeds[pair.lost_zero | pair.lost_base_best]),
        ),
    )


def _never_worse(pair: Pair, primary: bool, margins: Margins) -> Part:
    decision = never_worse(pair.base, pair.hd, pair.eligible, margins)
    setting, n = pair.setting, int(pair.eligible.sum())
    names = tuple(f"lr = {level:g}" for level in pair.levels)
    where = [name for name, tested in zip(names, pair.eligible, strict=True) if tested]
    lost = (pair.lost_base | pair.lost_hd)[pair.eligible].any(axis=0)
    effect = decision.effect.at(pair.eligible)
    return Part(
        "C3",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=names,
        quantities=tuple(f"r({setting.arm}) − r({setting.baseline}) at {name}" for name in names),
        supported_tests=tuple(map(bool, decision.effect.upper < margins.worse)),
        made=tuple(map(bool, pair.eligible)),
        tested=(
            f"{n} of {pair.levels.size} lr levels, where {setting.baseline} works on the pilot"
            f" seeds: {where[0].removeprefix('lr = ')} to {where[-1].removeprefix('lr = ')}"
            f"{_fewest(effect)}"
            if n
            else f"no level of lr where {setting.baseline} works on the pilot seeds"
        ),
        rule=(
            f"supported: upper bound below {margins.worse:g} at every level where the baseline"
            f" works; refuted: above {margins.worse:g} at one of them (Holm)"
        ),
        confidence=ONE_SIDED,
        margin=margins.worse,
        held_back=(
            *not_run_at(setting.arm, setting.baseline, pair.absent_eligible),
            *without_result(pair.seeds[lost]),
            *few_alike(where, effect),
        ),
    )


def tuning_part(
    grid: ArmGrid, base: ArmGrid, common: tuple[ArmGrid, ArmGrid], primary: bool, margins: Margins
) -> Part:
    """C4 of one HD arm: expected best of every k <= 8 draws, or as far as the pools go.

    Over the points that both arms were run at, `common` = `common_points(grid, base)`.
    """
    own, other = common
    pools = equal_pools(other.regret, own.regret)
    draws = np.arange(1, min(MOST_DRAWS, pools[0].shape[1]) + 1)
    base_best, hd_best = (expected_best(pool, draws).T for pool in pools)
    decision = not_harder_to_tune(base_best, hd_best, margins)
    names = tuple(f"k = {k}" for k in draws)
    return Part(
        "C4",
        grid.task,
        grid.arm,
        grid.baseline,
        {},
        primary,
        decision=decision,
        p=decision.p_refuted,
        names=names,
        quantities=tuple(
            f"expected best of {k} draws, {grid.arm} − {grid.baseline}" for k in draws
        ),
        supported_tests=tuple(map(bool, decision.effect.upper < margins.tuning)),
        made=(True,) * len(draws),
        tested=f"k = 1 to {draws[-1]}"
        + ("" if draws[-1] == MOST_DRAWS else ", all points of the grids")
        + uncommon_points(grid, base, own, other)
        + _fewest(decision.effect),
        rule=(
            f"supported: interval below {margins.tuning:g} at every k <= {MOST_DRAWS}; refuted:"
            f" above {margins.tuning:g} at one k (Holm)"
        ),
        confidence=CONFIDENCE,
        margin=margins.tuning,
        held_back=(
            *few_choices(own, other, int(draws[-1])),
            *not_run_at(grid.arm, grid.baseline, np.setdiff1d(base.rates, grid.full_rates)),
            *without_result(grid.seeds[own.lost.any(axis=1) | other.lost.any(axis=1)]),
            *few_alike(names, decision.effect),
        ),
    )
