"""The verdict: is an HD arm less sensitive than its baseline, and what does that rest on?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.accounting import Accounting
from hdsens.analysis.arms import arms_that_differ, unlike_baselines
from hdsens.analysis.checks import REQUIRED, check_columns, checked
from hdsens.analysis.claims import ALPHA, Margins
from hdsens.analysis.grid import levels_per_decade
from hdsens.analysis.history import broken_promises, unrecorded
from hdsens.analysis.intervals import Floats, holm
from hdsens.analysis.pairs import Pair, pair_up
from hdsens.analysis.panel import Panel, build_panel
from hdsens.analysis.parts import Part, adjust, parts_of_pair, tuning_part
from hdsens.analysis.pilots import (
    Reading,
    lenient_reading,
    misjudged_reference,
    pilot_gaps,
    plain_reading,
)
from hdsens.analysis.protocol import (
    Protocol,
    deviations,
    is_primary,
    read_protocol,
    with_roles,
)
from hdsens.analysis.regret import (
    normalised_regret,
    panel_regret,
    reference_loss,
    reference_restrictions,
)
from hdsens.analysis.tunability import arm_grids, common_points
from hdsens.analysis.wording import CLAIMS, in_words
from hdsens.errors import InputError
from hdsens.notebook import html_table

UNIT = "normalised regret: 0 as good as tuned, 1 as bad as untrained"
BETA = "hypergrad_lr"
LEVELS = ["task", "arm", "primary", "lr", "tested", "difference", "lower", "upper", "n_seeds"]
LEVELS += ["base_diverged", "hd_diverged", "p_worse"]
JOINT = ["arm", "baseline", "n_tasks", "tested", "verdict", "not_supported"]
JOINT += ["n_settings", "n_settings_refuted", "refuted_on_this_ladder"]


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
        _parts_frame(parts, panel),
        _levels_frame(pairs, parts),
        _window(parts),
        pd.DataFrame(
            [_joint(arm, parts, panel) for arm in sorted({part.arm for part in parts})],
            columns=JOINT,
        ),
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


def _parts_frame(parts: Sequence[Part], panel: Panel) -> pd.DataFrame:
    others = [name for name in panel.factors if name != "lr"]
    columns = ["task", "arm", "baseline", *others, "primary", "part", "claim", "verdict", "side"]
    columns += ["quantity", "effect", "lower", "upper", "confidence", "n_seeds", "unit"]
    columns += ["threshold", "margin", "check", "check_effect", "check_lower", "check_upper"]
    columns += ["p_refuted", "decided_by", "held_back"]
    return pd.DataFrame([_part_row(part, others) for part in parts], columns=columns)


def _part_row(part: Part, others: Sequence[str]) -> dict[str, Any]:
    effect, at, shown = part.decision.effect, part.deciding, any(part.made)
    check = part.check or (None, np.nan, np.nan, np.nan)
    return {
        "task": part.task,
        "arm": part.arm,
        "baseline": part.baseline,
        **{name: part.fixed.get(name, np.nan) for name in others},
        "primary": part.primary,
        "part": part.name,
        "claim": CLAIMS[part.name],
        "verdict": part.verdict,
        "side": part.side,
        "quantity": part.quantity,
        "effect": float(effect.estimate[at]) if shown else np.nan,
        "lower": float(effect.lower[at]) if shown else np.nan,
        "upper": float(effect.upper[at]) if shown else np.nan,
        "confidence": part.confidence,
        "n_seeds": int(effect.n[at]) if shown else 0,
        "unit": UNIT,
        "threshold": part.rule,
        "margin": part.margin,
        **dict(zip(("check", "check_effect", "check_lower", "check_upper"), check, strict=True)),
        "p_refuted": part.p_refuted,
        "decided_by": part.decided_by,
        "held_back": "; ".join(part.held_back) if bool(part.decision.supported) else "",
    }


def _levels_frame(pairs: Sequence[Pair], parts: Sequence[Part]) -> pd.DataFrame:
    """Difference in regret at each level, with its 90% interval (one-sided 95% bounds)."""
    c3 = [part for part in parts if part.name == "C3"]
    tables = [
        pd.DataFrame(
            {
                "task": part.task,
                "arm": part.arm,
                **part.fixed,
                "primary": part.primary,
                "lr": pair.levels,
                "tested": pair.eligible,
                "difference": part.decision.effect.estimate,
                "lower": part.decision.effect.lower,
                "upper": part.decision.effect.upper,
                "n_seeds": part.decision.effect.n,
                "base_diverged": pair.base_diverged,
                "hd_diverged": pair.hd_diverged,
                "p_worse": part.p,
            }
        )
        for pair, part in zip(pairs, c3, strict=True)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=LEVELS)


def _window(parts: Sequence[Part]) -> pd.DataFrame:
    """Levels of hypergrad_lr where C1 to C3 hold, one row an arm and task, and all tasks."""
    rows = []
    for arm in sorted({part.arm for part in parts if BETA in part.fixed}):
        own = [part for part in parts if part.arm == arm and BETA in part.fixed]
        tasks = sorted({part.task for part in own})
        rows += [{"arm": arm, "task": task, **_held(own, [task])} for task in tasks]
        rows.append({"arm": arm, "task": "all tasks", **_held(own, tasks)})
    return pd.DataFrame(rows, columns=["arm", "task", "supported", "decades"])


def _held(parts: Sequence[Part], tasks: Sequence[str]) -> dict[str, Any]:
    """Levels where every part is there and supported on each of the tasks; their decades."""
    by_beta: dict[float, list[Part]] = defaultdict(list)
    for part in parts:
        if part.task in tasks:
            by_beta[part.fixed[BETA]].append(part)
    ladder = sorted({part.fixed[BETA] for part in parts} - {0.0})  # 0 is the base algorithm
    held = tuple(
        beta
        for beta in ladder
        if {part.task for part in by_beta[beta]} == set(tasks)
        and all(part.verdict == "supported" for part in by_beta[beta])
    )
    return {"supported": held, "decades": len(held) / levels_per_decade(ladder)}


def _joint(arm: str, parts: Sequence[Part], panel: Panel) -> dict[str, Any]:
    """All parts at the primary setting, on every task that the arm or its baseline was run on."""
    own = [part for part in parts if part.arm == arm]
    tested = [part for part in own if part.primary]
    points = panel.points
    tasks = sorted(set(points.loc[points["arm"].isin([arm, own[0].baseline]), "task"]))
    found = {(part.name, part.task) for part in tested}
    absent = [(c, t) for t in tasks for c in CLAIMS if (c, t) not in found] if tested else []
    if tested and not absent and all(part.verdict == "supported" for part in tested):
        outcome = "supported"
    else:
        outcome = "refuted" if _any_refuted([part.p_refuted for part in tested]) else "inconclusive"
    settings = [part for part in own if part.fixed]
    ladder = sorted({tuple(sorted(part.fixed.items())) for part in settings})
    refuted = [
        _any_refuted([p.p_alone for p in settings if tuple(sorted(p.fixed.items())) == setting])
        for setting in ladder
    ]
    return {
        "arm": arm,
        "baseline": own[0].baseline,
        "n_tasks": len(tasks),
        "tested": bool(tested),
        "verdict": outcome,
        "not_supported": ", ".join(
            f"{name} on {task}"
            for name, task in [
                *((part.name, part.task) for part in tested if part.verdict != "supported"),
                *absent,
            ]
        ),
        "n_settings": len(ladder),
        "n_settings_refuted": sum(refuted),
        "refuted_on_this_ladder": bool(ladder) and all(refuted),
    }


def _any_refuted(p_values: Sequence[float]) -> bool:
    return bool(p_values) and bool((holm(p_values) <= ALPHA).any())
