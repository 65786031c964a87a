"""The frames of a verdict: parts, levels of C3, the window of hypergrad_lr, all parts together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.claims.decisions import ALPHA
from hdsens.analysis.claims.findings import Part
from hdsens.analysis.claims.pairs import Pair
from hdsens.analysis.claims.words import CLAIMS
from hdsens.analysis.measures.intervals import holm
from hdsens.analysis.panel.panel import Panel
from hdsens.analysis.panel.settings import levels_per_decade

UNIT = "normalised regret: 0 as good as tuned, 1 as bad as untrained"
BETA = "hypergrad_lr"
LEVELS = ["task", "arm", "primary", "lr", "tested", "difference", "lower", "upper", "n_seeds"]
LEVELS += ["base_diverged", "hd_diverged", "p_worse"]
JOINT = ["arm", "baseline", "n_tasks", "tested", "verdict", "not_supported"]
JOINT += ["n_settings", "n_settings_refuted", "refuted_on_this_ladder"]


def parts_frame(parts: Sequence[Part], panel: Panel) -> pd.DataFrame:
    """One row a part of the claim, task and setting; the columns are those of `verdict`."""
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


def levels_frame(pairs: Sequence[Pair], parts: Sequence[Part]) -> pd.DataFrame:
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


def window_frame(parts: Sequence[Part]) -> pd.DataFrame:
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


def joint_frame(parts: Sequence[Part], panel: Panel) -> pd.DataFrame:
    """One row an HD arm: all parts at its primary setting on all tasks, and the ladder."""
    arms = sorted({part.arm for part in parts})
    return pd.DataFrame([_joint(arm, parts, panel) for arm in arms], columns=JOINT)


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
