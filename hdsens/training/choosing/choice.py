"""Choose by measuring which cells train together, and by which path, before they are planned."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import torch

from hdsens.errors import USER_ERRORS, InputError, describe
from hdsens.study import Study
from hdsens.study.cells import Cell, canonical_json
from hdsens.study.optimizers import update_rule
from hdsens.study.packs import DEFAULT_SIZE, Pack, Path, pack_cells
from hdsens.study.task_factors import study_of, task_point
from hdsens.training.choosing.first_step import try_first_step
from hdsens.training.choosing.probe import Probe
from hdsens.training.environment import resolve_device, training_environment
from hdsens.training.fused.fusable import obstacle
from hdsens.training.job import Job

_log = logging.getLogger(__name__)
PathWish = Literal["auto", "fused", "plain"]
SIZES = (4, 16, 64, 256, 1024)
WORTH = 0.9
"""A larger pack must take less than this share of the time a cell, or the smaller one stays."""


@dataclass(frozen=True)
class Way:
    """How cells of one kind train: by which path, in packs of which size."""

    path: Path
    size: int


def check_path(path: str) -> PathWish:
    """Check the wish of `--path`.

    Raises:
        InputError: it is neither `auto`, `fused` nor `plain`.
    """
    for wish in get_args(PathWish):
        if path == wish:
            return wish  # type: ignore[no-any-return] # mypy loses the literals of get_args
    raise InputError("--path", "must be auto, fused or plain", path)


def choose_packs(
    study: Study, cells: Sequence[Cell], device: str, threads: int, size: int | None, path: PathWish
) -> tuple[Pack, ...]:
    """Arrange cells of a study in packs.

    Cells that cannot be fused take the plain loop, whatever `path` says.

    Args:
        study: the study that the cells are of.
        cells: to be packed.
        device: as `PackTraining` takes it.
        threads: likewise.
        size: most cells in a pack; None measures.
        path: `auto` measures.

    Raises:
        InputError: the model or the data cannot make the first step, so that no cell could.
    """
    by_task: dict[str, list[Cell]] = {}
    for cell in cells:
        by_task.setdefault(canonical_json(task_point(cell.factors)), []).append(cell)
    packs: list[Pack] = []
    with training_environment(getattr(torch, study.task.dtype), threads):
        for members in by_task.values():
            of_task = study_of(study, members[0].factors)
            job = try_first_step(of_task, members, resolve_device(device))
            packs += _choose_packs(job, members, threads, size, path)
    return tuple(packs)


def _choose_packs(
    job: Job, cells: Sequence[Cell], threads: int, size: int | None, path: PathWish
) -> Iterator[Pack]:
    study = job.study
    kinds: dict[tuple[int, str, bool], list[Cell]] = {}
    for cell in cells:
        arm = study.arm(cell.arm)
        fusable = path != "plain" and obstacle(arm, study.task, cell.factors) is None
        kinds.setdefault((cell.batch_size, update_rule(arm.optimizer), fusable), []).append(cell)
    for (_, _, fusable), members in kinds.items():
        way = Way("plain", size or DEFAULT_SIZE)
        if fusable:
            way = _choose(Probe(job, _largest_group(members), threads), size, path)
        yield from pack_cells(members, study, way.size, way.path)


def _choose(probe: Probe, size: int | None, path: PathWish) -> Way:
    try:
        return _measure(probe, size, path)
    except USER_ERRORS as error:  # whatever a user's model raises under vmap
        _log.warning("the plain loop trains these cells: %s", describe(error))
        return Way("plain", size or DEFAULT_SIZE)


def _measure(probe: Probe, size: int | None, path: PathWish) -> Way:
    largest = min(size or max(SIZES), len(probe.cells))
    best, seconds = _best_size(probe.fused_seconds, largest, fixed=size is not None)
    if path == "auto" and seconds >= probe.plain_seconds():
        return Way("plain", size or DEFAULT_SIZE)
    return Way("fused", size or best)


def _best_size(
    seconds: Callable[[int], float | None], largest: int, *, fixed: bool
) -> tuple[int, float]:
    """Return the smallest size that is about the best, with its seconds a cell and step."""
    sizes = [largest] if fixed else sorted({min(size, largest) for size in SIZES})
    best, least = sizes[0], float("inf")
    for size in sizes:
        found = seconds(size)
        if found is None or found >= least * WORTH:
            break
        best, least = size, found
    return best, least


def _largest_group(cells: Sequence[Cell]) -> list[Cell]:
    """Return the cells of the seed that has most: no pack can be larger."""
    by_seed: dict[int, list[Cell]] = {}
    for cell in cells:
        by_seed.setdefault(cell.seed, []).append(cell)
    return max(by_seed.values(), key=len)
