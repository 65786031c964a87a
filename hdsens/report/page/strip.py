"""The verdict as the page says it: a sentence, marks for each part, and the numbers behind."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd

from hdsens.analysis import Verdict
from hdsens.analysis.panel.factors import factors_between
from hdsens.report.evidence.arm_settings import ArmSetting, settings_of_arm
from hdsens.text import interval, percent

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
    """Verdicts of a compared arm: claims down, its settings across.

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


def strip(found: Verdict, arm: str, at: str = "", *, whole: bool = True) -> Strip | None:
    """Marks of one arm, from parts at one setting of the factors besides hypergrad_lr.

    `whole`: with C4, which is about the arm as a whole and stands in one of its strips only.
    """
    rows = found.parts[(found.parts["arm"] == arm) & (whole | (found.parts["part"] != "C4"))]
    if not len(rows):
        return None
    factors = factors_between(rows, "baseline", "primary")
    by_level = rows[rows["part"] != "C4"]
    settings = [*settings_of_arm(by_level, arm, "compared", factors)]
    names = [setting.label for setting, _ in settings]
    claims = rows.drop_duplicates("part").sort_values("part")
    joint = found.joint[(found.joint["arm"] == arm) & found.joint["tested"]]
    return Strip(
        arm,
        at,
        found.label,
        str(joint["verdict"].iloc[0]) if len(joint) else None,
        _across([setting for setting, _ in settings]),
        tuple(names),
        tuple(setting.label for setting, own in settings if own["primary"].any()),
        tuple(
            (f"{name} {claim}", _marks(rows[rows["part"] == name], [own for _, own in settings]))
            for name, claim in zip(claims["part"], claims["claim"], strict=True)
        ),
    )


def _across(settings: Sequence[ArmSetting]) -> str:
    """What the columns are: levels of hypergrad_lr, or settings; empty where there is one alone."""
    told = {setting.told for setting in settings} - {()}
    if not told:
        return ""
    return "hypergrad_lr" if told == {("hypergrad_lr",)} else "setting"


def _marks(rows: pd.DataFrame, settings: Sequence[pd.DataFrame]) -> tuple[Mark | None, ...]:
    """A mark a setting, from the part's rows among those of each setting; C4 has one in all."""
    if (rows["part"] == "C4").all():
        return (_mark(rows.iloc[0]),)
    found = (rows[rows.index.isin(own.index)] for own in settings)
    return tuple(_mark(own.iloc[0]) if len(own) else None for own in found)


def _mark(row: pd.Series) -> Mark:
    bounds = interval(row["effect"], row["lower"], row["upper"])
    sure = f" ({percent(row['confidence'])}%)" if bounds.endswith("]") else ""
    evidence = f"{bounds}{sure}; {row['decided_by']}"
    side = f"; only {row['side']} the baseline's best lr" if one_sided(row) else ""
    return Mark(MARKS[row["verdict"]], row["verdict"], evidence + side)


def one_sided(row: pd.Series) -> bool:
    """Whether C1 holds on one side of the baseline's best lr only."""
    return row["verdict"] == "supported" and row["side"] in ("below", "above")
