"""What an arm is besides its levels: between tasks, and beside its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from hdsens.analysis.panel.cells import CheckedCells
from hdsens.store.declared import DeclaredArm
from hdsens.store.facts import Facts
from hdsens.study.likeness import differences


def arms_that_differ(cells: CheckedCells) -> Iterable[str]:
    """Name arms that two tasks declare differently, levels apart."""
    latest = declared_arms(cells.facts)
    for name in sorted({name for arms in latest.values() for name in arms}):
        stated = [without_levels(arms[name]) for arms in latest.values() if name in arms]
        keys = [key for key in stated[0] if any(arm[key] != stated[0][key] for arm in stated)]
        if keys:
            yield f"arm {name}: {', '.join(keys)} differ between tasks"


def unlike_baselines(cells: CheckedCells) -> Iterable[str]:
    """Name what an arm has otherwise than its baseline, from what the studies declare."""
    latest = declared_arms(cells.facts)
    pairs = cells.frame[["task", "arm", "baseline"]].dropna().drop_duplicates()
    for task, name, base in pairs.astype(str).itertuples(index=False):
        arms = latest.get(task, {})
        if name in arms and base in arms:
            settings = (cells.facts.task_settings or {}).get(task, {})
            own, other = arms[name].model_dump(), arms[base].model_dump()
            for difference in differences(own, other, settings):
                yield f"arm {name} on {task}: {difference}"


def declared_arms(facts: Facts) -> dict[str, Mapping[str, DeclaredArm]]:
    """The arms of each task's latest declaration, by their names."""
    history = facts.protocol_history or ()
    return {entry.task: entry.declared.arms for entry in history if entry.declared}


def without_levels(arm: DeclaredArm) -> dict[str, Any]:
    """What an arm is, whatever levels it is run at."""
    return arm.model_dump(exclude={"levels"})
