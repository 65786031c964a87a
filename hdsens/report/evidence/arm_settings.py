"""An arm at one point of its factors besides lr: a curve, column or row of a figure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hdsens.analysis.panel.factors import factors_of
from hdsens.analysis.panel.families import Family, Side
from hdsens.text import level

MAX_NAME = 28


@dataclass(frozen=True)
class ArmSetting:
    """An arm at one level of each of its factors besides lr.

    Attributes:
        side: of the arm in its family.
        levels: the arm's factors besides lr with their levels.
        shown: the factors that the label shows: hypergrad_lr, if the arm has it, and others
            that the arm varies among what is shown.
    """

    arm: str
    side: Side
    levels: tuple[tuple[str, Any], ...] = ()
    shown: tuple[str, ...] = ()

    @property
    def label(self) -> str:
        """The levels of the shown factors; hypergrad_lr stands without its name."""
        levels = dict(self.levels)
        bare = {f: "" if f == "hypergrad_lr" else f"{f} " for f in self.shown}
        return " ".join(f"{word}{level(levels[f])}" for f, word in bare.items())

    @property
    def name(self) -> str:
        """The arm's name, shortened, with the label."""
        return f"{short(self.arm)} {self.label}".rstrip()


def short(arm: str) -> str:
    """An arm's name where there is little room."""
    return arm if len(arm) <= MAX_NAME else arm[: MAX_NAME - 1] + "…"


def settings_of(
    rows: pd.DataFrame, family: Family, factors: Sequence[str] | None = None
) -> Iterator[tuple[ArmSetting, pd.DataFrame]]:
    """Each setting of a family with its rows by rising lr: the base first, then by factor levels.

    Args:
        rows: of a table of the analysis, with the columns `arm` and the factors.
        family: its arms decide the order.
        factors: names of the factors; by default those of a table with one row a point.
    """
    named = factors or factors_of(rows)
    for arm in family.arms:
        for setting, group in settings_of_arm(rows, arm, family.side(arm), named):
            yield setting, group.sort_values("lr")


def settings_of_arm(
    rows: pd.DataFrame, arm: str, side: Side, factors: Sequence[str]
) -> Iterator[tuple[ArmSetting, pd.DataFrame]]:
    """Each setting of one arm with its rows, by rising levels of its factors besides lr."""
    own = rows[rows["arm"] == arm]
    has = [f for f in factors if f != "lr" and own[f].notna().any()]
    shown = tuple(f for f in has if f == "hypergrad_lr" or len(own[f].unique()) > 1)
    groups = [group for _, group in own.groupby(has, sort=True)] if has else [own]
    for group in groups if len(own) else ():
        first = group.iloc[0]
        yield ArmSetting(arm, side, tuple((f, first[f]) for f in has), shown), group
