"""The verdict as lines of text, to be read in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from hdsens.analysis.accounting import Accounting

CLAIMS = {
    "C1": "much less sensitive to lr",
    "C2": "lr = 0 works",
    "C3": "never worse than the baseline",
    "C4": "not harder to tune",
}
MARKS = {"supported": "+", "refuted": "-", "inconclusive": "?"}
SHORT = {"C1": "C1 less sensitive", "C2": "C2 lr = 0 works", "C3": "C3 never worse"}
KEY = (
    "Effects are in normalised regret: 0 = as good as the best tuned cell of the family, 1 = as bad"
    " as untrained."
)


def in_words(
    parts: pd.DataFrame,
    joint: pd.DataFrame,
    label: str,
    deviations: Sequence[str],
    account: Accounting,
) -> str:
    """The verdict on every arm, then what it rests on.

    An arm with a tested setting gets its answer and a line for each part; another a table of all
    its settings.
    """
    lines = [f"Verdict ({label})"]
    for row in _records(joint):
        own = parts[parts["arm"] == row["arm"]]
        lines += ["", *(_tested(row, own) if row["tested"] else _surveyed(row, own))]
    lines += ["", KEY, *_departures(label, deviations), str(account)]
    return "\n".join(lines)


def _departures(label: str, deviations: Sequence[str]) -> Iterable[str]:
    if not deviations:
        return
    yield "Departures from the protocol:" if label == "confirmatory" else "Read it with care:"
    yield from (f"  deviation: {text}" for text in deviations)


def _tested(joint: dict[str, Any], own: pd.DataFrame) -> Iterable[str]:
    parts = own[own["primary"]]
    settings = dict.fromkeys(_setting(row) for row in _records(parts) if row["part"] != "C4")
    at = f" at {'; '.join(filter(None, settings))}" if any(settings) else ""
    tasks = f"over {joint['n_tasks']} tasks" if joint["n_tasks"] > 1 else ""
    outcome = joint["verdict"].upper()
    yield " ".join(f"{outcome}: {joint['arm']} against {joint['baseline']}{at} {tasks}".split())
    for row in _records(parts):
        where = [row["task"]] if joint["n_tasks"] > 1 else []
        where += [_setting(row)] if len(settings) > 1 else []
        yield from _part(row, ", ".join(filter(None, where)))
    if joint["n_settings"] > 1:
        yield (
            f"  Of {joint['n_settings']} settings tried {joint['n_settings_refuted']} have a"
            " refuted part."
        )


def _part(row: dict[str, Any], where: str) -> Iterable[str]:
    side = f" ({_SIDES[row['side']]})" if row["part"] == "C1" and row["side"] else ""
    yield (
        f"  {MARKS[row['verdict']]} {row['part']} {row['claim']}: {row['verdict']}{side}"
        + (f"  [{where}]" if where else "")
    )
    yield f"      {effect(row)}"
    if row["part"] == "C1" and not pd.isna(row["check_effect"]):
        bounds = f"[{row['check_lower']:.3g}, {row['check_upper']:.3g}]"
        yield f"      G, regret given up at the best lr = {row['check_effect']:.3g} {bounds}"
    yield f"      {row['threshold']}"
    yield f"      decided by {row['decided_by']}"


_SIDES = {
    "both": "below and above the baseline's best lr",
    "below": "only below the baseline's best lr",
    "above": "only above the baseline's best lr",
    "neither": "on neither side of the baseline's best lr",
}


def effect(row: dict[str, Any]) -> str:
    """What was measured, with its interval: R(sgd_hd) − 0.5·R(sgd) = -0.25 [-0.26, -0.24], …"""
    if pd.isna(row["effect"]):
        return f"{row['quantity']}: no value"
    bounds = (
        "no interval"
        if pd.isna(row["lower"])
        else f"[{row['lower']:.3g}, {row['upper']:.3g}] at {row['confidence']:.0%}"
    )
    return f"{row['quantity']} = {row['effect']:.3g} {bounds}, n = {row['n_seeds']}"


def _surveyed(joint: dict[str, Any], own: pd.DataFrame) -> Iterable[str]:
    """A line a setting: nothing was fixed beforehand, so none is the answer."""
    yield (
        f"{joint['arm']} against {joint['baseline']}: no setting was fixed beforehand, so this"
        " describes and tests nothing"
    )
    by_setting: dict[tuple[str, str], dict[str, str]] = {}
    for row in _records(own[own["part"] != "C4"]):
        by_setting.setdefault((row["task"], _setting(row)), {})[row["part"]] = row["verdict"]
    lines = [["task", "setting", *SHORT.values()]]
    lines += [
        [task, setting or "its only one", *(found.get(part, "") for part in SHORT)]
        for (task, setting), found in by_setting.items()
    ]
    yield from _aligned(lines if len(set(own["task"])) > 1 else [line[1:] for line in lines])
    for row in _records(own[own["part"] == "C4"]):
        on = f" on {row['task']}" if len(set(own["task"])) > 1 else ""
        yield f"  C4 {row['claim']}{on}: {row['verdict']}; {effect(row)}"


def _aligned(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def _setting(row: dict[str, Any]) -> str:
    names = list(row)
    factors = names[names.index("baseline") + 1 : names.index("primary")]
    return ", ".join(f"{name} = {_short(row[name])}" for name in factors if not pd.isna(row[name]))


def _short(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]
