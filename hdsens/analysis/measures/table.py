"""What a report knows about a measure's table: its name, what makes it, its columns in words."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import pandas as pd

from hdsens.analysis.panel.cells import CheckedCells

Unit = Literal["share", "nats", "count", "percent", "level", "text"]


@dataclass(frozen=True)
class Column:
    """A column of a table as a page shows it.

    Attributes:
        name: in the frame. Its interval, if it has one, is in `name_lower` and `name_upper`.
        heading: above the column; meaning: what a reader sees who points at it.
        unit: how its values are written: a share or regret, nats, a count, a level as one types it.
        bounds: names of the interval's columns where they are others.
    """

    name: str
    heading: str
    meaning: str = ""
    unit: Unit = "share"
    bounds: tuple[str, str] | None = None


@dataclass(frozen=True)
class MeasureTable:
    """A table that a report makes of every study.

    Attributes:
        name: as its files and the page's download have it, such as `regret`.
        make: gives the table of cells judged by a metric; one of its columns is `arm`.
        title, caption: above the table on the page.
        columns: what the page shows behind arm and factors; without any the table is in the files
            and the download alone.
        drawn: columns for figures and page that the files leave out.
    """

    name: str
    make: Callable[[CheckedCells, str], pd.DataFrame]
    title: str = ""
    caption: str = ""
    columns: tuple[Column, ...] = ()
    drawn: tuple[str, ...] = ()


REGRET_MEAN = Column(
    "regret_mean", "mean regret", "0 = as good as the family's best, 1 = as bad as untrained"
)
N_SEEDS = Column("n_seeds", "seeds", "seeds with a result", "count")
N_CELLS = Column("n_cells", "cells", "cells with a result", "count")
N_DIVERGED = Column("n_diverged", "diverged", "of these, diverged", "count")
N_FAILED = Column("n_failed", "failed", "raised an exception: no result", "count")
N_MISSING = Column("n_missing", "missing", "did not run", "count")
