"""Packs whose workers die are tried again, then halved; at last a single cell is failed."""

from __future__ import annotations

from dataclasses import dataclass, replace

import ray

from hdsens.launch.executor import Means
from hdsens.launch.ray.feed import Order
from hdsens.launch.ray.memory_kills import is_memory_kill
from hdsens.records import PackRecord, failure
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.packs import Pack, halves


@dataclass(frozen=True)
class Sequel:
    """What happens next to the cells of a pack whose worker died.

    Attributes:
        orders: to train now.
        failed: how many cells are failed, and written so.
    """

    orders: tuple[Order, ...] = ()
    failed: int = 0


def after_death(means: Means, order: Order, error: BaseException) -> Sequel:
    """Try a pack again; after its last try halve it, in the plan too.

    A single cell that killed its workers, and whatever raised in our own code, is failed with the
    reason. One that was killed for memory beside others is only to train again, alone: Ray kills
    the youngest worker, which need not be the one that grew.

    Args:
        means: with the store that has the plan and takes failed cells.
        order: whose worker died.
        error: of that worker.
    """
    study, store, memory = means.study, means.store, is_memory_kill(error)
    pack, submission, alone = order.pack, order.submission, order.alone
    if order.deaths + 1 < means.safeguards.max_failures:
        return Sequel((replace(order, deaths=order.deaths + 1),))
    if _raised(error):
        reason = getattr(error, "cause", None) or error
        return Sequel(failed=_write_failed(study, store, pack, reason))
    if len(pack.cells) > 1:
        parts = halves(pack)
        store.replan(parts)
        return Sequel(tuple(Order(part, submission, alone or memory) for part in parts))
    if memory and not alone:
        return Sequel((Order(pack, submission, alone=True),))
    reason = (_MEMORY if memory else _DEATH).format(means.safeguards.max_failures)
    return Sequel(failed=_write_failed(study, store, pack, reason))


def _raised(error: BaseException) -> bool:
    """Whether this package raised the error, rather than a worker dying."""
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


def _write_failed(study: Study, store: Store, pack: Pack, reason: BaseException | str) -> int:
    """Store the cells of a pack without a result as failed, and count them."""
    found = store.outcomes()
    cells = tuple(
        failure(cell, reason)
        for cell in pack.cells
        if found.get(cell.cell_id, "failed") == "failed"
    )
    if cells:
        record = PackRecord(cells, 0.0, "unknown", study.task.dtype, "unknown")
        store.append(study, record, pack.source)
    return len(cells)
