"""The verdict: what the claims about each compared arm came to, and what that rests on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd

from hdsens.analysis.claims.catalogue import ABOUT_ARMS, ABOUT_SETTINGS
from hdsens.analysis.claims.declared import broken_promises, unrecorded
from hdsens.analysis.claims.finding import Finding, adjust, find, hold_back
from hdsens.analysis.claims.frames import joint_frame, levels_frame, parts_frame, window_frame
from hdsens.analysis.claims.no_harder_to_tune import compared_grids
from hdsens.analysis.claims.pairs import Pair, pair_up
from hdsens.analysis.claims.pilots import (
    Reading,
    lenient_reading,
    misjudged_reference,
    pilot_gaps,
    plain_reading,
)
from hdsens.analysis.claims.protocol import deviations, is_primary, read_protocol, with_roles
from hdsens.analysis.claims.words import in_words
from hdsens.analysis.measures.regret import (
    normalised_regret,
    panel_regret,
    reference_loss,
    reference_restrictions,
)
from hdsens.analysis.panel.accounting import Accounting
from hdsens.analysis.panel.arms import arms_that_differ, unlike_baselines
from hdsens.analysis.panel.cells import CellsLike, CheckedCells
from hdsens.analysis.panel.panel import Panel
from hdsens.errors import InputError
from hdsens.notebook import html_table
from hdsens.study import Margins, Protocol


@dataclass(frozen=True)
class Verdict:
    """What `verdict` found; `str()` gives it in words.

    Attributes:
        parts: one row a finding (claim, task and setting); the columns are those of `verdict`.
        levels: the evidence for "never worse", one row a level of lr.
        window: levels of hypergrad_lr where all claims about a setting are supported; descriptive.
        joint: one row a compared arm: all claims at its primary setting on all tasks, and the
            ladder.
        label: "confirmatory" or "exploratory".
        deviations: departures from the protocol, by name.
        account: cells expected, used, diverged, failed, missing.
        findings: what `parts` has, as values.
    """

    parts: pd.DataFrame
    levels: pd.DataFrame
    window: pd.DataFrame
    joint: pd.DataFrame
    label: str
    deviations: tuple[str, ...]
    account: Accounting
    findings: tuple[Finding, ...]

    def __str__(self) -> str:
        """Tell the verdict in lines of text: the tested settings, or all where none was fixed."""
        return in_words(self.findings, self.joint, self.label, self.deviations, self.account)

    def _repr_html_(self) -> str:
        """What a notebook shows: the findings, one row a task and setting."""
        names = list(self.parts.columns)
        labels = names[: names.index("claim") + 1]
        head = [*labels, "verdict", "quantity", "effect", "lower", "upper", "n_seeds", "decided_by"]
        shown = self.parts.reindex(columns=head).dropna(axis="columns", how="all")
        rows = shown.itertuples(index=False)
        return html_table(f"Verdict ({self.label}); {self.account}", [str(c) for c in shown], rows)


def verdict(cells: CellsLike, protocol: Any = None, metric: str = "train_loss") -> Verdict:
    """Judge the claims about every compared arm on every task.

    C1 less sensitive to lr, C2 lr = 0 works, C3 never worse, C4 not harder to tune: each is
    supported, refuted or inconclusive by the rules of docs/measures.md. To compare any two arms
    give one the other as its `baseline`.

    Args:
        cells: one row a cell of `read_cells`, of one or several tasks.
        protocol: what the study froze, a `Protocol`: pilot_seeds, primary (compared arm -> factor
            -> level), margins; a mapping or an object with these attributes will do. None: the
            result is exploratory, every setting is judged and none is the tested one.
        metric: a loss.

    Returns:
        A Verdict. Its `parts`, one row a finding, have the columns
        task, arm, baseline, the arm's other factors (null for C4, which is about the arm as a
        whole), primary; part (the claim's name), claim (in words), verdict; side of the base's best
        lr on which C1 holds ("both", "below", "above", "neither"); effect, lower, upper, confidence
        (of that two-sided interval), n_seeds; quantity: what the effect is, as a formula (for C3
        and C4 at the level or number of draws that decides); unit; threshold: the rule in words;
        margin; check, check_effect, check_lower, check_upper: the second condition of C1 (G) and C2
        (share diverged, each bound one-sided 95%); p_refuted: to be compared with 0.05; decided_by:
        the cells that decided, in words; held_back: why a claim whose intervals allow "supported"
        is inconclusive (a cell that it rests on is missing or failed, or it owes its support to a
        gap among the pilot seeds).

    Raises:
        InputError: as `regret_table`; a protocol that no study could have; no arm names a baseline.
    """
    frozen = read_protocol(protocol)
    judged = with_roles(CheckedCells.of(cells), frozen)
    panel = judged.panel(metric)
    pairs, alone, findings = _judge(panel, plain_reading(panel), frozen)
    if not pairs and not alone:
        raise InputError(
            "verdict",
            "has nothing to judge: no arm names a baseline",
            sorted(set(judged.frame["arm"])),
            'compare two arms with baseline = "..." in the study',
        )
    gaps = _gaps(panel, findings, frozen)
    findings = adjust(_hold_back(findings, _doubted(panel, frozen, findings), gaps))
    promises = broken_promises(judged, frozen)
    departures = [
        *promises,
        *unrecorded(judged, frozen),
        *deviations(judged.frame, pairs, frozen),
        *arms_that_differ(judged),
        *unlike_baselines(judged),
        *panel.restrictions,
        *reference_restrictions(panel, reference_loss(panel)),
        *alone,
        *(note for pair in pairs for note in pair.restrictions),
        *(note for found in findings for note in found.grounds.left_out),
        *(reason for reasons in gaps.values() for reason in reasons),
    ]
    confirmatory = (
        any(found.primary for found in findings) and bool(panel.independent.all()) and not promises
    )
    return Verdict(
        parts_frame(findings, panel),
        levels_frame(pairs, findings),
        window_frame(findings),
        joint_frame(findings, panel),
        "confirmatory" if confirmatory else "exploratory",
        tuple(dict.fromkeys(departures)),
        panel.account,
        tuple(findings),
    )


def _judge(
    panel: Panel, reading: Reading, protocol: Protocol | None
) -> tuple[list[Pair], list[str], list[Finding]]:
    """Pairs, settings without one, and all findings, by one reading of the pilot seeds."""
    margins = protocol.margins if protocol else Margins()
    pairs, alone = pair_up(panel, reading)
    regret = normalised_regret(panel.runs.loss, reading.best[:, None], panel.runs.initial)
    fixed = [(pair, is_primary(pair, protocol)) for pair in pairs]
    tested = {(pair.task, pair.arm) for pair, primary in fixed if primary}
    findings = [
        find(claim, pair, margins, primary=primary)
        for pair, primary in fixed
        for claim in ABOUT_SETTINGS
    ]
    findings += [
        find(claim, grids, margins, primary=(grids.task, grids.arm) in tested)
        for grids in compared_grids(panel, regret)
        for claim in ABOUT_ARMS
    ]
    return pairs, alone, findings


def _gaps(
    panel: Panel, findings: Iterable[Finding], protocol: Protocol | None
) -> dict[tuple[str, str], list[str]]:
    """What holds back every claim on a family on a task, by task and baseline."""
    declared = protocol.pilot_seeds if protocol else ()
    margin = (protocol.margins if protocol else Margins()).best
    regret = panel_regret(panel)
    return {
        (task, base): [
            *pilot_gaps(panel, task, base, declared),
            *misjudged_reference(panel, regret, task, base, margin),
        ]
        for task, base in dict.fromkeys((found.task, found.baseline) for found in findings)
    }


def _doubted(
    panel: Panel, protocol: Protocol | None, findings: Sequence[Finding]
) -> Sequence[Finding]:
    """The findings by the lenient reading of the pilot seeds; the same where nothing differs."""
    lenient = lenient_reading(panel)
    return _judge(panel, lenient, protocol)[2] if lenient else findings


def _hold_back(
    findings: Sequence[Finding],
    doubted: Sequence[Finding],
    gaps: Mapping[tuple[str, str], Sequence[str]],
) -> list[Finding]:
    held = []
    for found, doubt in zip(findings, doubted, strict=True):
        reasons = [*gaps[found.task, found.baseline]]
        if bool(found.decision.supported) and not bool(doubt.decision.supported):
            reasons.append("it is supported only because pilot cells diverged")
        held.append(hold_back(found, reasons))
    return held
