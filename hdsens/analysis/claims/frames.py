"""The frames of a verdict: findings, differences by level, the window, all claims together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from hdsens.analysis.claims.catalogue import CLAIMS
from hdsens.analysis.claims.claim import ALPHA
from hdsens.analysis.claims.finding import Finding
from hdsens.analysis.claims.never_worse import NEVER_WORSE
from hdsens.analysis.claims.pairs import Pair
from hdsens.analysis.measures.intervals import holm
from hdsens.analysis.panel.panel import Panel
from hdsens.analysis.panel.settings import levels_per_decade

BETA = "hypergrad_lr"
LEVELS = ["task", "arm", "primary", "lr", "tested", "difference", "lower", "upper", "n_seeds"]
LEVELS += ["base_diverged", "hd_diverged", "p_worse"]
JOINT = ["arm", "baseline", "n_tasks", "tested", "verdict", "not_supported"]
JOINT += ["n_settings", "n_settings_refuted", "refuted_on_this_ladder"]


def parts_frame(findings: Sequence[Finding], panel: Panel) -> pd.DataFrame:
    """One row a finding; the columns are those of `verdict`."""
    others = [name for name in panel.factors if name != "lr"]
    columns = ["task", "arm", "baseline", *others, "primary", "part", "claim", "verdict", "side"]
    columns += ["quantity", "effect", "lower", "upper", "confidence", "n_seeds", "unit"]
    columns += ["threshold", "margin", "check", "check_effect", "check_lower", "check_upper"]
    columns += ["p_refuted", "decided_by", "held_back"]
    return pd.DataFrame([_row(found, others) for found in findings], columns=columns)


def _row(found: Finding, others: Sequence[str]) -> dict[str, Any]:
    check = found.grounds.check or (np.nan, np.nan, np.nan)
    return {
        "task": found.task,
        "arm": found.arm,
        "baseline": found.baseline,
        **{name: found.fixed.get(name, np.nan) for name in others},
        "primary": found.primary,
        "part": found.claim.name,
        "claim": found.claim.title,
        "verdict": found.verdict,
        "side": found.side,
        "quantity": found.quantity,
        "effect": found.effect,
        "lower": found.lower,
        "upper": found.upper,
        "confidence": found.claim.confidence,
        "n_seeds": found.n_seeds,
        "unit": found.claim.unit,
        "threshold": str(found.rule),
        "margin": found.margin,
        "check": found.claim.check,
        **dict(zip(("check_effect", "check_lower", "check_upper"), check, strict=True)),
        "p_refuted": found.p_refuted,
        "decided_by": found.decided_by,
        "held_back": "; ".join(found.held_back),
    }


def levels_frame(pairs: Sequence[Pair], findings: Sequence[Finding]) -> pd.DataFrame:
    """Difference in regret at each level, with its 90% interval (one-sided 95% bounds)."""
    by_level = [found for found in findings if found.claim is NEVER_WORSE]
    tables = [
        pd.DataFrame(
            {
                "task": found.task,
                "arm": found.arm,
                **found.fixed,
                "primary": found.primary,
                "lr": pair.levels,
                "tested": pair.evidence.base_works,
                "difference": found.decision.effect.estimate,
                "lower": found.decision.effect.lower,
                "upper": found.decision.effect.upper,
                "n_seeds": found.decision.effect.n,
                "base_diverged": pair.base_diverged,
                "hd_diverged": pair.arm_diverged,
                "p_worse": found.p,
            }
        )
        for pair, found in zip(pairs, by_level, strict=True)
    ]
    return pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=LEVELS)


def window_frame(findings: Sequence[Finding]) -> pd.DataFrame:
    """Levels of hypergrad_lr where all claims about a setting hold: a row an arm and task."""
    rows = []
    for arm in sorted({found.arm for found in findings if BETA in found.fixed}):
        own = [found for found in findings if found.arm == arm and BETA in found.fixed]
        tasks = sorted({found.task for found in own})
        rows += [{"arm": arm, "task": task, **_held(own, [task])} for task in tasks]
        rows.append({"arm": arm, "task": "all tasks", **_held(own, tasks)})
    return pd.DataFrame(rows, columns=["arm", "task", "supported", "decades"])


def _held(findings: Sequence[Finding], tasks: Sequence[str]) -> dict[str, Any]:
    """Levels of hypergrad_lr at which every claim is supported on each task, and their decades."""
    by_beta: dict[float, list[Finding]] = defaultdict(list)
    for found in findings:
        if found.task in tasks:
            by_beta[found.fixed[BETA]].append(found)
    ladder = sorted({found.fixed[BETA] for found in findings} - {0.0})  # 0 is the base algorithm
    held = tuple(
        beta
        for beta in ladder
        if {found.task for found in by_beta[beta]} == set(tasks)
        and all(found.verdict == "supported" for found in by_beta[beta])
    )
    return {"supported": held, "decades": len(held) / levels_per_decade(ladder)}


def joint_frame(findings: Sequence[Finding], panel: Panel) -> pd.DataFrame:
    """One row a compared arm: all claims at its primary setting on all tasks, and the ladder."""
    arms = sorted({found.arm for found in findings})
    rows = [_joint([found for found in findings if found.arm == arm], panel) for arm in arms]
    return pd.DataFrame(rows, columns=JOINT)


def _joint(own: Sequence[Finding], panel: Panel) -> dict[str, Any]:
    """All claims on one arm, on every task that it or its baseline was run on."""
    arm, baseline = own[0].arm, own[0].baseline
    tested = [found for found in own if found.primary and found.claim.in_joint]
    points = panel.points
    tasks = sorted(set(points.loc[points["arm"].isin([arm, baseline]), "task"]))
    absent = _absent(tested, tasks) if tested else []
    if tested and not absent and all(found.verdict == "supported" for found in tested):
        outcome = "supported"
    else:
        refuted = _any_refuted([found.p_refuted for found in tested])
        outcome = "refuted" if refuted else "inconclusive"
    short = [(found.claim.name, found.task) for found in tested if found.verdict != "supported"]
    return {
        "arm": arm,
        "baseline": baseline,
        "n_tasks": len(tasks),
        "tested": bool(tested),
        "verdict": outcome,
        "not_supported": ", ".join(f"{name} on {task}" for name, task in [*short, *absent]),
        **_ladder([found for found in own if found.fixed]),
    }


def _absent(tested: Sequence[Finding], tasks: Sequence[str]) -> list[tuple[str, str]]:
    """Claims that the joint verdict asks for and that were not tested on a task."""
    known = {(found.claim.name, found.task) for found in tested}
    asked = [claim.name for claim in CLAIMS if claim.in_joint]
    return [(name, task) for task in tasks for name in asked if (name, task) not in known]


def _ladder(findings: Sequence[Finding]) -> dict[str, Any]:
    """At how many settings some claim is refuted, Holm over claims and tasks within each."""
    by_setting: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for found in findings:
        by_setting[tuple(sorted(found.fixed.items()))].append(found.p_alone)
    refuted = [_any_refuted(p_values) for p_values in by_setting.values()]
    return {
        "n_settings": len(refuted),
        "n_settings_refuted": sum(refuted),
        "refuted_on_this_ladder": bool(refuted) and all(refuted),
    }


def _any_refuted(p_values: Sequence[float]) -> bool:
    return bool(p_values) and bool((holm(p_values) <= ALPHA).any())
