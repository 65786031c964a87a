"""What trains packs, whatever it runs on."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from hdsens.launch.progress import CellProgress
from hdsens.store import Store
from hdsens.study import Study
from hdsens.study.cells import Cell
from hdsens.study.packs import Pack
from hdsens.training.choosing.choice import PathWish

Arrange = Callable[[Study, Sequence[Cell], int | None, PathWish], tuple[Pack, ...]]


Train = Callable[[Study, Store, Sequence[Pack], CellProgress], None]


@dataclass(frozen=True)
class Executor:
    """What trains packs; made by a context manager that opens its means.

    Attributes:
        arrange: packs of some cells, measured where they will train; pack size and path if fixed.
        train: trains packs into a store, showing progress.
    """

    arrange: Arrange
    train: Train
