"""The verdict as lines of text, to be read in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import pandas as pd

from hdsens.analysis.panel.accounting import Accounting

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
    """The verdict on every arm, then the rules it followed and what it rests on.

    An arm with a tested setting gets its answer and a few lines for each part; another a table of
    all its settings.
    """
    lines = [f"Verdict ({label})"]
    for row in _records(joint):
        own = parts[parts["arm"] == row["arm"]]
        lines += ["", *(_tested(row, own) if row["tested"] else _surveyed(row, own))]
    if joint.empty:
        lines += ["", "No HD arm could be compared with its baseline; the reasons are below."]
    else:
        lines += ["", KEY, *_rules(parts)]
    lines += [*_departures(label, deviations), "", str(account)]
    return "\n".join(lines)


def _rules(parts: pd.DataFrame) -> Iterable[str]:
    yield "Rules (else inconclusive):"
    for part, rule in parts.groupby("part")["threshold"].first().items():
        yield f"  {part} {rule}"


def _departures(label: str, deviations: Sequence[str]) -> Iterable[str]:
    if deviations:
        yield ""
        yield "Departures from the protocol:" if label == "confirmatory" else "Exploratory, since:"
    yield from (f"  deviation: {text}" for text in deviations)


def _tested(joint: dict[str, Any], own: pd.DataFrame) -> Iterable[str]:
    parts = own[own["primary"]].sort_values(["task", "part"], kind="stable")
    settings = dict.fromkeys(_setting(row) for row in _records(parts) if row["part"] != "C4")
    at = f" at {'; '.join(filter(None, settings))}" if any(settings) else ""
    over = f", over {joint['n_tasks']} tasks" if joint["n_tasks"] > 1 else ""
    yield f"{joint['verdict'].upper()}: {joint['arm']} against {joint['baseline']}{at}{over}"
    for task, rows in parts.groupby("task"):
        if joint["n_tasks"] > 1:
            yield f"  on {task}:"
        for row in sorted(_records(rows), key=lambda row: (row["part"] == "C4", _setting(row))):
            yield from _part(row, _setting(row) if len(settings) > 1 else "")
    if joint["n_settings"] > 1:
        yield (
            f"  Of {joint['n_settings']} settings tried {joint['n_settings_refuted']} have a"
            " refuted part."
        )


def _part(row: dict[str, Any], where: str) -> Iterable[str]:
    side = (
        f" ({_SIDES[row['side']]})" if row["part"] == "C1" and row["verdict"] == "supported" else ""
    )
    at = f"  [{where}]" if where else ""
    yield (
        f"  {MARKS[row['verdict']]} {row['part']} {row['claim']}: {row['verdict'].upper()}"
        f"{side}{at}"
    )
    yield f"      {effect(row)}; to be below {_line(row):g}"
    if row["part"] == "C1" and not pd.isna(row["check_effect"]):
        yield f"      G, what is given up at the best lr = {_bounds(row, 'check_')}"
    if row["part"] == "C2" and not pd.isna(row["check_effect"]):
        yield f"      share of seeds that diverged = {_bounds(row, 'check_')}{_ONE_SIDED}"
    yield f"      {row['decided_by']}"


def _line(row: dict[str, Any]) -> float:
    """Where the rule changes its mind; C1's margin is the ratio in its quantity."""
    return 0.0 if row["part"] == "C1" else float(row["margin"])


_ONE_SIDED = " (each bound one-sided 95%)"
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
    confidence = "" if pd.isna(row["lower"]) else f"{row['confidence']:.0%}, "
    return f"{row['quantity']} = {_bounds(row)} ({confidence}n = {row['n_seeds']})"


def _bounds(row: dict[str, Any], prefix: str = "") -> str:
    estimate, lower, upper = (row[f"{prefix}{end}"] for end in ("effect", "lower", "upper"))
    interval = "without interval" if pd.isna(lower) else f"[{lower:.3g}, {upper:.3g}]"
    return f"{estimate:.3g} {interval}"


def _surveyed(joint: dict[str, Any], own: pd.DataFrame) -> Iterable[str]:
    """A line a setting: nothing was fixed beforehand, so none is the answer."""
    yield (
        f"{joint['arm']} against {joint['baseline']}: no setting was fixed beforehand (or it was"
        " not run), so none of these is a test"
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
