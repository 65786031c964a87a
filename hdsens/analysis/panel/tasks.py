"""Results of several studies: which are of one task, and what tells two tasks apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Any

import pandas as pd

from hdsens.analysis.panel.arms import without_levels
from hdsens.errors import InputError
from hdsens.text import exact_level, list_seeds

LISTS_BY_TASK = ("protocol_history", "trained_as")


def tell_tasks_apart(frames: Sequence[pd.DataFrame]) -> list[pd.DataFrame]:
    """Extend the label of tasks that share it and differ in their settings by what differs.

    The settings are `attrs["task_settings"]` of `read_cells`; a frame without them keeps its
    labels.
    """
    by_label: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for frame in frames:
        for label, settings in frame.attrs.get("task_settings", {}).items():
            by_label[label].append(settings)
    return [_renamed(frame, by_label) for frame in frames]


def _renamed(
    frame: pd.DataFrame, by_label: Mapping[str, Sequence[Mapping[str, Any]]]
) -> pd.DataFrame:
    names = {}
    for label, settings in frame.attrs.get("task_settings", {}).items():
        differing = [
            key for key in settings if any(s.get(key) != settings[key] for s in by_label[label])
        ]
        if differing:
            told = ", ".join(f"{key} = {_short(settings[key])}" for key in differing)
            names[label] = f"{label} ({told})"
    if not names:
        return frame
    renamed = frame.assign(task=frame["task"].replace(names))
    renamed.attrs = {
        **frame.attrs,
        **{
            name: [{**entry, "task": names.get(entry["task"], entry["task"])} for entry in entries]
            for name, entries in frame.attrs.items()
            if name in LISTS_BY_TASK
        },
        "task_settings": {
            names.get(label, label): settings
            for label, settings in frame.attrs["task_settings"].items()
        },
    }
    return renamed


def _short(value: Any) -> str:
    if isinstance(value, list):
        return list_seeds(value)
    return exact_level(value)


def check_same_arms(frames: Sequence[pd.DataFrame]) -> None:
    """Raise InputError where two results of one task declare an arm of one name differently."""
    seen: dict[tuple[str, str], dict[str, Any]] = {}
    for frame in frames:
        history = frame.attrs.get("protocol_history", [])
        latest = {entry["task"]: entry["declared"] for entry in history if entry["declared"]}
        for task, declared in latest.items():
            for name, arm in declared["arms"].items():
                told = without_levels(arm)
                first = seen.setdefault((task, name), told)
                for key in told:
                    if told[key] != first[key]:
                        raise InputError(
                            f"results: task {task!r}: arm {name!r}: {key}",
                            f"must be the same in every result, {first[key]!r}",
                            told[key],
                            "rename one of the two arms",
                        )
