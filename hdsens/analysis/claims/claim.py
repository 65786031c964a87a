"""What a claim is: a question about an arm beside its baseline, with its words and its rule."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hdsens.analysis.arrays import Floats
from hdsens.analysis.measures.intervals import CONFIDENCE, Interval, holm
from hdsens.study import Margins

Bools = NDArray[np.bool_]
ALPHA = 0.05
ONE_SIDED = 0.90  # a 90% interval has one-sided 95% bounds
UNIT = "normalised regret: 0 as good as tuned, 1 as bad as untrained"


class Decision(NamedTuple):
    """What a rule says of its evidence, arrays (...): axes are studies, decided independently.

    Attributes:
        supported: whether the intervals allow the claim.
        p_refuted: (..., n_tests) a p-value for each test of the opposite, to be compared with 0.05;
            NaN where it was not made.
        effect: (..., n_tests) the interval that decides, as estimate, lower, upper, n.
        check: interval of the second condition, where the rule has one.
    """

    supported: Bools
    p_refuted: Floats
    effect: Interval
    check: Interval | None = None

    @property
    def refuted(self) -> Bools:
        """Whether any test rejects at 5% after Holm over this decision's own tests."""
        return np.asarray((holm(self.p_refuted) <= ALPHA).any(axis=-1))


def as_test(interval: Interval) -> Interval:
    """Give an interval (...) a last axis of one test."""
    estimate, lower, upper, n = interval
    return Interval(estimate[..., None], lower[..., None], upper[..., None], n[..., None])


@dataclass(frozen=True)
class Grounds:
    """What a decision on one study rests on, in words.

    Attributes:
        names: (n_tests,) what each test is about, such as "lr = 0.1".
        quantities: (n_tests,) what its effect is, as a formula with the names of the arms.
        holds: (n_tests,) whether the test supports the claim.
        asked: (n_tests,) whether the rule asks for the test.
        tested: what was tested, as one phrase.
        limit: the value that the effect's upper bound must stay below.
        held_back: reasons why the claim is not called supported though its intervals allow it.
        left_out: restrictions that the claim adds to those of the whole verdict.
        side: side of the baseline's best lr on which the claim holds, a key of `Claim.sides`.
        check: estimate, lower and upper bound of the second condition.
    """

    names: tuple[str, ...]
    quantities: tuple[str, ...]
    holds: tuple[bool, ...]
    asked: tuple[bool, ...]
    tested: str
    limit: float
    held_back: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()
    side: str | None = None
    check: tuple[float, float, float] | None = None


@dataclass(frozen=True)
class Condition:
    """When a claim is supported, or refuted: as a formula for tables, in words for readers.

    Margins stand in braces by their names; `{best_points}` is the margin `best` in percent of what
    training can gain.
    """

    formula: str
    words: str

    def under(self, margins: Margins) -> Condition:
        """The condition with the values of these margins filled in."""
        values = {name: f"{value:g}" for name, value in margins}
        points = {f"{name}_points": f"{100 * value:g} points" for name, value in margins}
        return Condition(*(text.format(**values, **points) for text in (self.formula, self.words)))


@dataclass(frozen=True)
class Rule:
    """A claim's rule under the margins of a study."""

    claim: Claim
    supported: Condition
    refuted: Condition

    def __str__(self) -> str:
        """The rule as one line of formulas."""
        return f"supported: {self.supported.formula}; refuted: {self.refuted.formula}"


@dataclass(frozen=True)
class Claim:
    """A question about a compared arm, the rule that answers it, and the words for the answer.

    `holds` and `fails` are what the arm does, after its name; `{baseline}` stands for the other's.

    Attributes:
        name: as in "C1"; the column `part` of the verdict's tables.
        title: a few words for tables; the column `claim`.
        question: asked of the arm, as "it".
        holds: what the arm does where the claim is supported. Where it is open, whether it does.
        fails: what the arm does where the claim is refuted.
        supported, refuted: the two halves of the rule; between them the claim is inconclusive.
        margin: what decides: the name of a margin that studies state, or a number of its own.
        about: whether it is asked at each setting of the arm's own factors or of the whole arm.
        decide: the rule on arrays: evidence (see evidence.py) and margins to a decision.
        ground: what that decision rests on, from the subject, the decision and the margins.
        sides: words by side of the baseline's best lr for a claim that may hold on one side alone.
        check: name of the second condition; `check_words` say it, with `{bounds}` for its interval.
        confidence: of the two-sided interval that decides.
        adjusted: whether its p-values are adjusted over levels or draws, families and tasks.
        in_joint: whether the joint verdict asks for it.
        unit: of its effect.
    """

    name: str
    title: str
    question: str
    holds: str
    fails: str
    supported: Condition
    refuted: Condition
    margin: str | float
    about: Literal["setting", "arm"]
    decide: Callable[[Any, Margins], Decision] = field(repr=False)
    ground: Callable[[Any, Decision, Margins], Grounds] = field(repr=False)
    sides: Mapping[str, str] = field(default_factory=dict, hash=False)
    check: str | None = None
    check_words: str = ""
    confidence: float = CONFIDENCE
    adjusted: bool = False
    in_joint: bool = True
    unit: str = UNIT

    def rule(self, margins: Margins) -> Rule:
        """The rule with a study's margins."""
        return Rule(self, self.supported.under(margins), self.refuted.under(margins))

    def says(self, verdict: str, baseline: str | None) -> str:
        """What the arm does according to a verdict; for an inconclusive one, what is left open."""
        words = self.fails if verdict == "refuted" else self.holds
        return words.format(baseline=baseline)

    def holds_only(self, sides: Iterable[str], baseline: str | None) -> str:
        """Say that the claim holds on one side of the baseline's best lr alone; else no words."""
        alone = sorted({side for side in sides if side in PARTLY})
        where = " or ".join(self.sides[side] for side in alone)
        return f"{where} {baseline}'s best lr" if where else ""


PARTLY = ("above", "below")
"""Sides of the baseline's best lr: a claim that holds on one of them holds partly."""
