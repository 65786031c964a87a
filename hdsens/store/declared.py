"""What a study declared when its cells ran: kept with every run, read back by the verdict."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import groupby
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from hdsens.study import Protocol, Study
from hdsens.study.cells import budget_in_steps
from hdsens.study.task_factors import share_of, task_label, task_points


class _Stated(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class DeclaredArm(_Stated):
    """One arm's declaration, with its levels."""

    baseline: str | None
    optimizer: str
    settings: dict[str, Any]
    schedule: str
    clip_grad_norm: float
    levels: dict[str, list[Any]]


class Declaration(_Stated):
    """Everything of a study that must not change once its confirmatory cells have run."""

    protocol: Protocol | None
    seeds: list[int]
    arms: dict[str, DeclaredArm]
    metric: str = "train_loss"


class HistoryEntry(BaseModel):
    """What was declared for a task, with the times of the first and last run under it.

    The present declaration has no times. `declared` is None where a run's record cannot be read.
    """

    model_config = ConfigDict(frozen=True)

    task: str
    started_at: str | None
    last_at: str | None
    declared: Declaration | None


class TrainedRole(BaseModel):
    """The role of a task's seed, pilot or confirmatory, when its cells were trained."""

    model_config = ConfigDict(frozen=True)

    task: str
    seed: int
    role: str


def declaration(study: Study) -> dict[str, Any]:
    """Return a study's declaration as JSON values."""
    arms = {
        arm.name: DeclaredArm(
            baseline=arm.baseline,
            optimizer=arm.optimizer,
            settings=arm.settings,
            schedule=arm.schedule,
            clip_grad_norm=arm.clip_grad_norm,
            levels={name: list(levels) for name, levels in arm.factor_levels.items()},
        )
        for arm in study.arms
    }
    declared = Declaration(
        protocol=study.protocol, seeds=sorted(study.seeds), arms=arms, metric=study.metric
    )
    # Earlier versions know no metric, and can read the record where it is the one that they judge.
    known = study.metric == Declaration.model_fields["metric"].default
    return declared.model_dump(mode="json", exclude={"metric"} if known else None)


def protocol_history(study: Study, runs: Iterable[Mapping[str, Any]]) -> tuple[HistoryEntry, ...]:
    """Declarations in the order they were made, the present study's last.

    A run whose record cannot be read (an earlier version's, or a damaged one) counts as the first.
    """
    records = sorted((_read(run) for run in runs), key=lambda record: record[0])
    entries: list[tuple[str | None, str | None, Declaration | None]] = []
    for declared, group in groupby(records, key=lambda record: record[1]):
        times = [at.isoformat() for at, _ in group]
        entries.append((times[0], times[-1], declared))
    entries.append((None, None, Declaration.model_validate(declaration(study))))
    return tuple(
        HistoryEntry(task=task, started_at=first, last_at=last, declared=declared)
        for task in labels_of(study)
        for first, last, declared in entries
    )


_UNKNOWN = datetime.fromisoformat("0001-01-01T00:00:00+00:00")


def _read(run: Mapping[str, Any]) -> tuple[datetime, Declaration | None]:
    """When a run began and what was declared then."""
    try:
        at = datetime.fromisoformat(str(run.get("started_at")))
        declared = Declaration.model_validate(run.get("declared"))
    except (ValueError, ValidationError):
        return _UNKNOWN, None
    return (_UNKNOWN, None) if at.tzinfo is None else (at, declared)


def task_settings(study: Study, train_size: int) -> dict[str, dict[str, Any]]:
    """Return, by task, the settings that its label leaves out, in which equal labels may differ."""
    task = study.task
    steps = budget_in_steps(task, task.batch_size, train_size)
    shared = {
        "batch_size": task.batch_size,
        "steps": steps,
        "weight_decay": task.weight_decay,
        "validation": task.validation,
        "dtype": task.dtype,
        "stop": study.stop.when,
        "seeds": sorted(study.seeds),
    }
    return {
        task_label(task, point): {**shared, "steps": share_of(steps, point)}
        for point in task_points(study)
    }


def labels_of(study: Study) -> list[str]:
    """Return the names of the study's tasks."""
    return list(dict.fromkeys(task_label(study.task, point) for point in task_points(study)))
