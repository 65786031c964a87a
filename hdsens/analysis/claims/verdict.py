"""The verdict: is an HD arm less sensitive than its baseline, and what does that rest on?"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from hdsens.analysis.arrays import Floats
from hdsens.analysis.claims.declared import broken_promises, unrecorded
from hdsens.analysis.claims.find import parts_of_pair, tuning_part
from hdsens.analysis.claims.findings import Part, adjust
from hdsens.analysis.claims.frames import joint_frame, levels_frame, parts_frame, window_frame
from hdsens.analysis.claims.pairs import Pair, pair_up
from hdsens.analysis.claims.pilots import (
    Reading,
    lenient_reading,
    misjudged_reference,
    pilot_gaps,
    plain_reading,
)
from hdsens.analysis.claims.protocol import (
    deviations,
    is_primary,
    read_protocol,
    with_roles,
)
from hdsens.analysis.claims.words import in_words
from hdsens.analysis.measures.regret import (
    normalised_regret,
    panel_regret,
    reference_loss,
    reference_restrictions,
)
from hdsens.analysis.measures.tunability import arm_grids, common_points
from hdsens.analysis.panel.accounting import Accounting
from hdsens.analysis.panel.arms import arms_that_differ, unlike_baselines
from hdsens.analysis.panel.checks import REQUIRED, check_columns, checked
from hdsens.analysis.panel.panel import Panel, build_panel
from hdsens.errors import InputError
from hdsens.notebook import html_table
from hdsens.study import Margins, Protocol


@dataclass(frozen=True)
class Verdict:
    """What `verdict` found; `str()` gives it in words.

    Attributes:
        parts: one row a part of the claim, task and setting; the columns are those of `verdict`.
        levels: C3's evidence, one row a level of lr.
        window: levels of hypergrad_lr where C1, C2 and C3 are supported together; descriptive.
        joint: one row an HD arm: all parts at its primary setting on all tasks, and the ladder.
        label: "confirmatory" or "exploratory".
        deviations: departures from the protocol, by name.
        account: cells expected, used, diverged, failed, missing.
    """

    parts: pd.DataFrame
    levels: pd.DataFrame
    window: pd.DataFrame
    joint: pd.DataFrame
    label: str
    deviations: tuple[str, ...]
    account: Accounting

    def __str__(self) -> str:
        """Tell the verdict in lines of text: the tested settings, or all where none was fixed."""
        return in_words(self.parts, self.joint, self.label, self.deviations, self.account)

    def _repr_html_(self) -> str:
        """What a notebook shows: the parts, one row a task and setting."""
        names = list(self.parts.columns)
        labels = names[: names.index("claim") + 1]
        head = [*labels, "verdict", "quantity", "effect", "lower", "upper", "n_seeds", "decided_by"]
        shown = self.parts.reindex(columns=head).dropna(axis="columns", how="all")
        rows = shown.itertuples(index=False)
        return html_table(f"Verdict ({self.label}); {self.account}", [str(c) for c in shown], rows)


def verdict(cells: pd.DataFrame, protocol: Any = None, metric: str = "train_loss") -> Verdict:
    """Judge the claim, in four parts, for every HD arm on every task.

    C1 less sensitive to lr, C2 lr = 0 works, C3 never worse, C4 not harder to tune: each is
    supported, refuted or inconclusive by the rules of docs/measures.md. To compare any two arms
    give one the other as its `baseline`.

    Args:
        cells: one row a cell of `read_cells`, of one or several tasks.
        protocol: what the study froze: pilot_seeds, primary (HD arm -> factor -> level), margins;
            a mapping or an object with these attributes. None: the result is exploratory, every
            setting is judged and none is the tested one.
        metric: a loss.

    Returns:
        A Verdict. Its `parts` have the columns
        task, arm, baseline, the HD arm's other factors (null for C4, which is about the arm),
        primary; part, claim, verdict; side of the base's best lr on which C1 holds ("both",
        "below", "above", "neither"); effect, lower, upper, confidence (of that two-sided
        interval), n_seeds; quantity: what the effect is, as a formula (for C3 and C4 at the level
        or number of draws that decides); unit; threshold: the rule in words; margin; check,
        check_effect, check_lower, check_upper: the second condition of C1 (G) and C2 (share
        diverged, each bound one-sided 95%); p_refuted: to be compared with 0.05; decided_by: the
        cells that decided, in words; held_back: why a part whose intervals allow "supported" is
        inconclusive (a cell that it rests on is missing or failed, or it owes its support to a gap
        among the pilot seeds).

    Raises:
        InputError: as `regret_table`; an unknown key in the protocol; no arm names a baseline.
    """
    frozen = read_protocol(protocol)
    check_columns(cells, REQUIRED)
    judged = checked(with_roles(cells, frozen))
    panel = build_panel(judged, metric)
    pairs, alone, parts = _judge(panel, plain_reading(panel), frozen)
    if not pairs and not alone:
        raise InputError(
            "verdict",
            "has nothing to judge: no arm names a baseline",
            sorted(set(map(str, cells["arm"]))),
            'compare two arms with baseline = "..." in the study',
        )
    lenient = lenient_reading(panel)
    doubted = _judge(panel, lenient, frozen)[2] if lenient else parts
    gaps = _gaps(panel, parts, frozen)
    parts = adjust(
        [_hold_back(p, d, gaps[p.task, p.baseline]) for p, d in zip(parts, doubted, strict=True)]
    )
    promises = broken_promises(judged, frozen)
    departures = [
        *promises,
        *unrecorded(judged, frozen),
        *deviations(judged, pairs, frozen),
        *arms_that_differ(cells),
        *unlike_baselines(cells),
        *panel.restrictions,
        *reference_restrictions(panel, reference_loss(panel)),
        *alone,
        *(note for pair in pairs for note in pair.restrictions),
        *(reason for reasons in gaps.values() for reason in reasons),
    ]
    confirmatory = (
        any(part.primary for part in parts) and bool(panel.independent.all()) and not promises
    )
    return Verdict(
        parts_frame(parts, panel),
        levels_frame(pairs, parts),
        window_frame(parts),
        joint_frame(parts, panel),
        "confirmatory" if confirmatory else "exploratory",
        tuple(dict.fromkeys(departures)),
        panel.account,
    )


def _judge(
    panel: Panel, reading: Reading, protocol: Protocol | None
) -> tuple[list[Pair], list[str], list[Part]]:
    """Pairs, settings without one, and the parts of the claim, by one reading of the pilot."""
    margins = protocol.margins if protocol else Margins()
    pairs, alone = pair_up(panel, reading)
    parts = [*_pair_parts(pairs, protocol, margins)]
    regret = normalised_regret(panel.runs.loss, reading.best[:, None], panel.runs.initial)
    return pairs, alone, [*parts, *_tuning_parts(panel, regret, pairs, protocol, margins)]


def _gaps(
    panel: Panel, parts: Iterable[Part], protocol: Protocol | None
) -> dict[tuple[str, str], list[str]]:
    """What holds back every part of a family on a task, by task and baseline."""
    declared = protocol.pilot_seeds if protocol else ()
    margin = (protocol.margins if protocol else Margins()).best
    regret = panel_regret(panel)
    return {
        (task, base): [
            *pilot_gaps(panel, task, base, declared),
            *misjudged_reference(panel, regret, task, base, margin),
        ]
        for task, base in dict.fromkeys((part.task, part.baseline) for part in parts)
    }


def _hold_back(part: Part, doubted: Part, gaps: Sequence[str]) -> Part:
    reasons = [*part.held_back, *gaps]
    if bool(part.decision.supported) and not bool(doubted.decision.supported):
        reasons.append(
            "it would not be, had the pilot cells that diverged trained as others of their point"
        )
    return replace(part, held_back=tuple(reasons))


def _pair_parts(
    pairs: Sequence[Pair], protocol: Protocol | None, margins: Margins
) -> Iterable[Part]:
    for pair in pairs:
        yield from parts_of_pair(pair, is_primary(pair, protocol), margins)


def _tuning_parts(
    panel: Panel,
    regret: Floats,
    pairs: Sequence[Pair],
    protocol: Protocol | None,
    margins: Margins,
) -> Iterable[Part]:
    grids = {(grid.task, grid.arm): grid for grid in arm_grids(panel, regret)}
    tested = {(p.setting.task, p.setting.arm) for p in pairs if is_primary(p, protocol)}
    for (task, arm), grid in grids.items():
        base = grids.get((task, grid.baseline))
        common = None if base is None else common_points(grid, base)
        if base is not None and common is not None and len(common[0].points):
            yield tuning_part(grid, base, common, (task, arm) in tested, margins)
