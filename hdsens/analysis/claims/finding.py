"""What a claim came to at one setting, with its numbers and what decided it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.claim import ALPHA, Claim, Decision, Grounds, Rule
from hdsens.analysis.claims.seeds import agree
from hdsens.analysis.measures.intervals import holm
from hdsens.study import Margins


class Subject(Protocol):
    """What a claim is asked of: a setting (`Pair`) or a whole arm (`Grids`)."""

    @property
    def task(self) -> str:
        """Label of the task."""

    @property
    def arm(self) -> str:
        """Name of the arm that the claim is about."""

    @property
    def baseline(self) -> str:
        """Name of the arm that it is compared with."""

    @property
    def fixed(self) -> Mapping[str, Any]:
        """Levels of the arm's own factors."""

    @property
    def evidence(self) -> Any:
        """Arrays that the claim's `decide` takes."""


@dataclass(frozen=True)
class Finding:
    """A claim at one setting of an arm on one task.

    Attributes:
        claim: the question and its rule; `margins`: the rule's.
        task, arm, baseline: labels; `fixed`: levels of the arm's own factors, empty where the claim
            is about the arm as a whole.
        primary: whether the setting was fixed beforehand, so that the finding is a test.
        decision: what the rule says of the intervals; `grounds`: what that rests on.
        p: (n_tests,) p-value of each test against the claim, adjusted by Holm where several are
            made.
    """

    claim: Claim
    task: str
    arm: str
    baseline: str
    fixed: Mapping[str, Any]
    primary: bool
    margins: Margins
    decision: Decision
    grounds: Grounds
    p: Floats

    @property
    def rule(self) -> Rule:
        """The claim's rule with the margins filled in."""
        return self.claim.rule(self.margins)

    @property
    def margin(self) -> float:
        """The margin that decides."""
        margin = self.claim.margin
        return float(getattr(self.margins, margin) if isinstance(margin, str) else margin)

    @property
    def verdict(self) -> str:
        """The verdict on the claim: supported, refuted or inconclusive."""
        if bool(self.decision.supported) and not self.grounds.held_back:
            return "supported"
        return "refuted" if bool((self.p <= ALPHA).any()) else "inconclusive"

    @property
    def side(self) -> str | None:
        """Side of the baseline's best lr on which the claim holds; None where it has no sides."""
        return self.grounds.side

    @property
    def held_back(self) -> tuple[str, ...]:
        """Why the claim is not called supported; empty where its intervals do not allow it."""
        return self.grounds.held_back if bool(self.decision.supported) else ()

    @property
    def p_refuted(self) -> float:
        """Smallest adjusted p-value; NaN where nothing was tested."""
        return float("nan") if np.isnan(self.p).all() else float(np.nanmin(self.p))

    @property
    def p_alone(self) -> float:
        """Holm over this finding's own tests only; 1 where nothing was tested."""
        p = holm(self.decision.p_refuted)
        return 1.0 if np.isnan(p).all() else float(np.nanmin(p))

    @property
    def effect(self) -> float:
        """Estimate at the test that decides; NaN where nothing was tested."""
        return self._shown(self.decision.effect.estimate)

    @property
    def lower(self) -> float:
        """Lower bound of the effect."""
        return self._shown(self.decision.effect.lower)

    @property
    def upper(self) -> float:
        """Upper bound of the effect."""
        return self._shown(self.decision.effect.upper)

    @property
    def n_seeds(self) -> int:
        """Seeds behind the effect."""
        return int(self.decision.effect.n[self._deciding]) if any(self.grounds.asked) else 0

    @property
    def quantity(self) -> str:
        """What the effect is, as a formula."""
        if any(self.grounds.asked):
            return self.grounds.quantities[self._deciding]
        return f"r({self.arm}) − r({self.baseline})"

    @property
    def decided_by(self) -> str:
        """The levels, draws or seeds that decided the verdict, in words."""
        if self.verdict == "refuted":
            return self._refuted_by
        if self.held_back:
            return f"{self.grounds.tested}; held back: {'; '.join(self.held_back)}"
        if self.verdict == "inconclusive":
            return self._left_open_by
        return self.grounds.tested

    def _shown(self, values: Floats) -> float:
        return float(values[self._deciding]) if any(self.grounds.asked) else float("nan")

    @property
    def _deciding(self) -> int:
        """Index of the test to show: the strongest refutation, else the test closest to one."""
        if self.verdict == "refuted":
            return int(np.nanargmin(self.p))
        estimate, _, upper, _ = self.decision.effect
        open_ = np.isnan(upper) & ~np.isnan(estimate)
        height = np.nan_to_num(np.where(open_, estimate, upper), nan=-np.inf)
        order = zip(self.grounds.asked, open_.tolist(), height.tolist(), strict=True)
        return max(enumerate(order), key=lambda test: test[1])[0]

    @property
    def _left_open_by(self) -> str:
        names, holds = self.grounds.names, self.grounds.holds
        tests = zip(names, self.p, holds, strict=True)
        open_tests = [name for name, p, ok in tests if not ok and not np.isnan(p)]
        if len(names) > 1 and open_tests:
            return f"not settled at {', '.join(open_tests)}"
        return self.grounds.tested

    @property
    def _refuted_by(self) -> str:
        at, effect = self.p <= ALPHA, self.decision.effect
        names = [name for name, against in zip(self.grounds.names, at, strict=True) if against]
        where = ", ".join(names) if len(self.grounds.names) > 1 else self.grounds.tested
        alike = at & agree(effect)
        return f"{where}; {effect.n[alike].min()} seeds agree" if alike.any() else where


def find(claim: Claim, subject: Subject, margins: Margins, *, primary: bool) -> Finding:
    """Decide a claim on one subject."""
    decision = claim.decide(subject.evidence, margins)
    return Finding(
        claim,
        subject.task,
        subject.arm,
        subject.baseline,
        dict(subject.fixed),
        primary,
        margins,
        decision,
        claim.ground(subject, decision, margins),
        decision.p_refuted,
    )


def hold_back(finding: Finding, reasons: Sequence[str]) -> Finding:
    """The finding with further reasons not to call it supported."""
    held_back = (*finding.grounds.held_back, *reasons)
    return replace(finding, grounds=replace(finding.grounds, held_back=held_back))


def adjust(findings: Sequence[Finding]) -> list[Finding]:
    """Adjust claims that make several tests: Holm over levels or draws, families and tasks.

    The primary settings are one family of tests; a descriptive setting is adjusted with the same
    setting on the other tasks.
    """
    groups: dict[tuple[Any, ...], list[int]] = defaultdict(list)
    for i, found in enumerate(findings):
        if found.claim.adjusted:
            setting = () if found.primary else (found.arm, *sorted(found.fixed.items()))
            groups[found.claim.name, found.primary, setting].append(i)
    result = list(findings)
    for members in groups.values():
        sizes = np.cumsum([findings[i].p.size for i in members])[:-1]
        adjusted = np.split(holm(np.concatenate([findings[i].p for i in members])), sizes)
        for i, p in zip(members, adjusted, strict=True):
            result[i] = replace(findings[i], p=p)
    return result
