"""The answer in words, from the verdict and the sensitivity table."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from hdsens.analysis import Accounting, Verdict
from hdsens.report.families import Family
from hdsens.report.text import count, duration, interval, join, level, number, share
from hdsens.study import Arm, Study

Row = pd.Series


def question(study: Study) -> str:
    """What a study asks."""
    if any(arm.hypergrad_lr is not None for arm in study.arms):
        return "Does hypergradient descent make the result depend less on the learning rate?"
    return "How much does the result depend on the learning rate?"


def answers(rows: pd.DataFrame, family: Family, judged: Verdict | str) -> list[str]:
    """The answer for a family: what the verdict says of each HD arm, then the regret behind it.

    `rows` are the family's rows of `sensitivity_table` at one setting of other factors.
    """
    if len(rows) and (rows["n_diverged"] == rows["n_cells"]).all():
        names = join([arm.name for arm in family.arms])
        return [f"Every cell of {names} diverged: nothing was learnt at any lr."]
    if family.base is None or not family.others:
        return [_alone(rows, arm.name) for arm in family.arms]
    said = [sentence for arm in family.others for sentence in _of_arm(arm, judged)]
    return [*said, *_regrets(rows, family.base.name, [arm.name for arm in family.others])]


def _alone(rows: pd.DataFrame, name: str) -> str:
    known = rows[rows["arm"] == name].dropna(subset="regret_mean")
    if not len(known):
        return f"{name}: no seed has a result at every level of lr."
    worst = known["regret_worst"].max()
    return (
        f"{name} has no arm to compare with: over lr its mean regret is"
        f" {_range(known)}, at its worst level {share(worst)}."
    )


def _of_arm(arm: Arm, judged: Verdict | str) -> list[str]:
    if isinstance(judged, str):
        return [f"No verdict on {arm.name}: {judged}."]
    parts = judged.parts[judged.parts["arm"] == arm.name]
    tested = parts[parts["primary"]]
    if len(tested):
        joint = judged.joint.set_index("arm").loc[arm.name]
        return [_confirmed(arm, str(joint["verdict"]), str(joint["not_supported"]), tested)]
    first = parts[parts["part"] == "C1"]
    return [_explored(arm, list(first["verdict"]))] if len(first) else []


def _confirmed(arm: Arm, outcome: str, not_supported: str, tested: pd.DataFrame) -> str:
    setting = tested["hypergrad_lr"].dropna() if "hypergrad_lr" in tested else tested["arm"][:0]
    where = (
        f" at hypergrad_lr {level(float(setting.iloc[0]))}, fixed beforehand"
        if len(setting)
        else ""
    )
    rest = f" ({not_supported} not supported)" if not_supported else ""
    return (
        f"{outcome.capitalize()}: {arm.name} depends much less on lr than {arm.baseline}, works"
        f" from lr = 0, is never worse and not harder to tune{where}{rest}."
    )


def _explored(arm: Arm, outcomes: Sequence[str]) -> str:
    """What C1 came to over the settings of an arm."""
    n = len(outcomes)
    counts = {kind: outcomes.count(kind) for kind in ("supported", "refuted", "inconclusive")}
    than = f"much less sensitive to lr than {arm.baseline}"
    each = f" at each of {n} settings of hypergrad_lr" if n > 1 else ""
    if counts["supported"] == n:
        return f"{arm.name} is {than}{each}."
    if counts["refuted"] == n:
        return f"That {arm.name} is {than} is refuted{each}."
    if counts["inconclusive"] == n:
        return f"Whether {arm.name} is {than} is not settled{each}."
    others = {"refuted": "refuted", "inconclusive": "not settled"}
    rest = join([f"{word} at {counts[kind]}" for kind, word in others.items() if counts[kind]])
    return (
        f"{arm.name} is {than} at {counts['supported'] or 'none'} of {n} settings of hypergrad_lr;"
        f" that is {rest}."
    )


def windows(judged: Verdict | str, family: Family) -> list[str]:
    """Where C1, C2 and C3 are supported together, a sentence an HD arm; descriptive."""
    if isinstance(judged, str) or not len(judged.window):
        return []
    return [
        f"{arm.name}: C1, C2 and C3 are supported together at {_levels(row['supported'])}."
        for arm in family.others
        for _, row in judged.window[judged.window["arm"] == arm.name].head(1).iterrows()
    ]


def _levels(supported: Sequence[float]) -> str:
    if not supported:
        return "no level of hypergrad_lr that was tried"
    return f"hypergrad_lr {join([level(value) for value in supported])}"


def _regrets(rows: pd.DataFrame, base: str, others: Sequence[str]) -> list[str]:
    known = rows.dropna(subset="regret_mean")
    own = {name: known[known["arm"] == name] for name in (base, *others)}
    said = [f"{name} {_range(own[name])}" for name in others if len(own[name])]
    if not said or not len(own[base]):
        return ["Regret over lr is not known for both: no seed has a result at every level of lr."]
    zero = [f"{name} {_range(own[name], 'regret_zero')}" for name in others if len(own[name])]
    return [
        f"Mean regret over lr: {join(said)}, against {base} {_range(own[base])}."
        f" From lr = 0: {join(zero)}."
    ]


def _range(rows: pd.DataFrame, column: str = "regret_mean") -> str:
    """Lowest and highest regret of some settings, each with its interval."""
    order = rows.dropna(subset=column).sort_values(column, kind="stable")
    if not len(order):
        return "not known"
    ends = order.iloc[[0, -1]] if len(order) > 1 else order
    columns = (column, f"{column}_lower", f"{column}_upper")
    return " to ".join(interval(*(row[c] for c in columns)) for _, row in ends.iterrows())


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
