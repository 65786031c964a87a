"""Cells -> packs: cells that can be trained together in one program."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal

from hdsens.study.cells import Cell, canonical_json
from hdsens.study.declaration import Study
from hdsens.study.optimizers import update_rule
from hdsens.study.task_factors import task_point

DEFAULT_SIZE = 32

Path = Literal["fused", "plain"]
"""`fused`: all cells of a pack in one program; `plain`: one after the other."""


@dataclass(frozen=True, slots=True)
class Pack:
    """Cells that share task, batch size, seed and update rule; the unit of work.

    Attributes:
        pack_id: hash of the sorted cell_ids, so that equal packs have equal names.
        cells: the members.
        path: how they are trained.
        source: name of the search that asked for the cells; None for cells of the grid.
    """

    pack_id: str
    cells: tuple[Cell, ...]
    path: Path = "plain"
    source: str | None = None


def make_pack(cells: Iterable[Cell], path: Path = "plain", source: str | None = None) -> Pack:
    """Make a pack of these cells; its id is the hash of theirs."""
    members = tuple(cells)
    return Pack(hash_of_ids(cell.cell_id for cell in members), members, path, source)


def halves(pack: Pack) -> tuple[Pack, Pack]:
    """Split a pack of several cells into two packs."""
    middle = len(pack.cells) // 2
    first, second = pack.cells[:middle], pack.cells[middle:]
    return make_pack(first, pack.path, pack.source), make_pack(second, pack.path, pack.source)


def hash_of_ids(cell_ids: Iterable[str]) -> str:
    """Return 32 hex digits that depend on the set of cell_ids alone, not on their order."""
    return hashlib.sha256("\n".join(sorted(cell_ids)).encode()).hexdigest()[:32]


def pack_cells(
    cells: Iterable[Cell], study: Study, size: int = DEFAULT_SIZE, path: Path = "plain"
) -> tuple[Pack, ...]:
    """Sort cells into packs of at most `size` cells each, in the order of the study.

    Base arms and their HD arms follow one update rule (β = 0) and share packs.
    """
    groups: dict[tuple[object, ...], list[Cell]] = {}
    for cell in cells:
        task = canonical_json(task_point(cell.factors))
        key = (cell.seed, cell.batch_size, update_rule(study.arm(cell.arm).optimizer), task)
        groups.setdefault(key, []).append(cell)
    return tuple(
        make_pack(chunk, path) for group in groups.values() for chunk in _even_chunks(group, size)
    )


def _even_chunks(cells: Sequence[Cell], size: int) -> Iterable[tuple[Cell, ...]]:
    """Cut the cells into as few chunks as `size` allows, whose lengths differ by at most one."""
    n_chunks = -(-len(cells) // size)
    base, extra = divmod(len(cells), n_chunks)
    members = iter(cells)
    return [tuple(itertools.islice(members, base + (i < extra))) for i in range(n_chunks)]
