"""The verdict as the page says it: a sentence, marks for each part, and the numbers behind."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.study import Arm
from hdsens.text import interval, level, percent

MOST_COLUMNS = 8
MARKS = {"supported": "✓", "refuted": "✗", "inconclusive": "?"}


@dataclass(frozen=True)
class Mark:
    """One part's verdict at one setting: how it is drawn, and in words."""

    sign: str
    verdict: str
    evidence: str


@dataclass(frozen=True)
class Strip:
    """Verdicts of an HD arm: claims down, settings of hypergrad_lr across.

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
    rows: tuple[tuple[str, tuple[Mark | None, ...]], ...]

    @property
    def counts(self) -> tuple[tuple[str, tuple[int, ...]], ...]:
        """Claims with how many settings have each mark, where there are too many to show."""
        if len(self.settings) <= MOST_COLUMNS:
            return ()
        return tuple(
            (claim, tuple(sum(m is not None and m.verdict == v for m in marks) for v in MARKS))
            for claim, marks in self.rows
        )


def strip(found: Verdict, arm: Arm, at: str = "", *, whole: bool = True) -> Strip | None:
    """Marks of one arm, from parts at one setting of the factors besides hypergrad_lr.

    `whole`: with C4, which is about the arm as a whole and stands in one of its strips only.
    """
    rows = found.parts[(found.parts["arm"] == arm.name) & (whole | (found.parts["part"] != "C4"))]
    if not len(rows):
        return None
    levels = sorted(rows["hypergrad_lr"].dropna().unique()) if "hypergrad_lr" in rows else []
    claims = rows.drop_duplicates("part").sort_values("part")
    joint = found.joint[(found.joint["arm"] == arm.name) & found.joint["tested"]]
    return Strip(
        arm.name,
        at,
        found.label,
        str(joint["verdict"].iloc[0]) if len(joint) else None,
        tuple(level(float(value)) for value in levels),
        _tested(rows),
        tuple(
            (f"{name} {claim}", _marks(rows[rows["part"] == name], levels))
            for name, claim in zip(claims["part"], claims["claim"], strict=True)
        ),
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
    side = f"; only {row['side']} the baseline's best lr" if one_sided(row) else ""
    return Mark(MARKS[row["verdict"]], row["verdict"], evidence + side)


def one_sided(row: pd.Series) -> bool:
    """Whether C1 holds on one side of the baseline's best lr only."""
    return row["verdict"] == "supported" and row["side"] in ("below", "above")
