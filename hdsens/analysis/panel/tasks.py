"""Results of several studies: which are of one task, and what tells two tasks apart."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from hdsens.analysis.panel.arms import declared_arms, without_levels
from hdsens.analysis.panel.cells import CheckedCells
from hdsens.errors import InputError
from hdsens.text import exact_level, list_seeds

Settings = Mapping[str, Any]


def tell_tasks_apart(results: Sequence[CheckedCells]) -> list[CheckedCells]:
    """Extend the label of tasks that share it and differ in their settings by what differs.

    Cells whose facts have no settings keep their labels.
    """
    by_label: dict[str, list[Settings]] = defaultdict(list)
    for cells in results:
        for label, settings in (cells.facts.task_settings or {}).items():
            by_label[label].append(settings)
    return [cells.renamed(_longer_labels(cells, by_label)) for cells in results]


def _longer_labels(
    cells: CheckedCells, by_label: Mapping[str, Sequence[Settings]]
) -> dict[str, str]:
    """New labels of the tasks that need one, by their old labels."""
    labels = {}
    for label, settings in (cells.facts.task_settings or {}).items():
        differing = [
            key for key in settings if any(s.get(key) != settings[key] for s in by_label[label])
        ]
        if differing:
            words = ", ".join(f"{key} = {_words(settings[key])}" for key in differing)
            labels[label] = f"{label} ({words})"
    return labels


def _words(value: Any) -> str:
    if isinstance(value, list):
        return list_seeds(value)
    return exact_level(value)


def check_same_arms(results: Iterable[CheckedCells]) -> None:
    """Raise InputError where two results of one task declare an arm of one name differently."""
    seen: dict[tuple[str, str], Settings] = {}
    for cells in results:
        for task, arms in declared_arms(cells.facts).items():
            for name, arm in arms.items():
                stated = without_levels(arm)
                first = seen.setdefault((task, name), stated)
                for key in stated:
                    if stated[key] != first[key]:
                        raise InputError(
                            f"results: task {task!r}: arm {name!r}: {key}",
                            f"must be the same in every result, {first[key]!r}",
                            stated[key],
                            "rename one of the two arms",
                        )
