"""An executor trains packs on some machinery: it is opened once, fed with packs, and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from hdsens.launch.interrupts import Interrupts
from hdsens.launch.resources import Resources, Safeguards
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish

Show = Callable[[Mapping[str, int]], None]
"""Is given how many cells have ended since the executor was opened, by outcome."""


@dataclass(frozen=True)
class Means:
    """Everything that an executor needs to be opened.

    Attributes:
        study: that all packs are of.
        store: where their results go.
        resources: what a pack may use.
        safeguards: how faults are met.
        interrupts: ask for a stop.
        address: of a running Ray cluster; None starts one on this machine.
    """

    study: Study
    store: Store
    resources: Resources
    safeguards: Safeguards
    interrupts: Interrupts
    address: str | None = None


@dataclass(frozen=True)
class FinishedPack:
    """A pack whose cells are all in the store, as results or as failed.

    Attributes:
        pack: as it was submitted.
        ended: how many of its cells this executor saw end, by outcome; none where a rival run had
            committed the pack.
    """

    pack: Pack
    ended: Mapping[str, int]


class Executor(ABC):
    """Trains packs into a store, in any number, from the time it is opened until it is closed.

    Workers, loaded data and what was measured stay from pack to pack. Open one with
    `hdsens.launch.opening.open_executor`, and call it from one thread.
    """

    @abstractmethod
    def arrange(self, cells: Sequence[Cell], size: int | None, wish: PathWish) -> tuple[Pack, ...]:
        """Arrange cells in packs by measuring where they will train. Call it before `submit`.

        Args:
            cells: to train.
            size: most cells in a pack, measured when None.
            wish: how they train; `auto` as is measured to be faster.

        Raises:
            InputError: the model or the data cannot make a first step.
        """

    @abstractmethod
    def submit(self, pack: Pack) -> None:
        """Queue a pack for training. Its cells need not be on the study's grid."""

    @abstractmethod
    def finished(self, show: Show = lambda ended: None) -> Iterator[FinishedPack]:
        """Yield each submitted pack as soon as it is finished, until none is left.

        Further packs may be submitted meanwhile.

        Raises:
            KeyboardInterrupt: a signal asked for a stop; closing keeps what is finished.
            StoppedError: the store cannot be written, or the cluster is gone.
        """
