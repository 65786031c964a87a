"""Each part of the claim decided for each task and setting, with what decided it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.decisions import ALPHA, Decision
from hdsens.analysis.claims.doubts import agree
from hdsens.analysis.measures.intervals import holm


@dataclass(frozen=True)
class Part:
    """One part of the claim on one task at one setting.

    Attributes:
        fixed: the HD arm's other factors; empty for C4, which is about the whole arm.
        p: (n_tests,) p-value of each test against it, adjusted by Holm where several are made.
        names: (n_tests,) what each test is about, such as "lr = 0.1"; `quantities`: what its
            effect is, as a formula with the names of the arms.
        supported_tests: (n_tests,) tests that support it; `made`: tests that it asks for.
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
    made: tuple[bool, ...]
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
        if self.verdict == "refuted":
            return int(np.nanargmin(self.p))
        estimate, _, upper, _ = self.decision.effect
        open_ = np.isnan(upper) & ~np.isnan(estimate)
        height = np.nan_to_num(np.where(open_, estimate, upper), nan=-np.inf)
        order = zip(self.made, open_.tolist(), height.tolist(), strict=True)
        return max(enumerate(order), key=lambda test: test[1])[0]

    @property
    def quantity(self) -> str:
        """What the effect shown is, as a formula."""
        if any(self.made):
            return self.quantities[self.deciding]
        return f"r({self.arm}) − r({self.baseline})"

    @property
    def decided_by(self) -> str:
        """Levels, draws or seeds that made it what it is."""
        if self.verdict == "refuted":
            return self._refuted_by
        if bool(self.decision.supported) and self.held_back:
            return f"{self.tested}; held back: {'; '.join(self.held_back)}"
        if self.verdict == "inconclusive" and len(self.names) > 1:
            tests = zip(self.names, self.p, self.supported_tests, strict=True)
            open_tests = [name for name, p, ok in tests if not ok and not np.isnan(p)]
            return f"not settled at {', '.join(open_tests)}" if open_tests else self.tested
        return self.tested

    @property
    def _refuted_by(self) -> str:
        at, effect = self.p <= ALPHA, self.decision.effect
        names = [name for name, against in zip(self.names, at, strict=True) if against]
        told = ", ".join(names) if len(self.names) > 1 else self.tested
        alike = at & agree(effect)
        return f"{told}; {effect.n[alike].min()} seeds agree" if alike.any() else told


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
