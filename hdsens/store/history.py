"""What a study declared when its cells ran: kept with every run, read back by the verdict."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from itertools import groupby
from typing import Any

from hdsens.cells import budget_in_steps
from hdsens.study import Study


def declaration(study: Study) -> dict[str, Any]:
    """Everything of a study that must not change once its confirmatory cells have run."""
    protocol = study.protocol
    told = {
        "protocol": None if protocol is None else protocol.model_dump(mode="json"),
        "seeds": sorted(study.seeds),
        "arms": {
            arm.name: {
                **arm.model_dump(
                    include={"baseline", "optimizer", "settings", "schedule", "clip_grad_norm"}
                ),
                "levels": arm.factor_levels,
            }
            for arm in study.arms
        },
    }
    return dict(json.loads(json.dumps(told)))


def protocol_history(study: Study, runs: Iterable[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Declarations in the order they were made, each with the time of its first run.

    The last is the present study's, with no time. A run of a version that kept none has
    `declared` None.
    """
    told = [(run.get("declared"), str(run.get("started_at"))) for run in runs]
    changes = [next(group) for _, group in groupby(told, key=lambda entry: entry[0])]
    changes.append((declaration(study), ""))
    return [
        {"task": study.task.label, "started_at": at or None, "declared": declared}
        for declared, at in changes
    ]


def task_settings(study: Study, train_size: int) -> dict[str, Any]:
    """What a task's label leaves out, and two results of one label may differ in."""
    task = study.task
    return {
        "batch_size": task.batch_size,
        "steps": budget_in_steps(task, task.batch_size, train_size),
        "weight_decay": task.weight_decay,
        "validation": task.validation,
        "dtype": task.dtype,
        "stop": study.stop.when,
        "seeds": sorted(study.seeds),
    }
