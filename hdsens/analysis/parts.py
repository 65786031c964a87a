"""Each part of the claim decided for each task and setting, with what decided it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdsens.analysis.claims import (
    ALPHA,
    ONE_SIDED,
    Decision,
    Margins,
    less_sensitive,
    never_worse,
    not_harder_to_tune,
    zero_works,
)
from hdsens.analysis.intervals import CONFIDENCE, Floats, clopper_pearson, holm, mean_interval
from hdsens.analysis.pairs import Pair
from hdsens.analysis.tunability import ArmGrid, doubling, expected_best

MOST_DRAWS = 8


@dataclass(frozen=True)
class Part:
    """One part of the claim on one task at one setting.

    Attributes:
        fixed: the HD arm's other factors; empty for C4, which is about the whole arm.
        p: (n_tests,) p-value of each test against it, adjusted by Holm where several are made.
        names: (n_tests,) what each test is about, such as "lr = 0.1".
        supported_tests: (n_tests,) tests that support it.
        tested: what was tested, in words.
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
    supported_tests: tuple[bool, ...]
    tested: str
    confidence: float
    margin: float
    side: str | None = None
    check: tuple[str, float, float, float] | None = None

    @property
    def verdict(self) -> str:
        """Supported, refuted or inconclusive."""
        if bool(self.decision.supported):
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
        if self.verdict == "inconclusive" and len(self.names) > 1:
            tests = zip(self.names, self.p, self.supported_tests, strict=True)
            open_tests = [name for name, p, ok in tests if not ok and not np.isnan(p)]
            return "not settled at " + ", ".join(open_tests) if open_tests else self.tested
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
    n = int(pair.paired.sum())
    tested = (
        f"{_range(pair.levels)}, {n} paired seeds; G at lr = {pair.hd_best_level:g},"
        f" baseline at lr = {pair.base_best_level:g}"
    )
    return Part(
        "C1",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=(tested,),
        supported_tests=(bool(decision.supported),),
        tested=tested,
        confidence=CONFIDENCE,
        margin=margins.ratio,
        side=side_of(pair, margins),
        check=("G, regret at best lr", float(gap.estimate), float(gap.lower), float(gap.upper)),
    )


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
    share = len(diverged) / n if n else float("nan")
    return Part(
        "C2",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=(tested,),
        supported_tests=(bool(decision.supported),),
        tested=tested,
        confidence=CONFIDENCE,
        margin=margins.zero,
        check=("share diverged", share, float(lower), float(upper)),
    )


def _never_worse(pair: Pair, primary: bool, margins: Margins) -> Part:
    decision = never_worse(pair.base, pair.hd, pair.eligible, margins)
    n = int(pair.eligible.sum())
    what = f"{n} of {pair.levels.size} lr levels, where the base works on the pilot seeds"
    return Part(
        "C3",
        **_labels(pair, primary),
        decision=decision,
        p=decision.p_refuted,
        names=tuple(f"lr = {level:g}" for level in pair.levels),
        supported_tests=tuple(map(bool, decision.effect.upper < margins.worse)),
        tested=what if n else "no level of lr where the base works on the pilot seeds",
        confidence=ONE_SIDED,
        margin=margins.worse,
    )


def tuning_part(grid: ArmGrid, base: ArmGrid, primary: bool, margins: Margins) -> Part:
    """C4 of one HD arm: expected best of k = 1, 2, 4, 8 draws, or as far as both grids go."""
    draws = doubling(min(MOST_DRAWS, grid.regret.shape[1], base.regret.shape[1]))
    base_best, hd_best = (expected_best(arm.regret, draws).T for arm in (base, grid))
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
        supported_tests=tuple(map(bool, decision.effect.upper < margins.tuning)),
        tested=", ".join(names),
        confidence=CONFIDENCE,
        margin=margins.tuning,
    )


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
