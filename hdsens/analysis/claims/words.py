"""The verdict as lines of text, to be read in a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.claims.catalogue import ABOUT_SETTINGS, CLAIMS
from hdsens.analysis.claims.finding import Finding
from hdsens.analysis.panel.accounting import Accounting

MARKS = {"supported": "+", "refuted": "-", "inconclusive": "?"}
KEY = (
    "Effects are in normalised regret: 0 = as good as the best tuned cell of the family, 1 = as bad"
    " as untrained."
)


def in_words(
    findings: Sequence[Finding],
    joint: pd.DataFrame,
    label: str,
    deviations: Sequence[str],
    account: Accounting,
) -> str:
    """The verdict on every arm, then the rules it followed and what it rests on.

    An arm with a tested setting gets its answer and a few lines for each claim; another a table of
    all its settings.
    """
    lines = [f"Verdict ({label})"]
    for row in joint.to_dict("records"):
        own = [found for found in findings if found.arm == row["arm"]]
        lines += ["", *(_tested(row, own) if row["tested"] else _surveyed(row, own))]
    if joint.empty:
        lines += ["", "No arm could be compared with its baseline; the reasons are below."]
    else:
        lines += ["", KEY, *_rules(findings)]
    lines += [*_departures(label, deviations), "", str(account)]
    return "\n".join(lines)


def _rules(findings: Sequence[Finding]) -> Iterable[str]:
    yield "Rules (else inconclusive):"
    rules = {found.claim.name: found.rule for found in findings}
    for claim in CLAIMS:
        if claim.name in rules:
            yield f"  {claim.name} {rules[claim.name]}"


def _departures(label: str, deviations: Sequence[str]) -> Iterable[str]:
    if deviations:
        yield ""
        yield "Departures from the protocol:" if label == "confirmatory" else "Exploratory, since:"
    yield from (f"  deviation: {text}" for text in deviations)


def _tested(joint: dict[Any, Any], own: Sequence[Finding]) -> Iterable[str]:
    findings = [found for found in own if found.primary]
    settings = dict.fromkeys(setting(f) for f in findings if f.claim.about == "setting")
    at = f" at {'; '.join(filter(None, settings))}" if any(settings) else ""
    over = f", over {joint['n_tasks']} tasks" if joint["n_tasks"] > 1 else ""
    yield f"{joint['verdict'].upper()}: {joint['arm']} against {joint['baseline']}{at}{over}"
    for task in sorted({found.task for found in findings}):
        if joint["n_tasks"] > 1:
            yield f"  on {task}:"
        for found in sorted((f for f in findings if f.task == task), key=_place):
            yield from _finding(found, setting(found) if len(settings) > 1 else "")
    if joint["n_settings"] > 1:
        yield (
            f"  Of {joint['n_settings']} settings tried {joint['n_settings_refuted']} have a"
            " refuted claim."
        )


def _place(found: Finding) -> tuple[bool, str, int]:
    """Settings one after the other, what is about the whole arm last, claims in their order."""
    return found.claim.about == "arm", setting(found), CLAIMS.index(found.claim)


def _finding(found: Finding, where: str) -> Iterable[str]:
    claim = found.claim
    side = ""
    if found.side and found.verdict == "supported":
        side = f" ({claim.sides[found.side]} {found.baseline}'s best lr)"
    at = f"  [{where}]" if where else ""
    yield (
        f"  {MARKS[found.verdict]} {claim.name} {claim.title}: {found.verdict.upper()}{side}{at}"
    )
    yield f"      {effect(found)}; to be below {found.grounds.limit:g}"
    if found.grounds.check and not np.isnan(found.grounds.check[0]):
        yield f"      {claim.check_words.format(bounds=_bounds(*found.grounds.check))}"
    yield f"      {found.decided_by if not found.held_back else found.grounds.tested}"
    yield from (f"      Hold back {claim.name}: {reason}." for reason in found.held_back)


def effect(found: Finding) -> str:
    """What was measured, with its interval: R(sgd_hd) − 0.5·R(sgd) = -0.25 [-0.26, -0.24], …"""
    if np.isnan(found.effect):
        return f"{found.quantity}: no value"
    confidence = "" if np.isnan(found.lower) else f"{found.claim.confidence:.0%}, "
    bounds = _bounds(found.effect, found.lower, found.upper)
    return f"{found.quantity} = {bounds} ({confidence}n = {found.n_seeds})"


def _bounds(estimate: float, lower: float, upper: float) -> str:
    interval = "without interval" if np.isnan(lower) else f"[{lower:.3g}, {upper:.3g}]"
    return f"{estimate:.3g} {interval}"


def _surveyed(joint: dict[Any, Any], own: Sequence[Finding]) -> Iterable[str]:
    """A line a setting: nothing was fixed beforehand, so none is the answer."""
    yield (
        f"{joint['arm']} against {joint['baseline']}: no setting was fixed beforehand (or it was"
        " not run), so none of these is a test"
    )
    several = len({found.task for found in own}) > 1
    by_setting: dict[tuple[str, str], dict[str, str]] = {}
    for found in own:
        if found.claim.about == "setting":
            place = (found.task, setting(found))
            by_setting.setdefault(place, {})[found.claim.name] = found.verdict
    lines = [["task", "setting", *(f"{c.name} {c.title}" for c in ABOUT_SETTINGS)]]
    lines += [
        [task, where or "its only one", *(verdicts.get(c.name, "") for c in ABOUT_SETTINGS)]
        for (task, where), verdicts in by_setting.items()
    ]
    yield from _aligned(lines if several else [line[1:] for line in lines])
    for found in own:
        if found.claim.about == "arm":
            on = f" on {found.task}" if several else ""
            name = f"{found.claim.name} {found.claim.title}"
            yield f"  {name}{on}: {found.verdict}; {effect(found)}"


def _aligned(lines: Sequence[Sequence[str]]) -> Iterable[str]:
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for line in lines:
        cells = (text.ljust(width) for text, width in zip(line, widths, strict=True))
        yield f"  {'  '.join(cells)}".rstrip()


def setting(found: Finding) -> str:
    """The levels of the arm's own factors, in words; empty where it has none."""
    return ", ".join(f"{name} = {_short(level)}" for name, level in found.fixed.items())


def _short(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)
