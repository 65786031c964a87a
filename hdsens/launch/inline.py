"""Train packs in this process, one after the other: for tests, debuggers and small studies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from hdsens.launch.executor import Executor, FinishedPack, Means, Show
from hdsens.launch.work import Workbench
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish, choose_packs

LOOK_EVERY_S = 0.25
"""Seconds of training between two looks at signals."""


@contextmanager
def inline_executor(means: Means) -> Iterator[Executor]:
    """Train in this process, while the caller iterates over `finished`."""
    yield InlineExecutor(means)


class InlineExecutor(Executor):
    """Trains the packs in the order in which they were submitted."""

    def __init__(self, means: Means) -> None:
        self._means = means
        self._bench = Workbench(means.study, means.store, means.resources, means.safeguards)
        self._waiting: deque[Pack] = deque()
        self._ended: Counter[str] = Counter()

    def arrange(self, cells: Sequence[Cell], size: int | None, wish: PathWish) -> tuple[Pack, ...]:
        """Arrange cells in packs by measuring in this process."""
        study, resources = self._means.study, self._means.resources
        return choose_packs(study, cells, resources.device, resources.cpus_per_pack, size, wish)

    def submit(self, pack: Pack) -> None:
        """Queue a pack; it trains when `finished` reaches it."""
        self._waiting.append(pack)

    def finished(self, show: Show = lambda ended: None) -> Iterator[FinishedPack]:
        """Train the waiting packs, and yield each once it is stored."""
        while self._waiting:
            pack = self._waiting.popleft()
            yield FinishedPack(pack, self._train(pack, show))

    def _train(self, pack: Pack, show: Show) -> Counter[str]:
        """Train a pack, and count its cells by outcome. A signal takes effect between two steps."""
        before, interrupts = self._ended.copy(), self._means.interrupts
        with interrupts.held():
            work = self._bench.begin(pack)
            try:
                while not (work.is_over or interrupts.asked):
                    self._ended += work.advance(LOOK_EVERY_S)
                    show(self._ended)
            finally:
                work.close()
        return self._ended - before
