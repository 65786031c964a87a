"""Describe what a study would train, and find its results."""

from __future__ import annotations

import inspect
from collections import Counter
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

import torch

import hdsens.optim
from hdsens.errors import InputError
from hdsens.launch.changes import explain_changes
from hdsens.launch.notes import notes
from hdsens.launch.study_file import read_study, store_of_study
from hdsens.store import Location, Store
from hdsens.study import Arm, Study
from hdsens.study.cells import Cell, expand, grid
from hdsens.study.packs import pack_cells
from hdsens.study.task_factors import study_of, task_points
from hdsens.tasks import data_names, model_names
from hdsens.tasks.names import loss_names
from hdsens.training.check import check_study, training_examples
from hdsens.training.choosing.dry_run import explain_layers
from hdsens.training.fused.fusable import obstacle
from hdsens.training.optimizers import trains_any_model

_POINTS_SHOWN = 1000


def describe(study: Study, pack_size: int | None) -> str:
    """Describe in lines of text what running the study would train.

    Raises:
        InputError: the study breaks a rule.
    """
    if pack_size is not None and pack_size < 1:
        raise InputError("--pack-size", "must be >= 1", pack_size)
    check_study(study)
    train_size = training_examples(study)
    cells = expand(study, train_size)
    counts = Counter(cell.arm for cell in cells)
    steps = sorted({cell.steps for cell in cells})
    width = max(len(arm.name) for arm in study.arms)
    arms = [
        f"arm    {a.name:<{width}}  {counts[a.name]:>6} cells  {_factors(a)}" for a in study.arms
    ]
    return "\n".join(
        [
            f"study  {study.name}: {study.task_label}",
            f"seeds  {len(study.seeds)} confirmatory, {len(study.pilot_seeds)} pilot",
            *arms,
            f"cells  {len(cells)}, {_range(steps)} steps each",
            *_found(study, cells),
            *explain_changes(store_of_study(study.name, None), study, cells),
            _packs(study, cells, pack_size),
            f"layers {explain_layers(study_of(study, task_points(study)[0]))}",
            *_one_by_one(study),
            *(f"note   {note}" for note in notes(study, cells, train_size)),
        ]
    )


def store_of(file: Path, out: Location | None) -> tuple[Store, Sequence[Cell], tuple[str, ...]]:
    """Return the store of a study file, the cells that it should hold, and how studies differ.

    Where a study file differs from the study in its store, lines that say how come with it.

    Raises:
        InputError: the file is no study.
    """
    study = read_study(file, out)
    check_study(study)
    store = store_of_study(study.name, out)
    cells = expand(study, training_examples(study))
    return store, cells, explain_changes(store, study, cells)


def known_names() -> dict[str, tuple[str, ...]]:
    """List the models, data sets, losses and optimizers that a study can name without a path."""
    found = inspect.getmembers(torch.optim, inspect.isclass)
    others = [
        name
        for name, kind in found
        if issubclass(kind, torch.optim.Optimizer)
        and kind is not torch.optim.Optimizer
        and trains_any_model(kind)
    ]
    own = [n for n in hdsens.optim.__all__ if inspect.isclass(getattr(hdsens.optim, n))]
    return {
        "models": model_names(),
        "data": data_names(),
        "losses": loss_names(),
        "optimizers": (*own, *(name for name in others if name not in own)),
    }


def _found(study: Study, cells: Sequence[Cell]) -> list[str]:
    """Say how many cells have a result in the default results folder, if it exists."""
    store = store_of_study(study.name, None)
    if not store.exists():
        return []
    found = store.status(cells)
    return [f"found  {found.completed + found.diverged} of them have a result in {store.folder}"]


def _packs(study: Study, cells: Sequence[Cell], pack_size: int | None) -> str:
    packs = pack_cells(cells, study, pack_size or len(cells))
    sizes = sorted({len(pack.cells) for pack in packs})
    if pack_size is not None:
        return f"packs  {len(packs)} of {_range(sizes)} cells"
    return f"packs  {len(packs)} or more, of at most {sizes[-1]} cells: the first run measures"


def _one_by_one(study: Study) -> list[str]:
    """Name the arms with points that only the plain loop can train, and say why."""
    lines = []
    for arm in study.arms:
        points = list(islice(grid(arm), _POINTS_SHOWN))
        reasons = Counter(obstacle(arm, study.task, point) for point in points)
        for why, count in reasons.items():
            if why is not None:
                part = "" if count == len(points) else f"{count} of {len(points)} points "
                lines.append(f"plain  {arm.name}: {part}trained one by one, because {why}")
    return lines


def _factors(arm: Arm) -> str:
    return " x ".join(f"{len(levels)} {name}" for name, levels in arm.factor_levels.items())


def _range(values: Sequence[int]) -> str:
    return str(values[0]) if len(values) == 1 else f"{values[0]} to {values[-1]}"
