"""What a person may not have meant, though no rule forbids it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hdsens.study import Arm, Study, Task
from hdsens.study.cells import Cell
from hdsens.study.optimizers import optimizer_facts
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish
from hdsens.training.fused.fusable import obstacle

_BASES = {"SGDHD": ("SGD", "SGDHD"), "AdamHD": ("Adam", "AdamW", "AdamHD")}
_HD_ONLY = {"rule", "lr_bounds", "transition", "decoupled_weight_decay"}


def notes(study: Study, cells: Sequence[Cell], train_size: int) -> tuple[str, ...]:
    """One line for each doubt about a study."""
    arms = {arm.name: arm for arm in study.arms}
    pairs = [(arm, arms[arm.baseline]) for arm in study.arms if arm.baseline is not None]
    return (
        *_about_batches(cells, train_size),
        *(note for arm, base in pairs for note in _about_pair(arm, base, study.task)),
        *(
            f"arm {arm.name!r} ({arm.optimizer}) names no baseline: no verdict compares it"
            for arm in study.arms
            if arm.optimizer in _BASES and arm.baseline is None and not _is_baseline(arm, study)
        ),
    )


def _is_baseline(arm: Arm, study: Study) -> bool:
    return any(other.baseline == arm.name for other in study.arms)


def notes_on_plan(
    study: Study, kept: Sequence[Pack], pack_size: int | None, path: PathWish
) -> tuple[str, ...]:
    """Whether an earlier plan, which stands, trains cells other than asked for now.

    Args:
        study: the study that the packs are of.
        kept: packs of the earlier plan that train now.
        pack_size: most cells in a pack, if fixed.
        path: asked for.
    """
    other = [
        pack
        for pack in kept
        if len(pack.cells) > (pack_size or len(pack.cells))
        or (path == "plain" and pack.path == "fused")
        or (path == "fused" and pack.path == "plain" and _can_fuse(study, pack))
    ]
    if not other:
        return ()
    n_cells = sum(len(pack.cells) for pack in other)
    ways = " and ".join(sorted({pack.path for pack in other}))
    largest = max(len(pack.cells) for pack in other)
    return (
        f"{n_cells} cells train as planned at an earlier run ({ways}, packs of at most {largest}): "
        "--path and --pack-size arrange only what no plan holds; a new --out plans anew",
    )


def _can_fuse(study: Study, pack: Pack) -> bool:
    return all(obstacle(study.arm(c.arm), study.task, c.factors) is None for c in pack.cells)


def _about_batches(cells: Sequence[Cell], train_size: int) -> list[str]:
    sizes = sorted({cell.batch_size for cell in cells if cell.batch_size > train_size})
    return [
        f"batch_size {size} is more than the {train_size} training examples: each step uses all"
        for size in sizes
    ]


def _about_pair(arm: Arm, base: Arm, task: Task) -> list[str]:
    thing = f"arm {arm.name!r} ({arm.optimizer}) is compared with {base.name!r} ({base.optimizer})"
    found = []
    if base.optimizer not in _BASES.get(arm.optimizer, (base.optimizer,)):
        found.append(f"{thing}, which follows another update rule")
    ours, theirs = _stated(arm), _stated(base)
    values = {
        name: (_value(arm, task, name), _value(base, task, name))
        for name in sorted({*ours, *theirs})
    }
    different = [f"{name} = {a} here, {b} there" for name, (a, b) in values.items() if a != b]
    if different:
        found.append(f"{thing}, which has other settings: {', '.join(different)}")
    return found


def _stated(arm: Arm) -> dict[str, Any]:
    fixed = {"schedule": arm.schedule, "clip_grad_norm": arm.clip_grad_norm, **arm.settings}
    return {name: value for name, value in fixed.items() if name not in _HD_ONLY}


def _value(arm: Arm, task: Task, name: str) -> Any:
    """What is stated, or what the task gives or the optimizer does otherwise, where known."""
    given = {"batch_size": task.batch_size, "weight_decay": task.weight_decay}
    facts = optimizer_facts(arm.optimizer)
    known = {**facts.defaults, **facts.implied, **given, **_stated(arm)}
    return known.get(name, "default")
