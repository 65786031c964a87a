"""What an arm is besides its levels: between tasks, and beside its baseline."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pandas as pd

from hdsens.study.likeness import differences

Declared = Mapping[str, Any]


def arms_that_differ(cells: pd.DataFrame) -> Iterable[str]:
    """Name arms that two tasks declare differently, levels apart."""
    latest = _latest(cells)
    for name in sorted({name for arms in latest.values() for name in arms}):
        told = [without_levels(arms[name]) for arms in latest.values() if name in arms]
        keys = [key for key in told[0] if any(arm[key] != told[0][key] for arm in told)]
        if keys:
            yield f"arm {name}: {', '.join(keys)} differ between tasks"


def unlike_baselines(cells: pd.DataFrame) -> Iterable[str]:
    """Name what an arm has otherwise than its baseline, from what the studies declare."""
    latest = _latest(cells)
    pairs = cells[["task", "arm", "baseline"]].dropna().drop_duplicates()
    for task, name, base in pairs.astype(str).itertuples(index=False):
        arms = latest.get(task, {})
        if name in arms and base in arms:
            settings = cells.attrs.get("task_settings", {}).get(task, {})
            for difference in differences(arms[name], arms[base], settings):
                yield f"arm {name} on {task}: {difference}"


def _latest(cells: pd.DataFrame) -> dict[str, Mapping[str, Declared]]:
    history = cells.attrs.get("protocol_history", [])
    return {entry["task"]: entry["declared"]["arms"] for entry in history if entry["declared"]}


def without_levels(arm: Declared) -> dict[str, Any]:
    """What an arm is, whatever levels it is run at."""
    return {key: value for key, value in arm.items() if key != "levels"}
