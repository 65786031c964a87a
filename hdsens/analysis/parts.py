"""Each part of the claim decided for each task and setting, with what decided it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.claims import (
    ALPHA,
    MIN_SEEDS_FOR_ZERO,
    ONE_SIDED,
    TOLERATED_DIVERGENCE,
    Decision,
    Margins,
    less_sensitive,
    never_worse,
    not_harder_to_tune,
    zero_works,
)
from hdsens.analysis.grid import levels_per_decade
from hdsens.analysis.intervals import CONFIDENCE, Floats, clopper_pearson, holm, mean_interval
from hdsens.analysis.pairs import WORKS_BELOW, Pair, numbers
from hdsens.analysis.tunability import ArmGrid, equal_pools, expected_best

MOST_DRAWS = 8


@dataclass(frozen=True)
class Part:
    """One part of the claim on one task at one setting.

    Attributes:
        fixed: the HD arm's other factors; empty for C4, which is about the whole arm.
        p: (n_tests,) p-value of each test against it, adjusted by Holm where several are made.
        names: (n_tests,) what each test is about, such as "lr = 0.1"; `quantities`: what its
            effect is, as a formula with the names of the arms.
        supported_tests: (n_tests,) tests that support it.
        tested: what was tested, in words; `rule`: what the verdict needs, in words.
        held_back: why it is not called supported though its intervals allow it.
    """

    name: str
    task: str
    arm: str
    baseline: str
    fixed: dict[str, Any]
    primary: bool
    decision: Decision
    p: Floats
    names: tuple[str, ...]
    quantities: tuple[str, ...]
    supported_tests: tuple[bool, ...]
    tested: str
    rule: str
    confidence: float
    margin: float
    side: str | None = None
    check: tuple[str, float, float, float] | None = None
    held_back: tuple[str, ...] = ()

    @property
    def verdict(self) -> str:
        """Supported, refuted or inconclusive."""
        if bool(self.decision.supported) and not self.held_back:
            return "supported"
        return "refuted" if bool((self.p <= ALPHA).any()) else "inconclusive"

    @property
    def p_alone(self) -> float:
        """Holm over this part's own tests only; 1 where nothing was tested."""
        p = holm(self.decision.p_refuted)
        return 1.0 if np.isnan(p).all() else float(np.nanmin(p))

    @property
    def p_refuted(self) -> float:
        """Smallest adjusted p-value; NaN where nothing was tested."""
        return float("nan") if np.isnan(self.p).all() else float(np.nanmin(self.p))

    @property
    def deciding(self) -> int:
        """Test to show: the strongest against it if refuted, else the one closest to that."""
        if np.isnan(self.p).all():
            return 0
        if self.verdict == "refuted":
            return int(np.nanargmin(self.p))
        upper = np.where(np.isnan(self.p), -np.inf, self.decision.effect.upper)
        return int(np.argmax(np.nan_to_num(upper, nan=np.inf)))

    @property
    def decided_by(self) -> str:
        """Levels, draws or seeds that made it what it is."""
        if self.verdict == "refuted" and len(self.names) > 1:
            return ", ".join(n for n, p in zip(self.names, self.p, strict=True) if p <= ALPHA)
        if bool(self.decision.supported) and self.held_back:
            return f"{self.tested}; held back: {'; '.join(self.held_back)}"
        if self.verdict == "inconclusive" and len(self.names) > 1:
            tests = zip(self.names, self.p, self.supported_tests, strict=True)
            open_tests = [name for name, p, ok in tests if not ok and not np.isnan(p)]
            return f"not settled at {', '.join(open_tests)}" if open_tests else self.tested
        return self.tested


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
    tested = (
        f"{_range(pair.levels)}, {_seeds(int(pair.paired.sum()))}; G at lr ="
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
            *_no_range(pair.levels),
            *_nothing_works(pair),
            *_not_run_at(setting.arm, setting.baseline, pair.absent),
            *_without_result(pair.seeds[lost]),
        ),
    )


def _no_range(levels: Floats) -> Iterable[str]:
    """R is a mean over equally spaced levels; over others it says what the choice of them says."""
    if levels.size < 2:
        yield "one level of lr shows no sensitivity"
    elif np.isnan(levels_per_decade(levels)):
        yield "the lr levels are not equally spaced in log10"


def _nothing_works(pair: Pair) -> Iterable[str]:
    """As good as, or less sensitive than, a base that fails everywhere would be true and empty."""
    if not pair.base_works:
        yield f"{pair.setting.baseline} works at no nonzero lr on the pilot seeds"


def _zero_fails(regret: float) -> Iterable[str]:
    if regret > WORKS_BELOW:
        yield f"lr = 0 does not work, its mean regret is {regret:.2g}"


def _not_run_at(arm: str, baseline: str, levels: Floats) -> Iterable[str]:
    """Levels that an arm leaves out may be those where it is bad."""
    if levels.size:
        yield f"{arm} was not run at lr = {numbers(levels)} of {baseline}"


def _without_result(seeds: NDArray[np.int64]) -> tuple[str, ...]:
    if not seeds.size:
        return ()
    return (f"a cell of seeds {', '.join(map(str, seeds))} has no result",)


def _paired(n: int) -> str:
    return f"{n} paired seeds" if n != 1 else "1 seed"


def _seeds(n: int) -> str:
    return _paired(n) + {
        0: ": no interval",
        1: ": no interval",
        2: ": the interval is very wide",
    }.get(n, "")


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
    lower, upper = clopper_pearson(len(diverged), n if n > 1 else 0)
    tested = "lr = 0 was not run" if not n else f"lr = 0, {n} seeds, {len(diverged)} diverged"
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
            *_nothing_works(pair),
            *_zero_fails(float(mean_interval(pair.zero).estimate)),
            *_without_result(pair.seeds[pair.lost_zero | pair.lost_base_best]),
        ),
    )


def _never_worse(pair: Pair, primary: bool, margins: Margins) -> Part:
    decision = never_worse(pair.base, pair.hd, pair.eligible, margins)
    setting, n = pair.setting, int(pair.eligible.sum())
    names = tuple(f"lr = {level:g}" for level in pair.levels)
    where = [name for name, tested in zip(names, pair.eligible, strict=True) if tested]
    lost = (pair.lost_base | pair.lost_hd)[pair.eligible].any(axis=0)
    return Part(
        "C3",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=names,
        quantities=tuple(f"r({setting.arm}) − r({setting.baseline}) at {name}" for name in names),
        supported_tests=tuple(map(bool, decision.effect.upper < margins.worse)),
        tested=(
            f"{n} of {pair.levels.size} lr levels, where {setting.baseline} works on the pilot"
            f" seeds: {where[0].removeprefix('lr = ')} to {where[-1].removeprefix('lr = ')}"
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
            *_not_run_at(setting.arm, setting.baseline, pair.absent_eligible),
            *_without_result(pair.seeds[lost]),
        ),
    )


def tuning_part(grid: ArmGrid, base: ArmGrid, primary: bool, margins: Margins) -> Part:
    """C4 of one HD arm: expected best of every k <= 8 draws, or as far as the pools go."""
    pools = equal_pools(base.regret, grid.regret)
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
        tested=f"k = 1 to {draws[-1]}"
        + ("" if draws[-1] == MOST_DRAWS else ", all points of the grids"),
        rule=(
            f"supported: interval below {margins.tuning:g} at every k <= {MOST_DRAWS}; refuted:"
            f" above {margins.tuning:g} at one k (Holm)"
        ),
        confidence=CONFIDENCE,
        margin=margins.tuning,
        held_back=(
            *_few_choices(grid, base, int(draws[-1])),
            *_not_run_at(grid.arm, grid.baseline, np.setdiff1d(base.rates, grid.full_rates)),
            *_without_result(grid.seeds[grid.lost | base.lost]),
        ),
    )


def _few_choices(grid: ArmGrid, base: ArmGrid, most: int) -> Iterable[str]:
    """With one level of its own factors an arm has nothing more to tune than its baseline."""
    own = grid.points.loc[:, grid.points.notna().any() & base.points.isna().all()]
    if not own.empty and len(own.drop_duplicates()) == 1:
        yield f"{grid.arm} was run at one level of {', '.join(own.columns)}"
    if most < MOST_DRAWS:
        yield f"k = {MOST_DRAWS} needs grids of {MOST_DRAWS} points, these reach k = {most}"


def adjust(parts: Sequence[Part]) -> list[Part]:
    """Adjust C3 and C4 for making several tests: Holm over levels or draws, families and tasks.

    The primary settings are one family of tests; a descriptive setting is adjusted with the same
    setting on the other tasks.
    """
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, part in enumerate(parts):
        if part.name in ("C3", "C4"):
            setting = () if part.primary else (part.arm, *sorted(part.fixed.items()))
            groups[part.name, part.primary, setting].append(i)
    result = list(parts)
    for members in groups.values():
        sizes = np.cumsum([parts[i].p.size for i in members])[:-1]
        adjusted = np.split(holm(np.concatenate([parts[i].p for i in members])), sizes)
        for i, p in zip(members, adjusted, strict=True):
            result[i] = replace(parts[i], p=p)
    return result
