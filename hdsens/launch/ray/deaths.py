"""What becomes of packs whose workers die: tried again, halved, and at last a cell failed."""

from __future__ import annotations

from collections.abc import Sequence

import ray

from hdsens.launch.ray.memory_kills import is_memory_kill
from hdsens.records import PackRecord, failure
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.packs import Pack, halves

Lost = tuple[Pack, BaseException]
"""A pack that Tune gave up, and the error of its last worker."""


def next_round(
    study: Study,
    store: Store,
    lost: Sequence[Lost],
    max_failures: int,
    *,
    crowded: bool,
) -> tuple[Pack, ...]:
    """The halves of packs that killed their workers, which the plan has from now on.

    Single cells that did, and whatever raised in our own code, are failed with the reason. Where it
    was `crowded`, single cells that were killed for memory are only to train again: Ray kills the
    youngest worker, which need not be the one that grew.
    """
    parts: list[Pack] = []
    again: list[Pack] = []
    for pack, error in lost:
        if _raised(error):
            _write_failed(study, store, pack, getattr(error, "cause", None) or error)
        elif len(pack.cells) > 1:
            parts += halves(pack)
        elif not is_memory_kill(error):
            _write_failed(study, store, pack, _DEATH.format(max_failures))
        elif crowded:
            again.append(pack)
        else:
            _write_failed(study, store, pack, _MEMORY.format(max_failures))
    if parts:
        store.replan(parts)
    return (*parts, *again)


def _raised(error: BaseException) -> bool:
    """Whether our own code raised, also as a worker was set up."""
    return isinstance(error, ray.exceptions.RayTaskError) or (
        isinstance(error, ray.exceptions.RayActorError) and error.actor_init_failed
    )


_DEATH = (
    "its worker process died {} times on this cell alone (killed, or out of memory): give it more "
    "memory, or look into what kills it"
)
_MEMORY = (
    "its worker process was killed {} times on this cell alone because its node ran out of memory: "
    "give it more memory, or let fewer packs train at a time with --cpus-per-pack"
)


def _write_failed(study: Study, store: Store, pack: Pack, reason: BaseException | str) -> None:
    """Cells of a pack that was given up are failed, unless they have a result."""
    found = store.outcomes()
    cells = tuple(
        failure(cell, reason)
        for cell in pack.cells
        if found.get(cell.cell_id, "failed") == "failed"
    )
    if cells:
        store.append(study, PackRecord(cells, 0.0, "unknown", study.task.dtype, "unknown"))
