"""The answer in words, from the sensitivity table alone."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hdsens.analysis import Accounting
from hdsens.report.families import Family
from hdsens.report.text import count, duration, join, level, number
from hdsens.study import Study

Row = pd.Series


def question(study: Study) -> str:
    """What a study asks."""
    if any(arm.hypergrad_lr is not None for arm in study.arms):
        return "Does hypergradient descent make the result depend less on the learning rate?"
    return "How much does the result depend on the learning rate?"


def answers(rows: pd.DataFrame, family: Family) -> list[str]:
    """What the intervals of mean regret say, one sentence for each HD arm of a family.

    `rows` are the family's rows of `sensitivity_table` at one setting of other factors. Two
    settings differ where their 95% intervals do not meet, which is stricter than a test of the
    difference.
    """
    if len(rows) and (rows["n_diverged"] == rows["n_cells"]).all():
        names = join([arm.name for arm in family.arms])
        return [f"Every cell of {names} diverged: nothing was learnt at any lr."]
    if family.base is None or not family.others:
        return [_alone(rows, arm.name) for arm in family.arms]
    base = rows[rows["arm"] == family.base.name]
    return [
        _against(family.base.name, base, arm.name, rows[rows["arm"] == arm.name])
        for arm in family.others
    ]


def _alone(rows: pd.DataFrame, name: str) -> str:
    known = rows[rows["arm"] == name].dropna(subset="regret_mean")
    if not len(known):
        return f"{name}: no seed has a result at every level of lr."
    worst = known["regret_worst"].max()
    return (
        f"{name} has no arm to compare with: over lr its mean regret is"
        f" {_range(known['regret_mean'])}, at its worst level {number(worst)}."
    )


def _range(values: pd.Series[float]) -> str:
    low, high = number(values.min()), number(values.max())
    return low if low == high else f"{low} to {high}"


def _against(base: str, base_rows: pd.DataFrame, name: str, rows: pd.DataFrame) -> str:
    said = (
        [_compare(row, base_rows.iloc[0]) for _, row in rows.iterrows()] if len(base_rows) else []
    )
    if not said:
        return f"{name} cannot be compared with {base}: no seed has a result at every level of lr."
    if set(said) == {"unknown"}:
        return f"One seed cannot tell whether {name} depends less on lr than {base}: no intervals."
    kinds = [kind for kind in PHRASES if kind in said]
    first = f"{PHRASES[kinds[0]]} {base}{_share(kinds[0], said)}"
    others = [f"{PHRASES[kind]} it at {said.count(kind)}" for kind in kinds[1:]]
    return f"{name} {join([first, *others])}."


PHRASES = {
    "less": "depends less on lr than",
    "more": "depends more on lr than",
    "unclear": "cannot be told apart from",
    "unknown": "has no interval to compare with",
}


def _share(kind: str, said: Sequence[str]) -> str:
    """At how many of the settings; nothing where there is only one."""
    n = said.count(kind)
    if len(said) == 1:
        return ""
    return f" at {'each' if n == len(said) else n} of {len(said)} settings of hypergrad_lr"


def _compare(row: Row, base: Row) -> str:
    if pd.isna(row["regret_mean_upper"]) or pd.isna(base["regret_mean_upper"]):
        return "unknown"
    if row["regret_mean_upper"] < base["regret_mean_lower"]:
        return "less"
    return "more" if row["regret_mean_lower"] > base["regret_mean_upper"] else "unclear"


def how_far(account: Accounting) -> str | None:
    """What is missing, as a sentence; None when nothing is."""
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


def curve_text(rows: pd.DataFrame, names: Sequence[str]) -> str:
    """A figure's numbers for a screen reader: lowest and highest mean loss of each arm."""
    parts = []
    for name in names:
        own = rows[rows["arm"] == name].dropna(subset="loss_mean").sort_values("loss_mean")
        if len(own):
            best, worst = own.iloc[0], own.iloc[-1]
            parts.append(
                f"{name}: lowest mean {number(best['loss_mean'])} at lr {level(best['lr'])}"
                f"{_hypergrad(best)}, highest {number(worst['loss_mean'])}"
                f" at lr {level(worst['lr'])}{_hypergrad(worst)}"
            )
    return ". ".join(parts)


def _hypergrad(row: Row) -> str:
    value = row.get("hypergrad_lr")
    return "" if value is None or pd.isna(value) else f", hypergrad_lr {level(value)}"
