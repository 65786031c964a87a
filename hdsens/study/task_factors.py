"""Factors that are no arguments of an optimizer, and what each makes of the task.

A factor that changes the model, the data or the budget makes tasks of their own: everything that
compares cells does so within one of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from hdsens.text import join

if TYPE_CHECKING:
    from hdsens.study.declaration import Arm, Study, Task
    from hdsens.study.levels import Level

BUDGET = "budget"
CLIPPING = "clip_grad_norm"
TABLES = {"model": "model_settings", "data": "data_settings"}
"""What the first word of a dotted factor, such as ``model.width``, sets."""


def table_and_key(factor: str) -> tuple[str, str] | None:
    """Return the task's table that a factor sets, and the key in it; None for other factors.

    >>> table_and_key("model.width")
    ('model_settings', 'width')
    """
    table, dot, key = factor.partition(".")
    return (TABLES[table], key) if dot and table in TABLES else None


def is_factor_name(name: str) -> bool:
    """Whether a factor can have the name: an identifier, or a setting such as ``model.width``."""
    place = table_and_key(name)
    return (name if place is None else place[1]).isidentifier()


def is_optimizer_argument(factor: str) -> bool:
    """Whether the optimizer's constructor gets the factor."""
    return factor not in ("batch_size", CLIPPING, BUDGET) and table_and_key(factor) is None


def changes_task(factor: str) -> bool:
    """Whether cells at different levels of the factor do not train on the same task."""
    return factor == BUDGET or table_and_key(factor) is not None


def task_point(factors: Mapping[str, Level]) -> dict[str, Level]:
    """Return those of a cell's factors that change its task."""
    return {name: level for name, level in factors.items() if changes_task(name)}


def task_of(task: Task, factors: Mapping[str, Level]) -> Task:
    """Return the task that a cell trains on; its budget is the cell's `steps`."""
    changed: dict[str, dict[str, Any]] = {}
    for factor, level in factors.items():
        place = table_and_key(factor)
        if place is not None:
            table, key = place
            before = changed.get(table, getattr(task, table))
            changed[table] = {**before, key: list(level) if isinstance(level, tuple) else level}
    return task.model_copy(update=changed) if changed else task


def study_of(study: Study, factors: Mapping[str, Level]) -> Study:
    """Return the study with the task of the cells at these levels."""
    task = task_of(study.task, factors)
    return study if task is study.task else study.model_copy(update={"task": task})


def task_label(task: Task, factors: Mapping[str, Level]) -> str:
    """Name the task of a cell, such as ``mlp(width=64) on digits, budget 0.5``."""
    label = task_of(task, factors).label
    return f"{label}, {BUDGET} {factors[BUDGET]:g}" if BUDGET in factors else label


def task_points(study: Study) -> list[dict[str, Level]]:
    """Return, for each task of the study, the levels that make it; one empty dict without any."""
    points: list[dict[str, Level]] = []
    for arm in study.arms:
        points += [point for point in _points(arm) if point not in points]
    return points


def tasks_label(study: Study) -> str:
    """Name what a study trains: its task, or ``mlp on digits, by model.width and budget``."""
    factors = list(dict.fromkeys(name for arm in study.arms for name in task_point_levels(arm)))
    if not factors:
        return study.task.label
    places = {table_and_key(name) for name in factors}
    rest = {
        table: {k: v for k, v in getattr(study.task, table).items() if (table, k) not in places}
        for table in TABLES.values()
    }
    return f"{study.task.model_copy(update=rest).label}, by {join(factors)}"


def share_of(steps: int, factors: Mapping[str, Level]) -> int:
    """Return the steps of a cell: those of the task, or the share of them that it has."""
    share = factors.get(BUDGET, 1)
    assert isinstance(share, int | float)
    return steps if share == 1 else max(1, math.ceil(share * steps - 1e-9))


def _points(arm: Arm) -> Iterator[dict[str, Level]]:
    levels = task_point_levels(arm)
    return (dict(zip(levels, point, strict=True)) for point in itertools.product(*levels.values()))


def task_point_levels(arm: Arm) -> dict[str, tuple[Level, ...]]:
    """Return the levels of an arm's factors that change the task."""
    return {name: levels for name, levels in arm.factor_levels.items() if changes_task(name)}
