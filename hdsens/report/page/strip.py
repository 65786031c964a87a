"""The verdict as a strip of marks: a row a claim, a column a setting, with the numbers behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.claims.catalogue import (
    CLAIMS,
    claim_named,
    findings_at_settings,
    findings_on,
)
from hdsens.analysis.claims.claim import Claim
from hdsens.analysis.panel.factors import factors_between
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of_arm
from hdsens.text import interval, percent

MOST_COLUMNS = 8
MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


@dataclass(frozen=True)
class Mark:
    """A finding as a sign, with its evidence in words; `was`: its sign in earlier results."""

    sign: str
    verdict: str
    evidence: str
    was: str = ""


@dataclass(frozen=True)
class Strip:
    """Findings on a compared arm: claims down, its settings across.

    `at` are the levels of other factors in words; `across` is the factor that the columns are
    levels of, empty where they are none; `settings` name the columns, `tested` those that were
    fixed beforehand; `rows` hold a claim with one mark a setting (None: not judged). A claim about
    the arm as a whole has one mark for all settings.
    """

    arm: str
    at: str
    label: str
    joint: str | None
    across: str
    settings: tuple[str, ...]
    tested: tuple[str, ...]
    rows: tuple[tuple[Claim, tuple[Mark | None, ...]], ...]

    @property
    def flipped(self) -> tuple[int, ...]:
        """How many marks of each claim were another in earlier results."""
        return tuple(sum(bool(m and m.was) for m in marks) for _, marks in self.rows)

    @property
    def counts(self) -> tuple[tuple[Claim, tuple[int, ...]], ...]:
        """Claims with how many settings have each mark, where there are too many to show."""
        if len(self.settings) <= MOST_COLUMNS:
            return ()
        return tuple(
            (claim, tuple(sum(m is not None and m.verdict == v for m in marks) for v in MARKS))
            for claim, marks in self.rows
        )


def strip(found: Verdict, arm: str, at: str = "", *, whole: bool = True) -> Strip | None:
    """Marks of one arm, from findings at one setting of the factors besides hypergrad_lr.

    `whole`: with what is about the arm as a whole, which stands in one of its strips only.
    """
    rows = found.parts if whole else findings_at_settings(found.parts)
    rows = rows[rows["arm"] == arm]
    if not len(rows):
        return None
    factors = factors_between(rows, "baseline", "primary")
    settings = [*settings_of_arm(findings_at_settings(rows), arm, "compared", factors)]
    by_claim = [(claim, findings_on(claim, rows)) for claim in CLAIMS]
    joint = found.joint[(found.joint["arm"] == arm) & found.joint["tested"]]
    return Strip(
        arm,
        at,
        found.label,
        str(joint["verdict"].iloc[0]) if len(joint) else None,
        _across([setting for setting, _ in settings]),
        tuple(setting.label for setting, _ in settings),
        tuple(setting.label for setting, own in settings if own["primary"].any()),
        tuple(
            (claim, _marks(own, [at_setting for _, at_setting in settings]))
            for claim, own in by_claim
            if len(own)
        ),
    )


def _across(settings: Sequence[ArmSetting]) -> str:
    """What the columns are levels of: hypergrad_lr, or settings; empty for a single column."""
    shown = {setting.shown for setting in settings} - {()}
    if not shown:
        return ""
    return "hypergrad_lr" if shown == {("hypergrad_lr",)} else "setting"


def _marks(rows: pd.DataFrame, settings: Sequence[pd.DataFrame]) -> tuple[Mark | None, ...]:
    """One mark a setting; a claim about the arm as a whole has one in all."""
    if not len(findings_at_settings(rows)):
        return (_mark(rows.iloc[0]),)
    found = (rows[rows.index.isin(own.index)] for own in settings)
    return tuple(_mark(own.iloc[0]) if len(own) else None for own in found)


def _mark(row: pd.Series) -> Mark:
    bounds = interval(row["effect"], row["lower"], row["upper"])
    sure = f" ({percent(row['confidence'])}%)" if bounds.endswith("]") else ""
    evidence = f"{bounds}{sure}; {row['decided_by']}"
    sides = [row["side"]] if row["verdict"] == "supported" else []
    only = claim_named(row["part"]).holds_only(sides, row["baseline"])
    was = row.get("was")
    return Mark(
        MARKS[row["verdict"]],
        row["verdict"],
        "; ".join(filter(None, [evidence, only, f"earlier {was}" if was else ""])),
        MARKS[was] if was else "",
    )
