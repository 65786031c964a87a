"""What an arm is besides its levels: between tasks, and beside its baseline."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

import pandas as pd

from hdsens.study.optimizers import optimizer_facts

Declared = Mapping[str, Any]
HD_OPTIONS = ("hypergrad_lr", "rule", "transition", "lr_bounds")
SAME_RESULT = ("foreach", "fused")  # how a step is computed, not what it gives
OF_THE_TASK = ("batch_size", "weight_decay")  # an arm may have its own


def arms_that_differ(cells: pd.DataFrame) -> Iterable[str]:
    """Name arms that two tasks declare differently, levels apart."""
    latest = _latest(cells)
    for name in sorted({name for arms in latest.values() for name in arms}):
        told = [without_levels(arms[name]) for arms in latest.values() if name in arms]
        keys = [key for key in told[0] if any(arm[key] != told[0][key] for arm in told)]
        if keys:
            yield f"arm {name}: {', '.join(keys)} differ between tasks"


def unlike_baselines(cells: pd.DataFrame) -> Iterable[str]:
    """Name what an arm has otherwise than its baseline, besides what makes it an HD arm.

    From what the studies declare. Factors that both have are matched level by level.
    """
    latest = _latest(cells)
    pairs = cells[["task", "arm", "baseline"]].dropna().drop_duplicates()
    for task, name, base in pairs.astype(str).itertuples(index=False):
        arms = latest.get(task, {})
        if name in arms and base in arms:
            settings = cells.attrs.get("task_settings", {}).get(task, {})
            given = {key: settings[key] for key in OF_THE_TASK if key in settings}
            matched = arms[name]["levels"].keys() & arms[base]["levels"].keys()
            own, other = (_options(arms[arm], given, matched) for arm in (name, base))
            for key in dict.fromkeys([*own, *other]):
                here, there = (_value(options, key) for options in (own, other))
                if here != there:
                    told = f"{key} {_told(here)}, its baseline's {_told(there)}"
                    yield f"arm {name} on {task}: {told}"


def _options(arm: Declared, given: Declared, matched: Container[str]) -> dict[str, Any]:
    """What an arm trains with: its factors come before its settings, these before the task's."""
    optimizer, decoupled = _update_rule(arm["optimizer"])
    levels = {name: _levels(given) for name, given in arm["levels"].items() if name not in matched}
    options = {
        "optimizer": optimizer,
        "schedule": arm["schedule"],
        "clip_grad_norm": arm["clip_grad_norm"],
        **given,
        **decoupled,
        **arm["settings"],
        **levels,
    }
    return {key: v for key, v in options.items() if key not in (*HD_OPTIONS, *SAME_RESULT)}


def _value(options: Mapping[str, Any], key: str) -> Any:
    """What is stated, or what the optimizer does otherwise, where that is known."""
    defaults = optimizer_facts(options["optimizer"]).defaults
    return options.get(key, defaults.get(key, "unstated"))


def _levels(given: Sequence[Any]) -> Any:
    return given[0] if len(given) == 1 else tuple(given)


def _update_rule(optimizer: str) -> tuple[str, dict[str, bool]]:
    """SGD and SGDHD are one rule, as are Adam and AdamHD; AdamW is Adam with decoupled decay."""
    name = optimizer.replace(":", ".").rpartition(".")[2].removesuffix("HD")
    return ("Adam", {"decoupled_weight_decay": True}) if name == "AdamW" else (name, {})


def _told(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_told, value))
    return f"{value:g}" if isinstance(value, float) else str(value)


def _latest(cells: pd.DataFrame) -> dict[str, Mapping[str, Declared]]:
    history = cells.attrs.get("protocol_history", [])
    return {entry["task"]: entry["declared"]["arms"] for entry in history if entry["declared"]}


def without_levels(arm: Declared) -> dict[str, Any]:
    """What an arm is, whatever levels it is run at."""
    return {key: value for key, value in arm.items() if key != "levels"}
