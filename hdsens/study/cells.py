"""Study -> cells, and their identity: equal for cells that must give the same result.

Not part of it: study name, baseline, trace cadence, executor, device, versions, packs.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from hdsens.errors import InputError
from hdsens.study.declaration import ARM_FACTORS, DEFAULT_LOSS, Arm, Study, Task
from hdsens.study.levels import Level
from hdsens.study.task_factors import (
    CLIPPING,
    is_optimizer_argument,
    share_of,
    table_and_key,
)

IDENTITY_VERSION = 1

Role = Literal["pilot", "confirmatory"]


@dataclass(frozen=True, slots=True)
class Cell:
    """One arm at one point of its factors with one seed: one training run.

    Attributes:
        cell_id: SHA-256, in hex, of everything that determines the result.
        arm: name of the arm in the study.
        seed: seed of initial weights, batch order and dropout.
        role: ``pilot`` seeds choose, ``confirmatory`` seeds are tested.
        factors: level of each factor, `lr` first.
        batch_size: examples in a minibatch.
        steps: the budget, in updates.
    """

    cell_id: str
    arm: str
    seed: int
    role: Role
    factors: Mapping[str, Level]
    batch_size: int
    steps: int


def expand(study: Study, train_size: int) -> tuple[Cell, ...]:
    """All cells of a study.

    Args:
        study: the declaration.
        train_size: number of training examples after the validation split; epochs become steps
            with it.
    """
    seeds: list[tuple[int, Role]] = [(seed, "pilot") for seed in study.pilot_seeds]
    seeds += [(seed, "confirmatory") for seed in study.seeds]
    points = [
        _Point.of(study, arm, factors, train_size) for arm in study.arms for factors in grid(arm)
    ]
    texts = [canonical_json(seed).encode() for seed, _ in seeds]
    return tuple(
        point.cell(seed, text, role)
        for (seed, role), text in zip(seeds, texts, strict=True)
        for point in points
    )


def make_cell(
    study: Study, arm: str, factors: Mapping[str, Level], seed: int, train_size: int
) -> Cell:
    """Make one cell by itself; it equals the grid's where the grid has this point.

    Args:
        study: the declaration.
        arm: name of one of its arms.
        factors: one level for each factor of the arm, and for other arguments of the optimizer
            that are to be factors of this cell. The levels need not be among the arm's.
        seed: any seed; the role is ``confirmatory`` for those of `Study.seeds`, else ``pilot``.
        train_size: as in `expand`.

    Raises:
        InputError: the study has no such arm, a factor is missing, or a level or the seed breaks
            a rule.
    """
    own = [name for name in ARM_FACTORS if name in factors]
    declared = _arm_named(study, arm, factors)
    alone = {
        **declared.model_dump(),
        "baseline": None,
        **{name: [factors[name]] for name in own},
        "factors": {name: [level] for name, level in factors.items() if name not in own},
    }
    point = {**study.model_dump(), "seeds": [seed], "protocol": None, "arms": [alone]}
    (cell,) = expand(Study.from_dict(point, known_factors=declared.factors), train_size)
    return cell if seed in study.seeds else replace(cell, role="pilot")


def _arm_named(study: Study, name: str, factors: Mapping[str, Level]) -> Arm:
    """Return the arm of that name; an error unless `factors` has a level of each of its factors."""
    thing = f"study {study.name!r}: arm"
    if name not in {arm.name for arm in study.arms}:
        arms = ", ".join(repr(arm.name) for arm in study.arms)
        raise InputError(thing, "must be one of the study's", name, f"arms: {arms}")
    arm = study.arm(name)
    for factor in arm.factor_levels:
        if factor not in factors:
            raise InputError(f"{thing} {name!r}", f"needs a level of {factor}", remedy="add it")
    return arm


def grid(arm: Arm) -> Iterator[dict[str, Level]]:
    """Yield the points of an arm's full grid, the last factor varying fastest."""
    levels = arm.factor_levels
    return (dict(zip(levels, point, strict=True)) for point in itertools.product(*levels.values()))


def arm_arguments(arm: Arm, task: Task, factors: Mapping[str, Level]) -> dict[str, Any]:
    """Return the optimizer's arguments: factors win over settings, settings over the task."""
    own = {name: level for name, level in factors.items() if is_optimizer_argument(name)}
    arguments = {"weight_decay": task.weight_decay, **arm.settings, **own}
    arguments.pop("batch_size", None)
    return arguments


def budget_in_steps(task: Task, batch_size: int, train_size: int) -> int:
    """Return the budget in updates. An epoch keeps its last short batch."""
    if task.steps is not None:
        return task.steps
    return (task.epochs or 0) * math.ceil(train_size / batch_size)


def canonical_json(value: object) -> str:
    """Write JSON with sorted keys, no spaces, and every number as a float.

    >>> canonical_json({"b": 1, "a": [True, 1e-5]})
    '{"a":[true,1e-05],"b":1.0}'
    """
    return json.dumps(
        floats(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False
    )


def floats(value: object) -> object:
    """Turn every number into a float, as identities and results have them."""
    if isinstance(value, Mapping):
        return {str(k): floats(v) for k, v in value.items()}
    if isinstance(value, list | tuple):
        return [floats(v) for v in value]
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) + 0.0  # -0.0 becomes 0.0
    return value


def clip_grad_norm(arm: Arm, factors: Mapping[str, Level]) -> float:
    """Return the norm that a cell's gradients are clipped to; 0 is off."""
    return float(cast(float, factors.get(CLIPPING, arm.clip_grad_norm)))


def _batch_size(arm: Arm, task: Task, factors: Mapping[str, Level]) -> int:
    """Return the batch size: factors win over settings, these over the task."""
    stated = {"batch_size": task.batch_size, **arm.settings, **factors}
    return int(stated["batch_size"])


@dataclass(frozen=True, slots=True)
class _Point:
    """What the cells of one point of an arm share, hashed once for all seeds.

    The identity is canonical JSON, whose keys are sorted: `head` is a hash of what comes before
    the seed, `tail` what comes after.
    """

    arm: str
    factors: Mapping[str, Level]
    batch_size: int
    steps: int
    head: hashlib._Hash
    tail: bytes

    @classmethod
    def of(cls, study: Study, arm: Arm, factors: Mapping[str, Level], train_size: int) -> _Point:
        batch_size = _batch_size(arm, study.task, factors)
        steps = share_of(budget_in_steps(study.task, batch_size, train_size), factors)
        before = {"arm": _arm_identity(arm, study.task, factors)}
        after = {
            "stop": study.stop.when,
            "targets": {name: target.batch_loss for name, target in study.targets.items()},
            "task": _task_identity(study.task, factors, batch_size, steps),
            "version": IDENTITY_VERSION,
        }
        head = f'{canonical_json(before)[:-1]},"seed":'
        tail = f",{canonical_json(after)[1:]}"
        return cls(
            arm.name, factors, batch_size, steps, hashlib.sha256(head.encode()), tail.encode()
        )

    def cell(self, seed: int, text: bytes, role: Role) -> Cell:
        """Make the cell of one seed; `text` is the seed as the identity writes it."""
        digest = self.head.copy()
        digest.update(text + self.tail)
        return Cell(
            digest.hexdigest(), self.arm, seed, role, self.factors, self.batch_size, self.steps
        )


def _arm_identity(arm: Arm, task: Task, factors: Mapping[str, Level]) -> dict[str, Any]:
    stated = arm_arguments(arm, task, {})
    return {
        "name": arm.name,
        "optimizer": arm.optimizer,
        "settings": {k: v for k, v in stated.items() if k not in factors},
        "factors": dict(factors),
        "schedule": arm.schedule,
        "clip_grad_norm": clip_grad_norm(arm, factors),
    }


def _task_identity(
    task: Task, factors: Mapping[str, Level], batch_size: int, steps: int
) -> dict[str, Any]:
    set_by_factors = {table_and_key(factor) for factor in factors}

    def stated(table: str) -> dict[str, Any]:
        settings = getattr(task, table)
        return {k: v for k, v in settings.items() if (table, k) not in set_by_factors}

    identity = {
        "model": task.model,
        "model_settings": stated("model_settings"),
        "data": task.data,
        "data_settings": stated("data_settings"),
        "batch_size": batch_size,
        "validation": task.validation,
        "dtype": task.dtype,
        "steps": steps,
    }
    # Keys that came later are left out at their defaults: older cells keep their ids.
    later = {"loss": task.loss, "loss_settings": task.loss_settings}
    return {**identity, **{k: v for k, v in later.items() if v not in (DEFAULT_LOSS, {})}}
