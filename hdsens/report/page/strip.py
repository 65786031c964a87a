"""The verdict as the page says it: marks for each claim, and the numbers behind."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.claims.catalogue import CLAIMS, claim_named, findings_at_settings, findings_on
from hdsens.analysis.claims.claim import Claim
from hdsens.study import Arm
from hdsens.text import interval, level, percent

MOST_COLUMNS = 8
MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


@dataclass(frozen=True)
class Mark:
    """A finding: how it is drawn, and in words."""

    sign: str
    verdict: str
    evidence: str


@dataclass(frozen=True)
class Strip:
    """Findings on an arm: claims down, settings of hypergrad_lr across.

    `at` are the levels of other factors in words, `settings` written levels, `tested` those that
    were fixed beforehand; `rows` hold a claim with one mark a setting (None: not judged). A claim
    about the arm as a whole has one mark for all settings.
    """

    arm: str
    at: str
    label: str
    joint: str | None
    settings: tuple[str, ...]
    tested: tuple[str, ...]
    rows: tuple[tuple[Claim, tuple[Mark | None, ...]], ...]

    @property
    def counts(self) -> tuple[tuple[Claim, tuple[int, ...]], ...]:
        """Claims with how many settings have each mark, where there are too many to show."""
        if len(self.settings) <= MOST_COLUMNS:
            return ()
        return tuple(
            (claim, tuple(sum(m is not None and m.verdict == v for m in marks) for v in MARKS))
            for claim, marks in self.rows
        )


def strip(found: Verdict, arm: Arm, at: str = "", *, whole: bool = True) -> Strip | None:
    """Marks of one arm, from findings at one setting of the factors besides hypergrad_lr.

    `whole`: with what is about the arm as a whole, which stands in one of its strips only.
    """
    rows = found.parts if whole else findings_at_settings(found.parts)
    rows = rows[rows["arm"] == arm.name]
    if not len(rows):
        return None
    levels = sorted(rows["hypergrad_lr"].dropna().unique()) if "hypergrad_lr" in rows else []
    by_claim = [(claim, findings_on(claim, rows)) for claim in CLAIMS]
    joint = found.joint[(found.joint["arm"] == arm.name) & found.joint["tested"]]
    return Strip(
        arm.name,
        at,
        found.label,
        str(joint["verdict"].iloc[0]) if len(joint) else None,
        tuple(level(float(value)) for value in levels),
        _tested(rows),
        tuple((claim, _marks(own, levels)) for claim, own in by_claim if len(own)),
    )


def _tested(rows: pd.DataFrame) -> tuple[str, ...]:
    if "hypergrad_lr" not in rows:
        return ()
    chosen = rows.loc[rows["primary"], "hypergrad_lr"].dropna()
    return tuple(level(float(value)) for value in sorted(chosen.unique()))


def _marks(rows: pd.DataFrame, levels: list[float]) -> tuple[Mark | None, ...]:
    if rows["hypergrad_lr"].isna().all():
        return (_mark(rows.iloc[0]),)
    by_level = {float(row["hypergrad_lr"]): _mark(row) for _, row in rows.iterrows()}
    return tuple(by_level.get(float(h)) for h in levels)


def _mark(row: pd.Series) -> Mark:
    bounds = interval(row["effect"], row["lower"], row["upper"])
    sure = f" ({percent(row['confidence'])}%)" if bounds.endswith("]") else ""
    evidence = f"{bounds}{sure}; {row['decided_by']}"
    sides = [row["side"]] if row["verdict"] == "supported" else []
    only = claim_named(row["part"]).holds_only(sides, row["baseline"])
    return Mark(MARKS[row["verdict"]], row["verdict"], f"{evidence}; {only}" if only else evidence)
