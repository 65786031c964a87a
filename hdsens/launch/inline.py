"""Train packs in this process, one after the other: for tests, debuggers and small studies."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hdsens.launch.executor import Executor
from hdsens.launch.interrupts import Interrupts
from hdsens.launch.progress import CellProgress
from hdsens.launch.resources import Resources, Safeguards
from hdsens.launch.work import PackWork
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish, choose_packs


@contextmanager
def inline_executor(
    resources: Resources, safeguards: Safeguards, interrupts: Interrupts
) -> Iterator[Executor]:
    """Give what trains packs here; an interrupted pack's finished cells are kept."""

    def train(study: Study, store: Store, packs: Sequence[Pack], progress: CellProgress) -> None:
        ended: Counter[str] = Counter()
        for pack in packs:
            work = PackWork(study, store, pack, resources, safeguards)
            try:
                for record in work:
                    ended[record.outcome] += 1
                    progress.show(ended)
            finally:
                with interrupts.held():
                    work.commit()

    def arrange(
        study: Study, cells: Sequence[Cell], size: int | None, path: PathWish
    ) -> tuple[Pack, ...]:
        return choose_packs(study, cells, resources.device, resources.cpus_per_pack, size, path)

    yield Executor(arrange, train)
