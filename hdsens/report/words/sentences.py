"""What a study asks, cost and lacks, and a figure's numbers, in words."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from hdsens.analysis import Accounting
from hdsens.analysis.panel.factors import factors_of
from hdsens.analysis.panel.families import Family, families_of_study
from hdsens.study import Study
from hdsens.text import count, duration, join, level, number

Row = pd.Series


def question(*studies: Study) -> str:
    """The question that one or several studies ask."""
    found = (family for study in studies for family in families_of_study(study))
    compared = list(dict.fromkeys(family for family in found if family.compared))
    hd = {arm.name for study in studies for arm in study.arms if arm.is_hd}
    if hd and hd.issuperset(arm for family in compared for arm in family.compared):
        return "Does hypergradient descent make the result depend less on the learning rate?"
    if len(compared) == 1:
        arms, base = compared[0].compared, compared[0].base
        does = "Does" if len(arms) == 1 else "Do"
        return f"{does} {join(list(arms))} depend less on the learning rate than {base}?"
    if compared:
        return "Do the compared arms depend less on the learning rate than their baselines?"
    return "How much does the result depend on the learning rate?"


def how_far(account: Accounting) -> str | None:
    """A sentence on the cells that are missing or failed; None where none are."""
    parts = []
    if account.missing:
        parts.append(f"{count(account.missing, 'cell')} of {account.expected:,} did not run yet")
    if account.failed:
        verb = "has" if account.failed == 1 else "have"
        parts.append(f"{count(account.failed, 'cell')} failed and {verb} no result")
    if not account.used:
        parts.append("no cell has a result, so there is nothing to compare")
    return f"This report is partial: {join(parts)}." if parts else None


def cost(cells: pd.DataFrame) -> str:
    """Training time of all cells together."""
    return duration(float(cells["wall_s"].sum()))


def curve_text(rows: pd.DataFrame, family: Family) -> str:
    """A figure's numbers for a screen reader: lowest and highest mean loss of each arm."""
    factors = [name for name in factors_of(rows) if name != "lr"]
    parts = []
    for name in family.arms:
        own = rows[rows["arm"] == name].dropna(subset="loss_mean").sort_values("loss_mean")
        if len(own):
            best, worst = own.iloc[0], own.iloc[-1]
            parts.append(
                f"{name}: lowest mean {number(best['loss_mean'])} at lr {level(best['lr'])}"
                f"{_levels(best, factors)}, highest {number(worst['loss_mean'])}"
                f" at lr {level(worst['lr'])}{_levels(worst, factors)}"
            )
    return ". ".join(parts)


def idle_words(rows: pd.DataFrame, family: Family) -> str:
    """Say that the base arm does not train at lr = 0, where its loss there is the initial one."""
    base = family.base
    at_zero = rows[(rows["arm"] == base) & (rows["lr"] == 0)].dropna(subset="loss_mean")
    if not len(at_zero) or not np.allclose(
        at_zero["loss_mean"], at_zero["initial_loss"], rtol=1e-3
    ):
        return ""
    return f"at lr = 0 {base} does not train (initial loss)"


def _levels(row: Row, factors: Sequence[str]) -> str:
    known = [name for name in factors if not pd.isna(row[name])]
    return "".join(f", {name} {level(row[name])}" for name in known)
