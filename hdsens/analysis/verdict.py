"""The verdict: is an HD arm less sensitive than its baseline, and what does that rest on?"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.accounting import Accounting
from hdsens.analysis.claims import ALPHA, Margins
from hdsens.analysis.grid import levels_per_decade
from hdsens.analysis.intervals import holm
from hdsens.analysis.pairs import Pair, pair_up
from hdsens.analysis.panel import Panel, build_panel
from hdsens.analysis.parts import Part, adjust, parts_of_pair, tuning_part
from hdsens.analysis.protocol import (
    Protocol,
    deviations,
    is_primary,
    read_protocol,
    with_roles,
)
from hdsens.analysis.regret import panel_regret
from hdsens.analysis.tunability import arm_grids
from hdsens.errors import InputError

CLAIMS = {
    "C1": "much less sensitive to lr",
    "C2": "lr = 0 works",
    "C3": "never worse than the baseline",
    "C4": "not harder to tune",
}
BETA = "hypergrad_lr"


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
        tested = self.parts[self.parts["primary"]] if self.parts["primary"].any() else self.parts
        lines = [f"Verdict ({self.label})", *map(_joint_line, _records(self.joint))]
        lines += [f"  {_part_line(row)}" for row in _records(tested)]
        lines += [f"deviation: {text}" for text in self.deviations]
        return "\n".join([*lines, str(self.account)])


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
        interval), n_seeds: C1 R_HD − ratio · R_base, C2 r(0) − r(base at best lr), C3 and C4 the
        difference at the level or number of draws that decides; margin; check, check_effect,
        check_lower, check_upper: the second condition of C1 (G) and C2 (share diverged);
        p_refuted: to be compared with 0.05; decided_by: the cells that decided, in words.

    Raises:
        InputError: as `regret_table`; an unknown key in the protocol; no arm names a baseline.
    """
    frozen = read_protocol(protocol)
    margins = frozen.margins if frozen else Margins()
    cells = with_roles(cells, frozen)
    panel = build_panel(cells, metric)
    pairs, alone = pair_up(panel)
    if not pairs and not alone:
        raise InputError("verdict: arms", "must include one that names a baseline")
    parts = adjust([*_pair_parts(pairs, frozen, margins), *_tuning_parts(panel, frozen, margins)])
    left_out = [*alone, *(note for pair in pairs for note in pair.restrictions)]
    departures = [*deviations(cells, pairs, frozen), *panel.restrictions, *left_out]
    confirmatory = any(part.primary for part in parts) and bool(panel.independent.all())
    return Verdict(
        _parts_frame(parts, panel),
        _levels_frame(pairs, parts),
        _window(parts),
        pd.DataFrame([_joint(arm, parts) for arm in sorted({part.arm for part in parts})]),
        "confirmatory" if confirmatory else "exploratory",
        tuple(departures),
        panel.account,
    )


def _pair_parts(
    pairs: Sequence[Pair], protocol: Protocol | None, margins: Margins
) -> Iterable[Part]:
    for pair in pairs:
        yield from parts_of_pair(pair, is_primary(pair, protocol), margins)


def _tuning_parts(panel: Panel, protocol: Protocol | None, margins: Margins) -> Iterable[Part]:
    grids = {(grid.task, grid.arm): grid for grid in arm_grids(panel, panel_regret(panel))}
    for (task, arm), grid in grids.items():
        base = grids.get((task, grid.baseline))
        if base is not None:
            primary = protocol is not None and arm in protocol.primary
            yield tuning_part(grid, base, primary, margins)


def _parts_frame(parts: Sequence[Part], panel: Panel) -> pd.DataFrame:
    others = [name for name in panel.factors if name != "lr"]
    columns = ["task", "arm", "baseline", *others, "primary", "part", "claim", "verdict", "side"]
    columns += ["effect", "lower", "upper", "confidence", "n_seeds", "margin"]
    columns += ["check", "check_effect", "check_lower", "check_upper", "p_refuted", "decided_by"]
    return pd.DataFrame([_part_row(part, others) for part in parts], columns=columns)


def _part_row(part: Part, others: Sequence[str]) -> dict[str, Any]:
    effect, at = part.decision.effect, part.deciding
    shown = bool(effect.n.size) and not np.isnan(part.p).all()
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
        "effect": float(effect.estimate[at]) if shown else np.nan,
        "lower": float(effect.lower[at]) if shown else np.nan,
        "upper": float(effect.upper[at]) if shown else np.nan,
        "confidence": part.confidence,
        "n_seeds": int(effect.n[at]) if shown else 0,
        "margin": part.margin,
        **dict(zip(("check", "check_effect", "check_lower", "check_upper"), check, strict=True)),
        "p_refuted": part.p_refuted,
        "decided_by": part.decided_by,
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
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()


def _window(parts: Sequence[Part]) -> pd.DataFrame:
    """Levels of hypergrad_lr where C1 to C3 hold, one row an arm and task, and all tasks."""
    rows = []
    for arm in sorted({part.arm for part in parts if BETA in part.fixed}):
        own = [part for part in parts if part.arm == arm and BETA in part.fixed]
        tasks = sorted({part.task for part in own})
        rows += [{"arm": arm, "task": task, **_held(own, [task])} for task in tasks]
        rows.append({"arm": arm, "task": "all tasks", **_held(own, tasks)})
    return pd.DataFrame(rows)


def _held(parts: Sequence[Part], tasks: Sequence[str]) -> dict[str, Any]:
    """Levels where every part is there and supported on each of the tasks; their decades."""
    by_beta: dict[float, list[Part]] = defaultdict(list)
    for part in parts:
        if part.task in tasks:
            by_beta[part.fixed[BETA]].append(part)
    ladder = sorted({part.fixed[BETA] for part in parts})
    held = tuple(
        beta
        for beta in ladder
        if {part.task for part in by_beta[beta]} == set(tasks)
        and all(part.verdict == "supported" for part in by_beta[beta])
    )
    return {"supported": held, "decades": len(held) / levels_per_decade(ladder)}


def _joint(arm: str, parts: Sequence[Part]) -> dict[str, Any]:
    own = [part for part in parts if part.arm == arm]
    tested = [part for part in own if part.primary]
    tasks = {part.task for part in own}
    complete = {(part.task, part.name) for part in tested} >= {
        (t, c) for t in tasks for c in CLAIMS
    }
    if complete and all(part.verdict == "supported" for part in tested):
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
            f"{part.name} on {part.task}" for part in tested if part.verdict != "supported"
        ),
        "n_settings": len(ladder),
        "n_settings_refuted": sum(refuted),
        "refuted_on_this_ladder": bool(ladder) and all(refuted),
    }


def _any_refuted(p_values: Sequence[float]) -> bool:
    return bool(p_values) and bool((holm(p_values) <= ALPHA).any())


def _records(table: pd.DataFrame) -> list[dict[str, Any]]:
    return [{str(key): value for key, value in row.items()} for row in table.to_dict("records")]


def _joint_line(row: dict[str, Any]) -> str:
    if not row["tested"]:
        return f"{row['arm']}: no primary setting was tested; see each setting"
    ladder = f"{row['n_settings_refuted']} of {row['n_settings']} settings refuted"
    return f"{row['arm']} against {row['baseline']}: {row['verdict'].upper()} ({ladder})"


def _part_line(row: dict[str, Any]) -> str:
    names = list(row)
    factors = names[names.index("baseline") + 1 : names.index("primary")]
    at = [f"{name} = {_short(row[name])}" for name in factors if not pd.isna(row[name])]
    side = f" ({row['side']})" if row["part"] == "C1" and row["verdict"] == "supported" else ""
    return (
        f"{row['part']} {row['claim']}: {row['verdict']}{side};"
        f" {', '.join([row['arm'] + ' on ' + row['task'], *at])}:"
        f" {row['effect']:.4g} [{row['lower']:.4g}, {row['upper']:.4g}], n = {row['n_seeds']};"
        f" {row['decided_by']}"
    )


def _short(level: Any) -> str:
    return f"{level:g}" if isinstance(level, float) else str(level)
